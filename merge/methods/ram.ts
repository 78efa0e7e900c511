import type { TensorTask } from "../work/index.ts";
import type { Chunk } from "./chunks.ts";
import { defineMethod, type MethodDefinition, type ParameterDeclaration, rangesOf } from "./definition.ts";
import { noRounds } from "./no-rounds.ts";
import { baseOf, floatDtype, number, scopeParameter } from "./parameters.ts";
import type { RangeContext } from "./range.ts";
import { countsOf, fieldsOf } from "./summary-forms.ts";

/** Of each model, how many elements it changed, and how many of these no other model did. Plain data; counts add. */
interface Counts {
  readonly changed: readonly number[];
  readonly unique: readonly number[];
}

/** What a model's unique changes are multiplied by, one per model; null: by 1, in ram. */
interface Verdict {
  readonly factors: readonly number[] | null;
}

/** Elements that a tally has room for. */
const TALLY_MAX = 2 ** 32 - 1;

const epsilon: ParameterDeclaration = {
  scope: "global",
  type: "number",
  default: 1e-5,
  range: { min: 0 },
  documentation: "An element counts as changed where |d| is larger.",
};

const common = {
  paper: "arXiv:2601.13572",
  base: "apart",
  appendsBase: true,
  needsBase: true,
  models: { min: 1, max: Number.POSITIVE_INFINITY },
  shapeMismatch: "fail",
  prunes: false,
  elementsMax: Number.POSITIVE_INFINITY,
  refused: {},
} as const satisfies Partial<MethodDefinition>;

/** RAM: changes that several models share are averaged over these, those of one model kept. docs/spec/methods.md, "Selection and fusion". */
export const ram = defineMethod<never, null, Verdict>({
  ...common,
  name: "ram",
  title: "RAM: average what several models changed over those that did",
  documentation:
    "Adds for each element the deltas of the models that changed it, divided by how many these are: what only one model changed stays whole.",
  formula: "changed: |dᵢ| > epsilon, c = how many models changed it;  out = b + Σ_changed dᵢ / max(c, 1)",
  deviations: [],
  parameters: { epsilon },
  begin: () => ({ verdict: { factors: null } }),
  ...noRounds,
  merge: mergeChanges,
  reads: () => ({ base: 1, models: 1 }),
});

/**
 * RAM+ (TL): unique changes of a model count for more, the more it shares with others.
 * Survey: per model the counts of its changed elements, shared and unique. Memory: three f32 per element, whatever N.
 */
export const ramPlus = defineMethod<"counts", Counts, Verdict>({
  ...common,
  name: "ramplus_tl",
  title: "RAM+ (TL): as ram, with what is unique to a model made larger",
  documentation:
    "As ram, but what one model alone changed is multiplied by a factor above 1 that grows with the share of its changes that others made too.",
  formula:
    "as ram;  where c = 1: dᵢ · (1 + r · clamp(sharedᵢ / max(uniqueᵢ, epsilon), 0, alpha));  sharedᵢ, uniqueᵢ: how many of model i's changes have c > 1, c = 1",
  deviations: [],
  parameters: {
    r: { scope: "global", type: "number", default: 0.1, documentation: "How strongly unique changes are raised." },
    alpha: {
      scope: "global",
      type: "number",
      default: 0.2,
      range: { min: 0 },
      documentation: "Where the ratio of shared to unique changes is cut off.",
    },
    epsilon,
    ...scopeParameter,
  },
  begin: () => ({ request: "counts" }),
  survey: surveyCounts,
  readSummary({ models }, _request, summary, { elementCount }) {
    const { changed, unique } = fieldsOf(summary, "counts");
    return {
      changed: countsOf(changed, "changed elements", models.length, elementCount),
      unique: countsOf(unique, "elements changed by one model alone", models.length, elementCount),
    };
  },
  *fold(left, right) {
    return {
      changed: left.changed.map((count, i) => count + (right.changed[i] ?? 0)),
      unique: left.unique.map((count, i) => count + (right.unique[i] ?? 0)),
    };
  },
  settle: (task, _request, { changed, unique }) => ({
    verdict: { factors: task.models.map((_, i) => factorOf(task, changed[i] ?? 0, unique[i] ?? 0)) },
  }),
  merge: mergeChanges,
  reads: (_task, cutting) => ({ base: 2, models: 2, ranges: rangesOf(cutting, 1) }),
});

function factorOf({ parameters }: TensorTask, changed: number, unique: number): number {
  const ratio = (changed - unique) / Math.max(unique, number(parameters, "epsilon"));
  // Without any change and with an epsilon of 0 there is nothing to raise.
  const clamped = Number.isNaN(ratio) ? 0 : Math.min(Math.max(ratio, 0), number(parameters, "alpha"));
  return 1 + number(parameters, "r") * clamped;
}

async function deltas(
  context: RangeContext,
  chunk: Chunk,
  base: number,
  each: (d: number, model: number) => void,
): Promise<void> {
  const d = context.f32("delta");
  for (const [i, model] of context.task.models.entries()) {
    const x = await context.read(model, chunk);
    context.arena.kernels.delta(d, x, floatDtype(model), base, chunk.elementCount);
    each(d, i);
  }
}

/** One pass: an element changed by one model alone belongs to the last model that changed it. */
async function surveyCounts(context: RangeContext): Promise<Counts> {
  const { task, arena } = context;
  const { kernels } = arena;
  const models = task.models.length;
  const limit = number(task.parameters, "epsilon");
  const count = context.f32("count");
  const owner = context.f32("label");
  // Changed elements of each model, then unique ones.
  const tallies = context.buffer("tallies", models * 8);
  const sums = new Float64Array(2 * models);
  const fetch = async () => {
    const bytes = await arena.download(tallies, models * 8);
    for (const [k, tally] of new Uint32Array(bytes.slice().buffer).entries()) sums[k] = (sums[k] ?? 0) + tally;
  };
  let tallied = 0;
  kernels.zero(tallies, models * 8);
  for (const chunk of context.chunks("pieces")) {
    const n = chunk.elementCount;
    if (tallied + n > TALLY_MAX) {
      await fetch();
      kernels.zero(tallies, models * 8);
      tallied = 0;
    }
    tallied += n;
    const base = await context.readF32(baseOf(task), chunk, "base");
    kernels.zero(count, n * 4);
    await deltas(context, chunk, base, (d, i) => {
      kernels.accumulateChanged(0, count, owner, d, limit, i, n);
      kernels.countChanged(tallies + 4 * i, d, limit, n);
    });
    kernels.countUnique(tallies + 4 * models, count, owner, n);
  }
  await fetch();
  const all = Array.from(sums);
  return { changed: all.slice(0, models), unique: all.slice(models) };
}

async function mergeChanges(context: RangeContext, { factors }: Verdict): Promise<void> {
  const { task } = context;
  const { kernels } = context.arena;
  const limit = number(task.parameters, "epsilon");
  const sum = context.f32("sum");
  const count = context.f32("count");
  const factor = factors === null ? 0 : context.f32("label");
  for (const chunk of context.chunks("pieces")) {
    const n = chunk.elementCount;
    const base = await context.readF32(baseOf(task), chunk, "base");
    for (const address of [sum, count]) kernels.zero(address, n * 4);
    await deltas(context, chunk, base, (d, i) =>
      kernels.accumulateChanged(sum, count, factor, d, limit, factors?.[i] ?? 1, n),
    );
    kernels.finishChanged(sum, base, sum, count, factor, n);
    await context.emit(chunk, sum);
  }
}
