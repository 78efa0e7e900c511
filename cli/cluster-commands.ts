import { type Command, InvalidArgumentError, Option } from "commander";
import { parseDuration, parseGrace } from "./commands/duration.ts";
import type { Io } from "./io.ts";
import { withJson } from "./json-option.ts";
import { withMergeOptions } from "./merge-options.ts";
import { withNats } from "./nats-options.ts";
import { withEnrolling, withJoining, withTrust } from "./trust-options.ts";

type Run<Options> = (args: readonly string[], options: Options, io: Io) => Promise<number>;
/** Commands are loaded when they are called. */
type Runs = <Options>(load: () => Promise<Run<Options>>) => (...all: unknown[]) => Promise<void>;

const JOBS_DEFAULT = 4;
const LEASE_MS_DEFAULT = 30_000;
const IO_TIMEOUT_MS_DEFAULT = 20_000;
const GRACE_MS_DEFAULT = 20_000;
const PRIORITY_MAX = 4;
/** Of submit: a coordinator that starts, or is started anew, is there by then. */
const CONNECT_MS_DEFAULT = 30_000;

/** Of an option that may be given again. */
function gather(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

function wholeNumber(least: number, most: number) {
  return (text: string): number => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Give a whole number, ${least} to ${most}.`);
  };
}

/** Of a command that asks a coordinator; for so long it waits for one that does not answer. */
function asking(command: Command, connectMs = 0): Command {
  return withJson(withTrust(command))
    .addOption(new Option("--coordinator <host:port>", "where the coordinator listens").env("DELTAWORKS_COORDINATOR"))
    .option(
      "--connect-timeout <time>",
      "how long a coordinator that does not answer is asked again; 0: it is asked once",
      parseGrace,
      connectMs,
    );
}

/** The commands of several machines. */
export function addClusterCommands(program: Command, runs: Runs): void {
  withMergeOptions(withNats(withEnrolling(withTrust(program.command("coordinator")))), "coordinator")
    .description("take jobs and have workers on other machines compute them; after a crash the same command goes on")
    .option("--listen <host:port>", "where workers and people connect", "127.0.0.1:7410")
    .requiredOption("--state <dir>", "where the queue of jobs is kept")
    .option("--root <name=path>", "a folder that jobs may name; may be given again", gather, [])
    .option("--lease <time>", "how long work is lent without a sign of life", parseDuration, LEASE_MS_DEFAULT)
    .option("--io-timeout <time>", "how long one I/O call of a worker may take", parseDuration, IO_TIMEOUT_MS_DEFAULT)
    .option("--grace <time>", "after SIGTERM, time for slices in flight", parseDuration, GRACE_MS_DEFAULT)
    .option("--jobs <n>", "jobs that run at once; others wait", wholeNumber(1, 64), JOBS_DEFAULT)
    .option("--reflection", "describe the services to whoever asks (grpcurl and the like)", false)
    .option("--json", "print where it listens as JSON", false)
    .addOption(
      new Option("--log-level <level>", "log to stderr from this level on")
        .choices(["silent", "error", "warn", "info", "debug", "trace"])
        .default("info"),
    )
    .action(runs(async () => (await import("./commands/coordinator.ts")).coordinatorCommand));

  withMergeOptions(withJoining(withTrust(program.command("worker"))), "worker")
    .description("compute slices for a coordinator, until it is told to end")
    .addOption(
      new Option("--coordinator <host:port>", "where the coordinator listens")
        .env("DELTAWORKS_COORDINATOR")
        .makeOptionMandatory(),
    )
    .option("--name <name>", "name of this worker, unique in the cluster (default: its certificate's, or the host's)")
    .option(
      "--root <name=path>",
      "a folder that jobs may name; NAME=PATH:ro is only read; may be given again",
      gather,
      [],
    )
    .option("--grace <duration>", "after SIGTERM, time to finish what has begun (default: 20s)", parseGrace, 20_000)
    .option("--listen <host:port>", "offer results here instead of sending them, where the output is out of reach")
    .option("--json", "log as JSON, one object a line", false)
    .addOption(
      new Option("--log-level <level>", "log to stderr from this level on")
        .choices(["silent", "error", "warn", "info", "debug", "trace"])
        .default("info"),
    )
    .action(runs(async () => (await import("./commands/worker.ts")).workerCommand));

  withMergeOptions(asking(program.command("submit"), CONNECT_MS_DEFAULT), "submit")
    .description("have a coordinator merge models; shows the progress until the end")
    .argument("<recipe>", "mergekit recipe, YAML")
    .argument("<out>", "output directory: ROOT:PATH")
    .option("--name <name>", "name of the job (default: from the output's)")
    .option("--priority <n>", "0 to 4, higher goes first (default: 2)", wholeNumber(0, PRIORITY_MAX))
    .option("--no-wait", "do not wait for the end; print the name of the job")
    .option("--quiet", "print errors only", false)
    .action(runs(async () => (await import("./commands/submit.ts")).submitCommand));

  asking(program.command("list"))
    .description("list the jobs of a coordinator")
    .option("--all", "those that have ended too", false)
    .action(runs(async () => (await import("./commands/jobs.ts")).listCommand));

  asking(program.command("status"))
    .description("show how far a job is")
    .argument("<job>", "its name or id")
    .action(runs(async () => (await import("./commands/jobs.ts")).statusCommand));

  asking(program.command("events"))
    .description("show the whole history of a job, from its journal")
    .argument("<job>", "its name or id")
    .option("--follow", "go on until the job has ended", false)
    .action(runs(async () => (await import("./commands/jobs.ts")).eventsCommand));

  const changes = {
    pause: "give out no new slices of a job; those in flight are finished",
    resume: "go on with a job that was paused, by somebody or by a full disk",
    cancel: "end a job cleanly: nothing of it is left",
    terminate: "end a job now, without waiting for its workers",
  } as const;
  for (const [change, description] of Object.entries(changes) as [keyof typeof changes, string][]) {
    asking(program.command(change))
      .description(description)
      .argument("<job>", "its name or id")
      .action(runs(async () => (await import("./commands/jobs.ts")).changeCommand(change)));
  }

  asking(program.command("workers"))
    .description("list the workers that are attached")
    .action(runs(async () => (await import("./commands/jobs.ts")).workersCommand));
}
