import { geometryOfTask, type ModelSource, type TensorTask } from "../work/index.ts";
import type { Query, Statistic } from "./order-statistics.ts";
import { maybeNumber, number } from "./parameters.ts";

/** Most elements that a random mask can number (docs/spec/random.md): the counter of groups of four has 32 bits. */
export const RANDOM_ELEMENTS_MAX = 2 ** 34;
export const TO_THE_END = 0xffffffff;

export type MaskKind = "magnitude" | "band" | "random" | "ranked";

/** The mask of one model for one tensor, as far as it is known before any byte is read. JSON-able. */
export type MaskPlan =
  | { readonly kind: "all" }
  | { readonly kind: "none" }
  /** Ascending positions [from, to) stay. `ties`: which of equal elements at the lower end stay, the first or the last ones. */
  | { readonly kind: "band"; readonly from: number; readonly to: number; readonly ties: "first" | "last" }
  | { readonly kind: "random"; readonly density: number }
  | { readonly kind: "ranked"; readonly density: number; readonly epsilon: number };

/** A band once its ends are known: see Kernels.maskBand. `tiesBefore`: ties at lo and at hi in earlier parts, per part. */
export interface Band {
  readonly lo: number;
  readonly loFrom: number;
  readonly loTo: number;
  readonly hi: number;
  readonly hiFrom: number;
  readonly hiTo: number;
  readonly tiesBefore: readonly (readonly [number, number])[];
}

export function planMasks(kind: MaskKind, task: TensorTask): MaskPlan[] {
  const { elementCount } = geometryOfTask(task);
  return task.models.map((model) => planMask(kind, model, elementCount));
}

function planMask(kind: MaskKind, model: ModelSource, elements: number): MaskPlan {
  const { density, gamma } = densityAndGamma(model);
  if (density >= 1) return { kind: "all" };
  if (density <= 0) return { kind: "none" };
  const keep = Math.trunc(density * elements);
  // Less than one element is one: the largest |d|, of equals the lowest index, under every mask.
  if (keep < 1) return { kind: "band", from: elements - 1, to: elements, ties: "first" };
  switch (kind) {
    case "magnitude":
      return { kind: "band", from: elements - keep, to: elements, ties: "first" };
    case "band": {
      const top = Math.trunc(gamma * elements);
      const from = Math.max(0, elements - keep - top);
      return { kind: "band", from, to: from + keep, ties: "last" };
    }
    case "random":
      return { kind: "random", density };
    case "ranked":
      return { kind: "ranked", density, epsilon: epsilonOf(model) };
  }
}

/** drop_smallest and drop_largest in place of density and gamma: float64, in this order (docs/spec/methods.md). */
function densityAndGamma(model: ModelSource): { density: number; gamma: number } {
  const smallest = maybeNumber(model.parameters, "drop_smallest");
  const largest = maybeNumber(model.parameters, "drop_largest");
  if (smallest !== undefined || largest !== undefined) {
    return { density: 1 - (smallest ?? 0) - (largest ?? 0), gamma: largest ?? 0 };
  }
  return { density: number(model.parameters, "density"), gamma: maybeNumber(model.parameters, "gamma") ?? 0 };
}

function epsilonOf(model: ModelSource): number {
  const window = maybeNumber(model.parameters, "window_size");
  return window === undefined ? number(model.parameters, "epsilon") : window / 2;
}

/** The order statistics that the bands need: their lowest and their highest element, where these are not the tensor's own. */
export function bandQueries(plans: readonly MaskPlan[], elements: number): Query[] {
  return plans.flatMap((plan, model) => {
    if (plan.kind !== "band") return [];
    const low = plan.from > 0 ? [{ model, position: plan.from }] : [];
    const high = plan.to < elements ? [{ model, position: plan.to - 1 }] : [];
    return [...low, ...high];
  });
}

/** Bands from the answers to `bandQueries`, in the order of the models; null for models that have no band. */
export function bandsFrom(
  plans: readonly MaskPlan[],
  elements: number,
  queries: readonly Query[],
  answers: readonly Statistic[],
): (Band | null)[] {
  return plans.map((plan, model) => {
    if (plan.kind !== "band") return null;
    const answer = (position: number) =>
      answers[queries.findIndex((query) => query.model === model && query.position === position)];
    const low = plan.from > 0 ? answer(plan.from) : undefined;
    const high = plan.to < elements ? answer(plan.to - 1) : undefined;
    return bandFrom(plan, low, high);
  });
}

/**
 * Sorted smallest first, of equals the lower index first, the elements at positions [from, to) stay. With ties "first" the order is
 * that of "largest first, of equals the lower index first": at the lower end it is the first of the equals that stay.
 */
export function bandFrom(
  plan: MaskPlan & { kind: "band" },
  low: Statistic | undefined,
  high: Statistic | undefined,
): Band {
  const equalAtLow = low?.ties.reduce((sum, ties) => sum + ties, 0) ?? 0;
  const keptAtLow = low === undefined ? 0 : low.below + equalAtLow - plan.from;
  const loFrom = low === undefined || plan.ties === "first" ? 0 : plan.from - low.below;
  const loEnd = low === undefined ? TO_THE_END : plan.ties === "first" ? keptAtLow : TO_THE_END;
  const single = low !== undefined && high !== undefined && low.bits === high.bits;
  return {
    lo: low?.bits ?? 0,
    loFrom,
    loTo: single ? plan.to - low.below : loEnd,
    hi: high?.bits ?? TO_THE_END,
    hiFrom: 0,
    hiTo: high === undefined ? TO_THE_END : plan.to - high.below,
    tiesBefore: tiesBefore(low?.ties, high?.ties),
  };
}

function tiesBefore(low: readonly number[] | undefined, high: readonly number[] | undefined): [number, number][] {
  const parts = Math.max(low?.length ?? 0, high?.length ?? 0, 1);
  const before: [number, number][] = [];
  let atLow = 0;
  let atHigh = 0;
  for (let part = 0; part < parts; part++) {
    before.push([atLow, atHigh]);
    atLow += low?.[part] ?? 0;
    atHigh += high?.[part] ?? 0;
  }
  return before;
}
