import { acos, sin } from "../math/index.ts";
import { BlockSummer, type BlockSums, foldBlockSums, totals } from "./block-sums.ts";
import { defineMethod, rangesOf } from "./definition.ts";
import { floatDtype, number, scopeParameter } from "./parameters.ts";
import { readBlockSums } from "./summary-forms.ts";

/** Coefficient per model of the task, in its order. */
interface Combination {
  readonly models: readonly number[];
}

/**
 * Spherical linear interpolation between two models, over the whole tensor.
 * Paper: Shoemake 1985, "Animating rotation with quaternion curves". docs/spec/methods.md, "Geometry".
 * Survey: the dots v0·v0, v0·v1, v1·v1 in float64. Memory in merge: one f32 per element.
 */
export const slerp = defineMethod<"dots", BlockSums, Combination>({
  name: "slerp",
  title: "SLERP: spherical interpolation between two models",
  documentation:
    "Moves from base_model (t = 0) to the other model (t = 1) along the arc between the two tensors, taken as vectors. Nearly parallel tensors are interpolated linearly.",
  formula:
    "θ = acos(v₀·v₁ / |v₀||v₁|);  out = sin((1−t)θ)/sin θ · v₀ + sin(tθ)/sin θ · v₁;   |cos θ| > 0.9995: (1−t) v₀ + t v₁",
  deviations: [],
  base: "listed",
  appendsBase: true,
  needsBase: true,
  models: { min: 1, max: 2 },
  shapeMismatch: "fail",
  prunes: false,
  elementsMax: Number.POSITIVE_INFINITY,
  parameters: {
    t: {
      scope: "global",
      type: "number",
      required: true,
      documentation: "Where on the arc: 0 is base_model, 1 the other model.",
    },
    ...scopeParameter,
  },
  refused: {},
  begin: (task) => (task.models.length === 1 ? { verdict: { models: [1] } } : { request: "dots" }),
  async survey(context) {
    const [first, second] = context.task.models;
    if (first === undefined || second === undefined) throw new Error("slerp surveys two models");
    const { kernels } = context.arena;
    const sums = new BlockSummer(context, 3);
    for (const chunk of context.chunks("pieces")) {
      const a = await context.readF32(first, chunk, "a");
      const b = await context.readF32(second, chunk, "b");
      kernels.dot(sums.lanes(0, chunk), a, a, context.blockElements, chunk.elementCount);
      kernels.dot(sums.lanes(1, chunk), a, b, context.blockElements, chunk.elementCount);
      kernels.dot(sums.lanes(2, chunk), b, b, context.blockElements, chunk.elementCount);
      sums.endChunk(chunk);
    }
    return sums.finish();
  },
  readSummary: (_task, _request, summary, range) => readBlockSums(summary, range, 3),
  fold: foldBlockSums,
  settle(task, _request, whole) {
    const [aa = 0, ab = 0, bb = 0] = totals(whole);
    const [base, other] = slerpCoefficients(aa, ab, bb, number(task.parameters, "t"));
    return { verdict: { models: task.baseIndex === 1 ? [other, base] : [base, other] } };
  },
  async merge(context, { models }) {
    const sum = context.f32("a");
    for (const chunk of context.chunks("pieces")) {
      for (const [i, model] of context.task.models.entries()) {
        const x = await context.read(model, chunk);
        context.arena.kernels.accumulate(sum, x, floatDtype(model), models[i] ?? 0, i === 0, chunk.elementCount);
      }
      await context.emit(chunk, sum);
    }
  },
  reads: (task, cutting) =>
    task.models.length === 1 ? { base: 0, models: 1 } : { base: 0, models: 2, ranges: rangesOf(cutting, 1) },
});

/**
 * Coefficients of v0 and v1 from their dots. `aa`, `bb`: squared norms, symmetric in use; t: share of v1.
 * A norm of 1e-8 or less divides nothing.
 */
export function slerpCoefficients(aa: number, ab: number, bb: number, t: number): readonly [number, number] {
  const normA = Math.sqrt(aa);
  const normB = Math.sqrt(bb);
  const dot = ab / (normA > 1e-8 ? normA : 1) / (normB > 1e-8 ? normB : 1);
  if (!(Math.abs(dot) <= 0.9995)) return [1 - t, t];
  const angle = acos(dot);
  const sine = sin(angle);
  return [sin((1 - t) * angle) / sine, sin(t * angle) / sine];
}
