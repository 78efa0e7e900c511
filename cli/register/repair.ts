import { withMergeOptions } from "../merge-options.ts";
import type { Register } from "../runs.ts";

export const register: Register = (program, runs) => {
  withMergeOptions(program.command("repair"), "repair")
    .description("compute again what is damaged in an output, and only that")
    .argument("<out>", "output directory, or s3://bucket/prefix")
    .option("--quiet", "print only what is left damaged", false)
    .option("--json", "print events as JSON, one object a line", false)
    .action(runs(async () => (await import("../commands/repair.ts")).repairCommand));
};
