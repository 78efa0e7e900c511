import type { Register } from "../runs.ts";

export const register: Register = (program, runs) => {
  program
    .command("diff")
    .description("compare two checkpoints tensor by tensor; exit 1 if they differ")
    .argument("<a>", "checkpoint directory or .safetensors file")
    .argument("<b>", "another")
    .option("--json", "print tensors as JSON, one object a line", false)
    .action(runs(async () => (await import("../commands/diff.ts")).diffCommand));
};
