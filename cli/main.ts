#!/usr/bin/env node
import { setFlagsFromString } from "node:v8";
import { CommanderError } from "commander";
import { CodedError } from "../errors/index.ts";
import { exitCodes } from "./exit-codes.ts";
import type { Io } from "./io.ts";
import { endOnUnheardErrors } from "./last-net.ts";
import { printFailure } from "./print-failure.ts";
import { createProgram } from "./program.ts";
import { runsWith } from "./runs.ts";

// Planning makes many small objects and keeps few: V8's default would let 48 MB of them gather before it looks, and then as much as lives.
setFlagsFromString("--semi-space-growth-factor=1");
setFlagsFromString("--heap-growing-percent=20");

const io: Io = {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  columns: process.stdout.isTTY ? process.stdout.columns : undefined,
};

endOnUnheardErrors(io);

// A reader that has seen enough (head, less) closes its end: nothing more is owed to it.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(exitCodes.done);
  throw error;
});

try {
  await createProgram(runsWith(io)).parseAsync();
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
