import type { Register } from "../runs.ts";

export const register: Register = (program, runs) => {
  program
    .command("inspect")
    .description(
      "show what a checkpoint is: architecture, layers, vocabulary, experts, quantisation; reads headers only",
    )
    .argument("<path>", "checkpoint directory or .safetensors file")
    .option("--tensors", "print every tensor; without it, those that are alike in all layers stand in one line", false)
    .option("--json", "print tensors as JSON, one object a line", false)
    .action(runs(async () => (await import("../commands/inspect.ts")).inspectCommand));
};
