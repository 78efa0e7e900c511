import { durationOption, parseGrace } from "../duration.ts";
import { withJson } from "../json-option.ts";
import { withMergeOptions } from "../merge-options.ts";
import type { Register } from "../runs.ts";

const DAY_MS = 24 * 3600 * 1000;

export const register: Register = (program, runs) => {
  withJson(withMergeOptions(program.command("clean"), "clean"))
    .description("find what merges left in a bucket that did not come to their end, and remove it")
    .argument("<place>", "s3://bucket, or s3://bucket/prefix")
    .option("--remove", "remove it: whoever would have gone on with it begins anew", false)
    .addOption(durationOption("--older-than <time>", "leave what was begun later", DAY_MS, parseGrace))
    .action(runs(async () => (await import("../commands/clean.ts")).cleanCommand));
};
