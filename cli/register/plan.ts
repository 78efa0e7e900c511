import { withJson } from "../json-option.ts";
import { withMergeOptions } from "../merge-options.ts";
import type { Register } from "../runs.ts";

export const register: Register = (program, runs) => {
  withJson(withMergeOptions(program.command("plan"), "plan"))
    .description("show what a merge would do; reads headers only")
    .argument("<recipe>", "mergekit recipe, YAML")
    .option("--verbose", "show all notes", false)
    .action(runs(async () => (await import("../commands/plan.ts")).planCommand));
};
