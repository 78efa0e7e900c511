import { defineMethod } from "./definition.ts";
import { noRounds } from "./no-rounds.ts";
import { baseOf, number, onlyModel } from "./parameters.ts";

/**
 * NearSwap: the base moves to the model where they are near, and by a distance of t where they are far apart.
 * Paper: none; the formula is mergekit's. docs/spec/methods.md, "Selection and fusion". One pass.
 */
export const nearSwap = defineMethod<never, null, null>({
  name: "nearswap",
  title: "NearSwap: take over the model's values where they lie near the base's",
  documentation:
    "Elements that differ from the base by no more than t become the model's; others move toward it by t. For one model and a base.",
  formula: "g = clamp(t / max(|b − x|, 1e-6), 0, 1);  out = g · x + (1−g) · b",
  deviations: [],
  base: "apart",
  appendsBase: true,
  needsBase: true,
  models: { min: 1, max: 1 },
  shapeMismatch: "fail",
  prunes: false,
  elementsMax: Number.POSITIVE_INFINITY,
  parameters: {
    t: {
      scope: "global",
      type: "number",
      required: true,
      range: { min: 0 },
      documentation: "How far an element may move.",
    },
  },
  refused: {},
  begin: () => ({ verdict: null }),
  ...noRounds,
  async merge(context) {
    const { task, arena } = context;
    const t = number(task.parameters, "t");
    for (const chunk of context.chunks("pieces")) {
      const base = await context.readF32(baseOf(task), chunk, "base");
      const x = await context.readF32(onlyModel(task), chunk, "model");
      arena.kernels.nearSwap(x, base, x, t, chunk.elementCount);
      await context.emit(chunk, x);
    }
  },
  reads: () => ({ base: 1, models: 1 }),
});
