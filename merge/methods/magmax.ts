import { defineMethod } from "./definition.ts";
import { noRounds } from "./no-rounds.ts";
import { baseOf, floatDtype, lambdaParameter, number, weightDocumentation } from "./parameters.ts";

/**
 * MagMax: of each element the largest change of all models.
 * Paper: Marczak et al. 2024, arXiv:2407.06322. One pass; memory in merge: base, delta and one f32 per element.
 */
export const magmax = defineMethod<never, null, null>({
  name: "magmax",
  title: "MagMax: of each element the change of largest magnitude",
  paper: "arXiv:2407.06322",
  documentation:
    "Takes for each element the weighted delta of largest magnitude among the models. Made for models that were tuned one after another. Marczak et al. 2024.",
  formula: "out = b + λ · (the wᵢ dᵢ of largest |wᵢ dᵢ|; of equals the later model's)",
  deviations: [
    "mergekit has no such method. With all weights 1 it is the paper's; weights multiply before magnitudes are compared.",
  ],
  base: "apart",
  appendsBase: true,
  needsBase: true,
  models: { min: 1, max: Number.POSITIVE_INFINITY },
  shapeMismatch: "fail",
  prunes: false,
  elementsMax: Number.POSITIVE_INFINITY,
  parameters: {
    weight: { scope: "tensor", type: "number", default: 1, documentation: weightDocumentation },
    lambda: lambdaParameter("Factor for what was chosen."),
  },
  refused: {},
  begin: () => ({ verdict: null }),
  ...noRounds,
  async merge(context) {
    const { task } = context;
    const { kernels } = context.arena;
    const lambda = number(task.parameters, "lambda");
    const best = context.f32("best");
    const d = context.f32("delta");
    for (const chunk of context.chunks("pieces")) {
      const n = chunk.elementCount;
      const base = await context.readF32(baseOf(task), chunk, "base");
      kernels.zero(best, n * 4);
      for (const model of task.models) {
        kernels.delta(d, await context.read(model, chunk), floatDtype(model), base, n);
        kernels.keepLargest(best, d, number(model.parameters, "weight"), n);
      }
      kernels.finishDelta(best, base, best, 1, lambda, n);
      await context.emit(chunk, best);
    }
  },
  reads: () => ({ base: 1, models: 1 }),
});
