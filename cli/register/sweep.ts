import { withJson } from "../json-option.ts";
import { withMergeOptions } from "../merge-options.ts";
import type { Register } from "../runs.ts";

export const register: Register = (program, runs) => {
  withJson(withMergeOptions(program.command("sweep"), "sweep"))
    .description("make many merges of the same models, reading each input byte once for all of them")
    .argument("<sweep>", "sweep, YAML: a recipe with placeholders and the values for them")
    .argument("[out]", "directory that takes an output directory for each merge, or s3://bucket/prefix")
    .option("--quiet", "print errors and the table only", false)
    .action(runs(async () => (await import("../commands/sweep.ts")).sweepCommand));
};
