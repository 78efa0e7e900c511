/**
 * A merge that costs nothing to compute and has everything that a real one has: tensors in one slice and tensors cut over several, rounds
 * of surveys whose folding depends on the order, a threshold whose equals are shared out over the cuts, bytes that depend on all of it.
 */
import { createHash } from "node:crypto";
import { type SurveyRange, TensorRounds } from "../../coordinator/job/index.ts";
import { resultOf, type Steps, type SurveyedRange, stepsOf } from "../../merge/methods/index.ts";
import {
  type Assignment,
  type PlainData,
  type Plan,
  planLines,
  type Slice,
  type SliceId,
  type SlicePart,
  type Step,
  shardPreamble,
  type TensorTask,
  type UnitId,
} from "../../merge/work/index.ts";

type Random = () => number;

type Count = {
  /** Of the values 0 to 7. */
  readonly bins: readonly number[];
  /** Of the values in their order: hash and 31 to the power of their number. */
  readonly hash: number;
  readonly power: number;
};

type Ties = {
  /** Per part, in order: elements that equal the threshold. */
  readonly counts: readonly number[];
};

export type MadeUpVerdict = {
  readonly threshold: number;
  readonly quota: number;
  readonly hash: number;
  /** Per part: equals before it. */
  readonly before: readonly number[];
};

type Request =
  | { readonly kind: "count" }
  | { readonly kind: "ties"; readonly threshold: number; readonly quota: number; readonly hash: number };

const KEPT_SHARE = 0.4;

/** Of parts that lie in one slice with what is before them: so slices wait for two verdicts, and have two parts of a tensor. */
const JOINED_SHARE = 0.2;

export interface MadeUpMerge {
  readonly plan: Plan;
  readonly digest: string;
  /** Every shard as a single process would write it. */
  readonly shards: ReadonlyMap<string, Uint8Array>;
}

/** One to three shards, two to seven tensors, every other one cut. */
export function makeUpMerge(random: Random): MadeUpMerge {
  const tensors = 2 + Math.floor(random() * 4);
  const shardCount = 1 + Math.floor(random() * 2);
  const tasks = Array.from({ length: tensors }, (_, k) => taskOf(k, 12 + Math.floor(random() * 40)));
  const slices: Slice[] = [];
  const shards = Array.from({ length: shardCount }, (_, shard) => {
    const own = tasks.flatMap((_, k) => (k % shardCount === shard ? [k] : []));
    const name = shardCount === 1 ? "model.safetensors" : `model-0000${shard + 1}-of-0000${shardCount}.safetensors`;
    const header = JSON.stringify({ shard: name, tensors: own.map((k) => tasks[k]!.name) });
    const dataOffsetBytes = 8 + header.length;
    let offsetBytes = dataOffsetBytes;
    for (const task of own) {
      const elements = tasks[task]!.shape[0]!;
      const partCount = task % 2 === 0 ? 2 + Math.floor(random() * 2) : 1;
      const partElements = Math.ceil(elements / partCount);
      for (let part = 0; part < partCount; part++) {
        const firstElement = part * partElements;
        const elementCount = Math.min(partElements, elements - firstElement);
        const parts = [{ task, part, partCount, firstElement, elementCount }];
        const before = slices.at(-1);
        if (before?.shard === shard && random() < JOINED_SHARE) {
          const sizeBytes = before.sizeBytes + elementCount;
          slices.splice(-1, 1, { ...before, sizeBytes, parts: [...before.parts, ...parts] });
        } else {
          const id = `s${String(slices.length).padStart(6, "0")}` as SliceId;
          slices.push({ id, shard, offsetBytes, sizeBytes: elementCount, parts });
        }
        offsetBytes += elementCount;
      }
    }
    return { name, header, dataOffsetBytes, sizeBytes: offsetBytes, tasks: own };
  });
  const plan: Plan = {
    version: 1,
    recipe: { merge_method: "ties" },
    seed: String(Math.floor(random() * 1e9)),
    options: { sliceBytes: 16, shardBytes: 100, allowNonfinite: false },
    inputs: [{ label: "made up", files: [] }],
    definingInput: 0,
    tasks,
    shards,
    slices,
    notes: [],
  };
  const hash = createHash("sha256");
  for (const line of planLines(plan)) hash.update(line);
  const digest = hash.digest("hex");
  return { plan, digest, shards: referenceShards(plan) };
}

function taskOf(index: number, elements: number): TensorTask {
  const source = { input: 0, file: 0, tensor: `t${index}`, dtype: "U8", offsetBytes: 0, storedRowLength: 1 } as const;
  const models = [{ ...source, index: 0, parameters: {} }];
  const shape = [elements];
  return { name: `t${index}`, kind: "merge", method: "ties", dtype: "U8", shape, parameters: {}, models };
}

/** As one process computes it: each tensor in one range. */
function referenceShards(plan: Plan): Map<string, Uint8Array> {
  const method = madeUpMethod("right");
  return new Map(
    plan.shards.map((shard) => {
      const parts = shard.tasks.map((task) => {
        const whole = { task, part: 0, partCount: 1, firstElement: 0, elementCount: plan.tasks[task]!.shape[0]! };
        return mergePart(plan, plan.tasks[task]!, whole, settleAlone(plan, task, method));
      });
      return [shard.name, Buffer.concat([shardPreamble(shard.header), ...parts])];
    }),
  );
}

function settleAlone(plan: Plan, task: number, method: ReturnType<typeof madeUpMethod>): MadeUpVerdict {
  const whole = { task, part: 0, partCount: 1, firstElement: 0, elementCount: plan.tasks[task]!.shape[0]! };
  let step: Step = method.begin();
  while ("request" in step) {
    const summary = survey(plan, [whole], step.request);
    step = resultOf(stepsOf<Step>(method.settle(plan.tasks[task]!, step.request, summary)));
  }
  return step.verdict as MadeUpVerdict;
}

/** A value of 0 to 7: many are equal. */
function elementAt(plan: Plan, task: number, element: number): number {
  let hash = Math.imul(Number(plan.seed) + task * 7919 + element, 0x9e3779b1);
  hash ^= hash >>> 15;
  return (Math.imul(hash, 0x85ebca6b) >>> 13) & 7;
}

/** What a worker answers to a request for neighbouring parts. */
export function survey(plan: Plan, parts: readonly SlicePart[], request: unknown): Count | Ties {
  const asked = request as Request;
  if (asked.kind === "count") {
    const bins = Array.from({ length: 8 }, () => 0);
    let hash = 7;
    let power = 1;
    for (const { task, firstElement, elementCount } of parts) {
      for (let k = firstElement; k < firstElement + elementCount; k++) {
        const value = elementAt(plan, task, k);
        bins[value]!++;
        hash = (Math.imul(hash, 31) + value + 1) | 0;
        power = Math.imul(power, 31);
      }
    }
    // The hash of an empty range, 7, is taken out again: so hashes fold.
    return { bins, hash: (hash - Math.imul(7, power)) | 0, power };
  }
  const counts = parts.map(({ task, firstElement, elementCount }) => {
    let equal = 0;
    for (let k = firstElement; k < firstElement + elementCount; k++) {
      if (elementAt(plan, task, k) === asked.threshold) equal++;
    }
    return equal;
  });
  return { counts };
}

function isCount(summary: PlainData): boolean {
  const { bins, hash, power } = summary as Partial<Count>;
  return bins?.length === 8 && typeof hash === "number" && typeof power === "number";
}

function isTies(summary: PlainData, parts: number): boolean {
  return (summary as Partial<Ties>).counts?.length === parts;
}

/** "twice": the planted fault of a quota that is given out anew at each cut. */
export function madeUpMethod(quotas: "right" | "twice") {
  return {
    begin: (): Step => ({ request: { kind: "count" } satisfies Request }),
    *readSummary(
      _task: TensorTask,
      request: PlainData,
      summary: PlainData,
      { parts }: SurveyedRange,
    ): Steps<PlainData> {
      yield;
      const fits = (request as Request).kind === "count" ? isCount(summary) : isTies(summary, parts);
      if (!fits) throw new Error(`${JSON.stringify(summary)} is no summary`);
      return summary;
    },
    *fold(left: PlainData, right: PlainData): Steps<PlainData> {
      if ("counts" in (left as object)) {
        return { counts: [...(left as Ties).counts, ...(right as Ties).counts] } satisfies Ties;
      }
      const [l, r] = [left as Count, right as Count];
      const bins = l.bins.map((bin, k) => bin + r.bins[k]!);
      return { bins, hash: (Math.imul(l.hash, r.power) + r.hash) | 0, power: Math.imul(l.power, r.power) };
    },
    settle: (task: TensorTask, request: PlainData, whole: PlainData): Step => {
      const asked = request as Request;
      if (asked.kind === "count") {
        const { bins, hash } = whole as Count;
        let left = Math.ceil(KEPT_SHARE * task.shape[0]!);
        let threshold = 7;
        for (; left > bins[threshold]!; threshold--) left -= bins[threshold]!;
        return { request: { kind: "ties", threshold, quota: left, hash } satisfies Request };
      }
      let sum = 0;
      const before = (whole as Ties).counts.map((count) => {
        const here = quotas === "twice" ? 0 : sum;
        sum += count;
        return here;
      });
      const { threshold, quota, hash } = asked;
      return { verdict: { threshold, quota, hash, before } satisfies MadeUpVerdict };
    },
  };
}

export function mergePart(plan: Plan, _task: TensorTask, part: SlicePart, verdict: MadeUpVerdict): Uint8Array {
  const bytes = new Uint8Array(part.elementCount);
  let ties = verdict.before[part.part] ?? 0;
  for (let k = 0; k < part.elementCount; k++) {
    const value = elementAt(plan, part.task, part.firstElement + k);
    const kept = value > verdict.threshold || (value === verdict.threshold && ties < verdict.quota);
    if (value === verdict.threshold) ties++;
    bytes[k] = (kept ? 128 + value * 8 : 0) + (verdict.hash & 7);
  }
  return bytes;
}

/** What a worker computes for a slice. */
export function sliceBytes(plan: Plan, work: Extract<Assignment, { kind: "slice" }>): Uint8Array {
  const method = madeUpMethod("right");
  const parts = work.slice.parts.map((part, k) => {
    const verdict = part.partCount > 1 ? (work.verdicts[k] as MadeUpVerdict) : settleAlone(plan, part.task, method);
    return mergePart(plan, work.tasks[k]!, part, verdict);
  });
  return Buffer.concat(parts);
}

/** Folds in the order in which answers came: a planted fault. */
export class RoundsByArrival extends TensorRounds {
  #open: UnitId[] = [];

  override beginRound(): readonly SurveyRange[] {
    const ranges = super.beginRound();
    this.#open = ranges.map(({ unit }) => unit);
    return ranges;
  }

  override keep(_unit: UnitId, summary: PlainData): void {
    const next = this.#open.shift();
    if (next !== undefined) super.keep(next, summary);
  }
}
