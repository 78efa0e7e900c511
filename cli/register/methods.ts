import type { Register } from "../runs.ts";

export const register: Register = (program, runs) => {
  program
    .command("methods")
    .description("list the merge methods, or document one")
    .argument("[name]", "method")
    .option("--json", "print declarations as JSON", false)
    .action(runs(async () => (await import("../commands/methods.ts")).methodsCommand));
};
