#!/usr/bin/env node
import { setFlagsFromString } from "node:v8";
import { Command, CommanderError, Option } from "commander";
import { toolVersion } from "../app/index.ts";
import { CodedError } from "../errors/index.ts";
import { addClusterCommands } from "./cluster-commands.ts";
import { parseDays, parseDuration } from "./commands/duration.ts";
import type { RepairCommandOptions } from "./commands/repair.ts";
import { exitCodes } from "./exit-codes.ts";
import type { Io } from "./io.ts";
import { withJson } from "./json-option.ts";
import { endOnUnheardErrors } from "./last-net.ts";
import { withMergeOptions } from "./merge-options.ts";
import { addNatsCommands } from "./nats-commands.ts";
import { printFailure } from "./report-error.ts";
import { withTrust } from "./trust-options.ts";

// Planning makes many small objects and keeps few: V8's default would let 48 MB of them gather before it looks.
setFlagsFromString("--semi-space-growth-factor=1");

type Run<Options> = (args: readonly string[], options: Options, io: Io) => Promise<number>;

const io: Io = {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  columns: process.stdout.isTTY ? process.stdout.columns : undefined,
};

endOnUnheardErrors(io);

/** Commands are loaded when they are called: help must come at once. */
function runs<Options>(load: () => Promise<Run<Options>>) {
  return async (...all: unknown[]) => {
    const command = all.at(-1) as Command;
    const tilde = unexpandedTilde([...command.args, ...Object.values(command.opts()).flat()]);
    if (tilde !== undefined) {
      io.stderr(
        `error: ${tilde}: ~ is spelled out by the shell alone, and not inside of quotes or after = or :\n  hint  Write the whole path.\n`,
      );
      process.exitCode = exitCodes.usage;
      return;
    }
    const run = await load();
    process.exitCode = await run(command.args, command.opts() as Options, io);
    setTimeout(endLingering, LINGER_MS).unref();
  };
}

/** A command that has ended may leave attempts to connect behind that nobody answers: the system gives them up after two minutes. */
const LINGER_MS = 500;

function endLingering(): void {
  if (process.stdout.writableLength + process.stderr.writableLength === 0) process.exit();
  setTimeout(endLingering, LINGER_MS).unref();
}

/** A path that begins with ~, alone or after a name: as it stands it would be a folder called "~". */
function unexpandedTilde(values: readonly unknown[]): string | undefined {
  return values.find((value): value is string => typeof value === "string" && /^(?:[\w.-]+[=:])?~(?:\/|$)/.test(value));
}

const program = new Command("deltaworks")
  .description("Merge language models: a mergekit recipe and safetensors checkpoints in, a verified checkpoint out.")
  .version(toolVersion)
  .showHelpAfterError("(deltaworks --help shows the commands)")
  .exitOverride();

// A reader that has seen enough (head, less) closes its end: nothing more is owed to it.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(exitCodes.done);
  throw error;
});

withJson(withMergeOptions(program.command("merge"), "merge"))
  .description("merge models; after a crash the same command goes on where it ended")
  .argument("<recipe>", "mergekit recipe, YAML")
  .argument("<out>", "output directory")
  .option("--quiet", "print errors only", false)
  .addOption(
    new Option("--log-level <level>", "log to stderr from this level on")
      .choices(["silent", "error", "warn", "info", "debug", "trace"])
      .default("silent"),
  )
  .action(runs(async () => (await import("./commands/merge.ts")).mergeCommand));

withJson(withMergeOptions(program.command("sweep"), "sweep"))
  .description("make many merges of the same models, reading each input byte once for all of them")
  .argument("<sweep>", "sweep, YAML: a recipe with placeholders and the values for them")
  .argument("[out]", "directory that takes an output directory for each merge")
  .option("--quiet", "print errors and the table only", false)
  .action(runs(async () => (await import("./commands/sweep.ts")).sweepCommand));
addClusterCommands(program, runs);
addNatsCommands(program, runs);

withJson(withMergeOptions(program.command("plan"), "plan"))
  .description("show what a merge would do; reads headers only")
  .argument("<recipe>", "mergekit recipe, YAML")
  .option("--verbose", "show all notes", false)
  .action(runs(async () => (await import("./commands/plan.ts")).planCommand));

program
  .command("migrate")
  .description("say how a mergekit recipe behaves here, line by line where it differs; exit 2 if it is refused")
  .argument("<recipe>", "mergekit recipe, YAML")
  .addOption(
    new Option("--from <version>", "the release of mergekit that the recipe comes from")
      .choices(["0.1.4", "0.1.5"])
      .default("0.1.5"),
  )
  .option("--json", "print differences as JSON, one object a line", false)
  .action(runs(async () => (await import("./commands/migrate.ts")).migrateCommand));

program
  .command("verify")
  .description("compare an output with its manifest; exit 3 if anything is damaged")
  .argument("<out>", "output directory")
  .option("--quiet", "print findings only", false)
  .option("--json", "print findings as JSON, one object a line", false)
  .action(runs(async () => (await import("./commands/verify.ts")).verifyCommand));

withMergeOptions(program.command("repair"), "repair")
  .description("compute again what is damaged in an output, and only that")
  .argument("<out>", "output directory")
  .option("--quiet", "print only what is left damaged", false)
  .option("--json", "print events as JSON, one object a line", false)
  .action(
    runs(async () => {
      const [{ repairCommand }, { repairSource }, { openStores, maybePlaceOf, placeOf }] = await Promise.all([
        import("./commands/repair.ts"),
        import("../app/index.ts"),
        import("../storage/index.ts"),
      ]);
      return (args, options: RepairCommandOptions, to) => {
        const { modelsRoot } = options;
        const store = openStores();
        const source = repairSource({
          store,
          out: placeOf(args[0] ?? ""),
          modelsRoot: maybePlaceOf(modelsRoot),
          cwd: placeOf(process.cwd()),
          environment: process.env,
        });
        return repairCommand(args, options, to, source);
      };
    }),
  );

program
  .command("inspect")
  .description("show what a checkpoint is: architecture, layers, vocabulary, experts, quantisation; reads headers only")
  .argument("<path>", "checkpoint directory or .safetensors file")
  .option("--tensors", "print every tensor; without it, those that are alike in all layers stand in one line", false)
  .option("--json", "print tensors as JSON, one object a line", false)
  .action(runs(async () => (await import("./commands/inspect.ts")).inspectCommand));

program
  .command("diff")
  .description("compare two checkpoints tensor by tensor; exit 1 if they differ")
  .argument("<a>", "checkpoint directory or .safetensors file")
  .argument("<b>", "another")
  .option("--json", "print tensors as JSON, one object a line", false)
  .action(runs(async () => (await import("./commands/diff.ts")).diffCommand));

program
  .command("methods")
  .description("list the merge methods, or document one")
  .argument("[name]", "method")
  .option("--json", "print declarations as JSON", false)
  .action(runs(async () => (await import("./commands/methods.ts")).methodsCommand));

const certs = program.command("certs").description("certificates of the machines and people of a cluster");

certs
  .command("init")
  .description("make a certificate authority of your own")
  .argument("<dir>", "where ca.pem and ca-key.pem go")
  .option("--days <n>", "days for which it is valid", parseDays, 3650)
  .option("--json", "print the result as JSON", false)
  .action(runs(async () => (await import("./commands/certs.ts")).certsInitCommand));

certs
  .command("issue")
  .description("issue a key and a certificate, beside the authority")
  .argument("<dir>", "where `deltaworks certs init` made the authority")
  .requiredOption("--role <role>", "worker, submitter, admin or coordinator")
  .requiredOption("--name <name>", "name of the machine or the person")
  .option("--hosts <list>", "names and addresses under which it is dialed, separated by commas")
  .option("--days <n>", "days for which it is valid", parseDays, 90)
  .option("--overwrite", "replace the certificate that is there", false)
  .option("--json", "print the result as JSON", false)
  .action(runs(async () => (await import("./commands/certs.ts")).certsIssueCommand));

certs
  .command("show")
  .description("show what stands in certificates")
  .argument("<file>", "PEM")
  .option("--json", "print certificates as JSON, one object a line", false)
  .action(runs(async () => (await import("./commands/certs.ts")).certsShowCommand));

const token = program.command("token").description("join tokens, with which machines get their first certificate");

withTrust(token.command("create"))
  .description("make a token that can be used once; for admins")
  .addOption(new Option("--coordinator <address>", "HOST:PORT of the coordinator").env("DELTAWORKS_COORDINATOR"))
  .requiredOption("--role <role>", "worker, submitter or admin")
  .option("--name <name>", "name that the certificate will have (default: whoever joins chooses)")
  .option("--ttl <time>", "how long it can be used, such as 10m", parseDuration, 600_000)
  .option("--json", "print the result as JSON", false)
  .action(runs(async () => (await import("./commands/token.ts")).tokenCreateCommand));

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CodedError) {
    // A value that an option cannot have.
    printFailure(io, error, process.argv.includes("--json"));
    process.exitCode = exitCodes.usage;
  } else if (error instanceof CommanderError) {
    // commander has said what is wrong; help and version end with 0.
    process.exitCode = error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
  } else throw error;
}
