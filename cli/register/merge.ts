import { withJson } from "../json-option.ts";
import { logLevel } from "../log-level-option.ts";
import { withMergeOptions } from "../merge-options.ts";
import type { Register } from "../runs.ts";

export const register: Register = (program, runs) => {
  withJson(withMergeOptions(program.command("merge"), "merge"))
    .description("merge models; after a crash the same command goes on where it ended")
    .argument("<recipe>", "mergekit recipe, YAML")
    .argument(
      "<out>",
      "output directory, or s3://bucket/prefix; or hf://owner/name, to be published on the Hub once it is made",
    )
    .option(
      "--state <dir>",
      "where journal and log are kept, if not beside the output, and what goes to the Hub is made; the same each time",
    )
    .option("--quiet", "print errors only", false)
    .addOption(logLevel("silent"))
    .action(runs(async () => (await import("../commands/merge.ts")).mergeCommand));
};
