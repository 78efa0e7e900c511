import { defineMethod } from "./definition.ts";
import { noRounds } from "./no-rounds.ts";
import { baseOf, floatDtype, lambdaParameter, number, weightDocumentation } from "./parameters.ts";

/**
 * Consensus Task Arithmetic by TALL masks: of the sum of the deltas only what enough models have a part in.
 * Paper: Wang et al. 2024, arXiv:2405.07813. Each piece of the models is read twice, for the sum and for its masks; nothing need be
 * known of the whole tensor. Memory in merge: base, sum and votes, one f32 each per element.
 */
export const consensus = defineMethod<never, null, null>({
  name: "consensus",
  title: "Consensus (TALL masks): of the summed deltas what several models have a part in",
  paper: "arXiv:2405.07813",
  documentation:
    "Adds the weighted deltas, then asks each model for which elements its own delta weighs more than tau times what the sum has beyond it (its TALL mask), and drops from the sum what fewer than k models claim: what serves one task only, and what serves none. k = 1 drops only the latter. Wang et al. 2024.",
  formula: "D = Σ wᵢ dᵢ;  mᵢ = |dᵢ| > τ · |D − dᵢ|;  out = b + λ · (D where at least k of the mᵢ hold, else 0)",
  deviations: [
    "mergekit has no such method.",
    "The paper searches tau per task on validation data; here it is a parameter, one for all models or one each. As there, a mask compares the delta without its weight.",
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
    tau: {
      scope: "tensor",
      type: "number",
      default: 0.4,
      range: { min: 0 },
      documentation: "How much of the rest of the sum a delta must exceed; larger masks keep less.",
    },
    k: {
      scope: "global",
      type: "number",
      default: 2,
      range: { min: 0 },
      documentation: "How many models must claim an element. 0 keeps the whole sum.",
    },
    lambda: lambdaParameter("Factor for what is kept."),
  },
  refused: {},
  begin(task) {
    const [k, count] = [number(task.parameters, "k"), task.models.length];
    if (k <= count) return { verdict: null };
    return {
      verdict: null,
      warnings: [`${task.name}: k is ${k}, and only ${count} of the models have it; left at the base`],
    };
  },
  ...noRounds,
  async merge(context) {
    const { task } = context;
    const { kernels } = context.arena;
    const [least, lambda] = [number(task.parameters, "k"), number(task.parameters, "lambda")];
    const total = context.f32("total");
    const votes = context.f32("votes");
    for (const chunk of context.chunks("pieces")) {
      const n = chunk.elementCount;
      const base = await context.readF32(baseOf(task), chunk, "base");
      for (const [i, model] of task.models.entries()) {
        const x = await context.read(model, chunk);
        kernels.accumulateDelta(total, x, floatDtype(model), base, number(model.parameters, "weight"), i === 0, n);
      }
      kernels.zero(votes, n * 4);
      for (const model of task.models) {
        const x = await context.read(model, chunk);
        kernels.agree(votes, x, floatDtype(model), base, total, number(model.parameters, "tau"), n);
      }
      kernels.finishAgreement(total, base, total, votes, least, lambda, n);
      await context.emit(chunk, total);
    }
  },
  reads: () => ({ base: 1, models: 2, shared: 1 }),
});
