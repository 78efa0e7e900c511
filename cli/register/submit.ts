import { wholeNumber } from "../argument-parsers.ts";
import { asking } from "../asking-options.ts";
import { withMergeOptions } from "../merge-options.ts";
import type { Register } from "../runs.ts";

const PRIORITY_MAX = 4;
/** A coordinator that starts, or is started anew, is there by then. */
const CONNECT_MS_DEFAULT = 30_000;

export const register: Register = (program, runs) => {
  withMergeOptions(asking(program.command("submit"), CONNECT_MS_DEFAULT), "submit")
    .description("have a coordinator merge models; shows the progress until the end")
    .argument("<recipe>", "mergekit recipe, YAML")
    .argument("<out>", "output directory: ROOT:PATH")
    .option("--name <name>", "name of the job (default: from the output's)")
    .option("--priority <n>", "0 to 4, higher goes first (default: 2)", wholeNumber(0, PRIORITY_MAX))
    .option("--no-wait", "do not wait for the end; print the name of the job")
    .option("--quiet", "print errors only", false)
    .action(runs(async () => (await import("../commands/submit.ts")).submitCommand));
};
