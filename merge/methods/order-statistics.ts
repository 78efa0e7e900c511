import type { PlainData, TensorTask } from "../work/index.ts";
import { bracketRoad, sampled } from "./bracket-road.ts";
import type { Chunk } from "./chunks.ts";
import type { Cutting, Reads } from "./definition.ts";
import {
  foldHistograms,
  HISTOGRAM_ROUNDS,
  type HistogramSummary,
  type OrderRequest,
  type OrderStep,
  readHistograms,
  settleHistograms,
  surveyHistograms,
} from "./histogram-road.ts";
import { NO_LIMIT, type Query, type RankedChunk, type RankedValues, type Statistic } from "./order-queries.ts";
import { baseOf, floatDtype } from "./parameters.ts";
import type { RangeContext } from "./range.ts";
import { resultOf, type Steps } from "./steps.ts";
import { countOf, countsOf, fieldsOf, listOf, type SurveyedRange } from "./summary-forms.ts";

/**
 * Exact order statistics of magnitudes, as u32 bits, of many models over a tensor: of deltas, or of other numbers that a method makes
 * of them.
 *
 * Two roads to one answer. A range that is the whole tensor takes the bracket road (bracket-road.ts): a sample brackets the statistic,
 * one pass counts what lies outside the bracket and collects what lies inside, selection among those is exact. Ranges of a cut tensor,
 * brackets that missed, and devices that would have it so take the histogram road (histogram-road.ts): radix digits in two rounds of
 * mergeable histograms, of which each is fetched at once.
 */

/** The deltas of the models. */
export function rankedDeltas(context: RangeContext): RankedValues {
  const { kernels } = context.arena;
  const { task } = context;
  const ranked = async (chunk: Chunk): Promise<RankedChunk> => {
    const base = await context.readF32(baseOf(task), chunk, "base");
    return {
      values: async (index) => {
        const model = modelOf(task, index);
        const d = context.f32("delta");
        kernels.delta(d, await context.read(model, chunk), floatDtype(model), base, chunk.elementCount);
        return d;
      },
      counted: async (index) => {
        const model = modelOf(task, index);
        const x = await context.read(model, chunk);
        return (counts, collected, capacity, lo, hi) =>
          kernels.bracketDelta(counts, collected, capacity, x, floatDtype(model), base, lo, hi, chunk.elementCount);
      },
    };
  };
  return { of: ranked, sources: (models) => [baseOf(task), ...models.map((index) => modelOf(task, index))] };
}

export type { OrderRequest, OrderStep } from "./histogram-road.ts";
export type { Position, Query, RankedValues, Statistic } from "./order-queries.ts";
export { rankedChunk } from "./order-queries.ts";

export type OrderSummary = { readonly road: "bracket"; readonly statistics: readonly Statistic[] } | HistogramSummary;

/**
 * How often base and models are read for statistics of so many models, and in how many rounds: the base once a round whatever their number,
 * and once more where samples lie.
 */
export function readsOfOrder(
  task: TensorTask,
  { ranges }: Cutting,
  models: number,
): Required<Pick<Reads, "base" | "shared" | "samples">> & { readonly models: number; readonly rounds: number } {
  if (models === 0) return { base: 0, models: 0, shared: 0, rounds: 0, samples: 0 };
  const rounds = HISTOGRAM_ROUNDS;
  if (ranges > 1) return { base: rounds, models: rounds, shared: rounds, rounds, samples: 0 };
  const { share, isAtHand } = sampled(task);
  const base = isAtHand ? 1 : 1 + share;
  return { base, models: 1 + share, shared: base, rounds: 1, samples: isAtHand ? 0 : share };
}

export async function surveyOrder(
  context: RangeContext,
  request: OrderRequest,
  values: RankedValues = rankedDeltas(context),
): Promise<OrderSummary> {
  if (request.intervals !== undefined || !context.whole) return surveyHistograms(context, request, values);
  if (context.arena.device.limits.road === "histogram")
    return { road: "bracket", statistics: await byHistograms(context, request.queries, values) };
  const found = await bracketRoad(context, request.queries, values);
  const missed = found.flatMap((statistic, k) => (statistic === undefined ? [k] : []));
  const others = await byHistograms(
    context,
    missed.flatMap((k) => request.queries[k] ?? []),
    values,
  );
  for (const [i, k] of missed.entries()) found[k] = others[i];
  return { road: "bracket", statistics: found.flatMap((statistic) => statistic ?? []) };
}

/** All rounds of a range that is the whole tensor. */
async function byHistograms(
  context: RangeContext,
  queries: readonly Query[],
  values: RankedValues,
): Promise<readonly Statistic[]> {
  let request: OrderRequest = { queries };
  while (queries.length > 0) {
    const step = resultOf(settleHistograms(request, await surveyHistograms(context, request, values)));
    if ("statistics" in step) return step.statistics;
    request = step.request;
  }
  return [];
}

/** @throws MethodError `method/other-summary` */
export function* readOrder(value: PlainData, request: OrderRequest, range: SurveyedRange): Steps<OrderSummary> {
  const { road, statistics } = fieldsOf(value, "order statistics");
  if (road !== "bracket" || !range.whole || request.intervals !== undefined)
    return yield* readHistograms(value, request, range);
  const found = listOf(statistics, "statistics", request.queries.length);
  return { road: "bracket", statistics: found.map((statistic) => readStatistic(statistic, range)) };
}

function readStatistic(value: PlainData, { elementCount, parts }: SurveyedRange): Statistic {
  const fields = fieldsOf(value, "statistic");
  const bits = countOf(fields.bits, "bits", NO_LIMIT);
  return {
    position: countOf(fields.position, "elements", elementCount),
    bits,
    below: countOf(fields.below, "elements", elementCount),
    ties: countsOf(fields.ties, "ties", bits === NO_LIMIT ? 0 : parts, elementCount),
  };
}

export function* foldOrder(left: OrderSummary, right: OrderSummary): Steps<OrderSummary> {
  if (left.road === "bracket" || right.road === "bracket")
    throw new Error("a range that is the whole tensor has no neighbours");
  return yield* foldHistograms(left, right);
}

export function* settleOrder(request: OrderRequest, whole: OrderSummary): Steps<OrderStep> {
  return whole.road === "bracket" ? { statistics: whole.statistics } : yield* settleHistograms(request, whole);
}

function modelOf(task: TensorTask, index: number) {
  const model = task.models[index];
  if (model === undefined) throw new Error(`${task.name} has no model ${index}`);
  return model;
}
