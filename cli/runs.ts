import type { Command } from "commander";
import { exitCodes } from "./exit-codes.ts";
import type { Io } from "./io.ts";

/** What a command does; the number is the process's exit code. */
export type Run<Options> = (args: readonly string[], options: Options, io: Io) => Promise<number>;

/** Adds a command to the program: its words, its options, and from where it is loaded when it is called. */
export type Register = (program: Command, runs: Runs) => void;

/** Commands are loaded when they are called: help must come at once. */
export type Runs = <Options>(load: () => Promise<Run<Options>>) => (...all: unknown[]) => Promise<void>;

/** What commander calls for a command whose output goes to `io`. */
export function runsWith(io: Io): Runs {
  return <Options>(load: () => Promise<Run<Options>>) =>
    async (...all: unknown[]) => {
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
