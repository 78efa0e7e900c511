import type { Address } from "../engines/index.ts";
import type { ModelSource, TensorSource } from "../work/index.ts";
import type { Chunk } from "./chunks.ts";
import { floatDtype } from "./parameters.ts";
import type { RangeContext } from "./range.ts";

/** A float64 number that survives JSON: what JSON has no number for is a word. Number() reads either. */
export type PlainNumber = number | "NaN" | "Infinity" | "-Infinity";

/** A linear combination of the models, or, where a base is kept apart, of their deltas onto the base. */
export interface Combination {
  /** Coefficient per model of the task, in its order. */
  readonly models: readonly PlainNumber[];
  /** The models themselves although there is a base: a copy. */
  readonly ofModels?: true;
}

/** A negative zero becomes zero: JSON does not tell them apart. */
export function plainNumber(value: number): PlainNumber {
  if (Number.isNaN(value)) return "NaN";
  if (Number.isFinite(value)) return value + 0;
  return value > 0 ? "Infinity" : "-Infinity";
}

export const theOnlyModel: Combination = { models: [1], ofModels: true };

/** The x_i or d_i that vectors are made of: a model widened to f32, less the base (f32) where there is one. */
export async function readVector(
  context: RangeContext,
  model: ModelSource,
  chunk: Chunk,
  base: Address | undefined,
  name: string,
): Promise<Address> {
  if (base === undefined) return context.readF32(model, chunk, name);
  const d = context.f32(name);
  const x = await context.read(model, chunk);
  context.arena.kernels.delta(d, x, floatDtype(model), base, chunk.elementCount);
  return d;
}

/** The base's chunk, where the task has one apart. */
export async function maybeBase(context: RangeContext, chunk: Chunk): Promise<Address | undefined> {
  const { base }: { readonly base?: TensorSource } = context.task;
  return base === undefined ? undefined : context.readF32(base, chunk, "base");
}

/** f32 products and sums, models in recipe order, onto the base last. */
export async function mergeCombination(context: RangeContext, { models, ofModels }: Combination): Promise<void> {
  const { kernels } = context.arena;
  const sum = context.f32("sum");
  for (const chunk of context.chunks("pieces")) {
    const n = chunk.elementCount;
    const base = ofModels ? undefined : await maybeBase(context, chunk);
    for (const [i, model] of context.task.models.entries()) {
      const c = Number(models[i] ?? 0);
      const x = await context.read(model, chunk);
      if (base === undefined) kernels.accumulate(sum, x, floatDtype(model), c, i === 0, n);
      else kernels.accumulateDelta(sum, x, floatDtype(model), base, c, i === 0, n);
    }
    if (base !== undefined) kernels.finishDelta(sum, base, sum, 1, 1, n);
    await context.emit(chunk, sum);
  }
}
