import { withJson } from "../json-option.ts";
import { withMergeOptions } from "../merge-options.ts";
import type { Register } from "../runs.ts";

export const register: Register = (program, runs) => {
  withJson(withMergeOptions(program.command("publish"), "publish"))
    .description(
      "put a finished output on the Hugging Face Hub or into a bucket; after a failure the same command sends the rest",
    )
    .argument("<out>", "output directory, or s3://bucket/prefix")
    .argument(
      "<to>",
      "hf://owner/name or hf://owner/name@branch, made private if it is not there; or s3://bucket/prefix",
    )
    .option("--public", "on the Hub: a repository that holds nothing else is to be seen by everybody", false)
    .option("--pull-request", "on the Hub: leave the branch as it is, and ask its owner", false)
    .option(
      "--title <text>",
      "on the Hub: of the commit, or of the pull request (default: what the model card is called)",
    )
    .option("--quiet", "print errors only", false)
    .action(runs(async () => (await import("../commands/publish.ts")).publishCommand));
};
