import type { ModelSource, TensorTask } from "../work/index.ts";
import { defineMethod } from "./definition.ts";
import { MethodError } from "./errors.ts";
import { noRounds } from "./no-rounds.ts";
import {
  baseOf,
  flag,
  floatDtype,
  maybeNumber,
  number,
  onlyModel,
  sumParameters,
  weightDocumentation,
} from "./parameters.ts";

interface Coefficients {
  readonly models: readonly number[];
}

const once = { base: 1, models: 1 } as const;

/**
 * Model soups: the weighted mean, or sum, of all listed models.
 * Paper: Wortsman et al. 2022, arXiv:2203.05482. docs/spec/methods.md, "Linear family".
 * Coefficients are w / sum(w) in float64, rounded to f32 once; products and sums are f32, models in recipe order.
 */
export const linear = defineMethod<never, null, Coefficients>({
  name: "linear",
  title: "Linear (model soups): the weighted mean of the models",
  paper: "arXiv:2203.05482",
  documentation:
    "Adds the models, each times its weight, and divides by the sum of the weights unless normalize is false.",
  formula: "out = Σ wᵢ xᵢ / Σ wᵢ      (normalize: false: out = Σ wᵢ xᵢ)",
  deviations: [
    "A base_model that is not among the models takes no part, and with a weight at the top is refused; mergekit 0.1.4 fails on it, 0.1.5 merges it with that weight.",
  ],
  base: "listed",
  appendsBase: false,
  needsBase: false,
  models: { min: 1, max: Number.POSITIVE_INFINITY },
  shapeMismatch: "fail",
  prunes: false,
  elementsMax: Number.POSITIVE_INFINITY,
  parameters: {
    weight: { scope: "tensor", type: "number", required: true, documentation: weightDocumentation },
    normalize: { scope: "global", type: "boolean", default: true, documentation: "Divide by the sum of the weights." },
  },
  refused: {},
  begin(task) {
    const weights = task.models.map((model) => number(model.parameters, "weight"));
    if (!flag(task.parameters, "normalize")) return { verdict: { models: weights } };
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    if (total === 0) throw weightsSumToZero(task);
    return { verdict: { models: weights.map((weight) => weight / total) } };
  },
  ...noRounds,
  async merge(context, coefficients) {
    const { kernels } = context.arena;
    const sum = context.f32("sum");
    for (const chunk of context.chunks("pieces")) {
      for (const [i, model] of context.task.models.entries()) {
        const x = await context.read(model, chunk);
        kernels.accumulate(sum, x, floatDtype(model), coefficients.models[i] ?? 0, i === 0, chunk.elementCount);
      }
      await context.emit(chunk, sum);
    }
  },
  reads: () => once,
});

/** Franken-merging: layers of one model at a time, copied, or times a scale. */
export const passthrough = defineMethod<never, null, Coefficients>({
  name: "passthrough",
  title: "Passthrough (franken-merging): layers copied from one model at a time",
  documentation:
    "Copies tensors of exactly one model, for stacks of layer ranges; every bit stays unless the dtype or a scale changes it.",
  formula: "out = x      (scale: out = scale · x)",
  deviations: ["mergekit fails on a base_model that is not among the models; here it takes no part."],
  base: "listed",
  appendsBase: false,
  needsBase: false,
  models: { min: 1, max: 1 },
  shapeMismatch: "fail",
  prunes: false,
  elementsMax: Number.POSITIVE_INFINITY,
  parameters: {
    scale: { scope: "tensor", type: "number", documentation: "Factor for the tensor; left out, the bytes are copied." },
  },
  refused: {},
  begin(task) {
    const model = task.models[0];
    return { verdict: { models: [(model && maybeNumber(model.parameters, "scale")) ?? 1] } };
  },
  ...noRounds,
  async merge(context, { models: [scale = 1] }) {
    const model = onlyModel(context.task);
    const sum = context.f32("sum");
    for (const chunk of context.chunks("pieces")) {
      const x = await context.read(model, chunk);
      if (scale === 1 && model.dtype === context.task.dtype) {
        await context.emitBytes(chunk, x);
        continue;
      }
      context.arena.kernels.accumulate(sum, x, floatDtype(model), scale, true, chunk.elementCount);
      await context.emit(chunk, sum);
    }
  },
  reads: () => once,
});

/**
 * Task arithmetic: the base plus a weighted sum of task vectors.
 * Paper: Ilharco et al. 2022, arXiv:2212.04089. docs/spec/methods.md, "Linear family".
 */
export const taskArithmetic = defineMethod<never, null, { divisor: number }>({
  name: "task_arithmetic",
  title: "Task arithmetic: the base plus a weighted sum of deltas",
  paper: "arXiv:2212.04089",
  documentation:
    "Adds to the base each model's delta (model minus base) times its weight; negative weights take a skill away.",
  formula: "out = b + λ · Σ wᵢ (xᵢ − b)      (normalize: the sum divided by Σ wᵢ)",
  deviations: [],
  base: "apart",
  appendsBase: true,
  needsBase: true,
  models: { min: 1, max: Number.POSITIVE_INFINITY },
  shapeMismatch: "skip",
  prunes: false,
  elementsMax: Number.POSITIVE_INFINITY,
  parameters: {
    weight: { scope: "tensor", type: "number", required: true, documentation: weightDocumentation },
    normalize: {
      scope: "global",
      type: "boolean",
      default: false,
      documentation: "Divide by the sum of the weights of the models that take part.",
    },
    ...sumParameters,
  },
  refused: {},
  begin: (task) => ({ verdict: { divisor: flag(task.parameters, "normalize") ? divisorOf(task.models) : 1 } }),
  ...noRounds,
  async merge(context, { divisor }) {
    const { kernels } = context.arena;
    const lambda = number(context.task.parameters, "lambda");
    const sum = context.f32("sum");
    for (const chunk of context.chunks("pieces")) {
      const base = await context.readF32(baseOf(context.task), chunk, "base");
      for (const [i, model] of context.task.models.entries()) {
        const x = await context.read(model, chunk);
        const weight = number(model.parameters, "weight");
        kernels.accumulateDelta(sum, x, floatDtype(model), base, weight, i === 0, chunk.elementCount);
      }
      kernels.finishDelta(sum, base, sum, divisor, lambda, chunk.elementCount);
      await context.emit(chunk, sum);
    }
  },
  reads: () => once,
});

/** The sum of the weights, 1 where it is next to nothing (docs/spec/methods.md, task_arithmetic). */
export function divisorOf(models: readonly ModelSource[]): number {
  const total = models.reduce((sum, model) => sum + number(model.parameters, "weight"), 0);
  return Math.abs(total) < 1e-8 ? 1 : total;
}

/** `flagName`: what divides by the sum. */
export function weightsSumToZero(task: TensorTask, flagName = "normalize"): MethodError {
  return new MethodError(
    "method/weights-sum-to-zero",
    `${task.name}: the weights of its ${task.models.length} models sum to zero`,
    {
      hint: `Change a weight, or set ${flagName}: false to take the weights as they are.`,
    },
  );
}
