import { withJson } from "../json-option.ts";
import type { Register } from "../runs.ts";

export const register: Register = (program, runs) => {
  withJson(program.command("publish"))
    .description(
      "put a finished output on the Hugging Face Hub; after a failure the same command sends what is missing",
    )
    .argument("<out>", "output directory")
    .argument("<to>", "hf://owner/name, or hf://owner/name@branch; made, private, if it is not there")
    .option("--public", "a repository that holds nothing else is to be seen by everybody", false)
    .option("--pull-request", "leave the branch as it is, and ask its owner", false)
    .option("--title <text>", "of the commit, or of the pull request (default: what the model card is called)")
    .option("--overwrite", "replace what is on the branch", false)
    .option("--quiet", "print errors only", false)
    .action(runs(async () => (await import("../commands/publish.ts")).publishCommand));
};
