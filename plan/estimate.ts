import { dtypeBytes } from "../checkpoint/index.ts";
import {
  type Cutting,
  KEPT_INPUT_BYTES,
  keepsInputs,
  methodNamed,
  type Reads,
  readsOfKept,
} from "../merge/methods/index.ts";
import {
  bandBytes,
  beginsTensor,
  geometryOf,
  type Plan,
  partsOfTensors,
  type RowsSource,
  rowsOfRun,
  type StoredSource,
  surveyRanges,
  type TensorSource,
  type TensorTask,
} from "../merge/work/index.ts";
import { sizeBytesOf } from "./layout.ts";

/** What a plan will cost, from headers alone. */
export interface Estimate {
  /** Bytes of the tensors that go in, each counted once. */
  readonly inputBytes: number;
  /**
   * Bytes that will be read from the inputs, all rounds together, for tensors that are not cut for want of memory and inputs that are not
   * forgotten for want of it, and where values are ordinary: that thresholds lie where samples say, and no delta is nothing.
   */
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly mergedTensors: number;
  readonly copiedTensors: number;
  readonly cutTensors: number;
}

/** Elements of a cut tensor that one worker of a cluster surveys at once: workers differ, the ranges must not depend on which comes. */
export const SURVEY_ELEMENTS = 64 * 1024 * 1024;

/**
 * `surveyElements`: elements of a cut tensor that are surveyed at once. `keptBytes`: of a thread's memory, for inputs that are kept from round
 * to round.
 */
export function estimateOf(plan: Plan, surveyElements = SURVEY_ELEMENTS, keptBytes = KEPT_INPUT_BYTES): Estimate {
  let inputBytes = 0;
  let readBytes = 0;
  const cut = cuttings(plan, surveyElements);
  const again = computedAgain(plan);
  for (const [index, task] of plan.tasks.entries()) {
    const cutting = cut.get(index);
    const bytes = taskBytes(task, cutting, keptBytes);
    const shareAgain = (again.get(index) ?? 0) / Math.max(1, geometryOf(task.shape).elementCount);
    inputBytes += bytes.input;
    // What is surveyed once for all slices is read again for its last round only.
    readBytes += Math.round(
      bytes.read + shareAgain * (cutting === undefined || task.kind !== "merge" ? bytes.read : bytes.input),
    );
  }
  return {
    inputBytes,
    readBytes,
    writeBytes: plan.shards.reduce((sum, shard) => sum + shard.sizeBytes, 0),
    mergedTensors: plan.tasks.filter((task) => beginsTensor(task) && (task.kind === "merge" || task.kind === "codes"))
      .length,
    copiedTensors: plan.tasks.filter((task) => beginsTensor(task) && task.kind === "copy").length,
    cutTensors: cut.size,
  };
}

/** A stored tensor that goes into a task, and how often it is read: what is behind the point are samples. */
export interface StoredReads {
  readonly stored: StoredSource;
  readonly bytes: number;
  readonly times: number;
}

/** Of a task: bytes of the stored tensors that go into it, each counted once; bytes read in all of its rounds, and whether slices share it. */
export interface TaskReads {
  readonly inputBytes: number;
  readonly readBytes: number;
  readonly isCut: boolean;
  readonly stored: readonly StoredReads[];
}

/** As `estimateOf`, by task, of those stored tensors alone that `counts` says. */
export function readsOfTasks(
  plan: Plan,
  surveyElements: number,
  keptBytes: number,
  counts: (stored: StoredSource) => boolean,
): readonly TaskReads[] {
  const cut = cuttings(plan, surveyElements);
  return plan.tasks.map((task, index) => {
    const { input, read, stored } = taskBytes(task, cut.get(index), keptBytes, counts);
    return { inputBytes: input, readBytes: read, isCut: cut.has(index), stored };
  });
}

/** By task: elements of blocks that more than one slice computes, but for the first time. */
function computedAgain(plan: Plan): Map<number, number> {
  const again = new Map<number, number>();
  for (const { parts } of plan.slices) {
    for (const { task, elementCount } of parts) again.set(task, (again.get(task) ?? 0) + elementCount);
  }
  for (const [index, elements] of again) {
    again.set(index, elements - geometryOf(plan.tasks[index]?.shape ?? []).elementCount);
  }
  return again;
}

const UNCUT: Cutting = { parts: 1, ranges: 1 };

/** Of the tensors that several slices share. */
function cuttings(plan: Plan, surveyElements: number): Map<number, Cutting> {
  const cut = new Map<number, Cutting>();
  for (const [task, parts] of partsOfTensors(plan)) {
    if (parts.length === 1) continue;
    cut.set(task, { parts: parts.length, ranges: surveyRanges(parts, surveyElements).length });
  }
  return cut;
}

/**
 * Of one task: bytes of the stored tensors that go into it, each counted once; bytes read in all of its rounds. `cutting`: where slices
 * share it; nothing is kept from round to round then.
 */
function taskBytes(
  task: TensorTask,
  cutting: Cutting | undefined,
  keptBytes: number,
  counts: (stored: StoredSource) => boolean = () => true,
): { readonly input: number; readonly read: number; readonly stored: readonly StoredReads[] } {
  const { elementCount } = geometryOf(task.shape);
  const counted = new Map<string, number>();
  const reads = new Map<string, { stored: StoredSource; bytes: number; most: number; sources: number }>();
  const { parts } = cutting ?? UNCUT;
  const { sources, shared, ranges = parts } = partsOf(task, cutting, keptBytes);
  for (const [source, times] of sources) {
    for (const { stored, bytes, repeats, isKept } of storedBytes(source, elementCount)) {
      if (!counts(stored)) continue;
      const key = `${stored.input}/${stored.file}/${stored.offsetBytes}`;
      counted.set(key, Math.max(counted.get(key) ?? 0, bytes));
      const known = reads.get(key) ?? { stored, bytes: 0, most: 0, sources: 0 };
      const most = Math.max(known.most, repeats * (isKept ? ranges : times));
      reads.set(key, { stored: known.stored, bytes: Math.max(known.bytes, bytes), most, sources: known.sources + 1 });
    }
  }
  // A tensor that several sources share is read once for all of them.
  const stored = [...reads.values()].map(({ stored, bytes, most, sources }) => ({
    ...{ stored, bytes },
    times: sources > 1 && shared !== undefined ? Math.min(most, shared) : most,
  }));
  const read = stored.reduce((sum, { bytes, times }) => sum + bytes * times, 0);
  const total = (bytes: ReadonlyMap<string, number>) => [...bytes.values()].reduce((sum, each) => sum + each, 0);
  return { input: total(counted), read, stored };
}

/** The sources of a task, and how often each is read. `cutting`: where slices share it. */
function partsOf(
  task: TensorTask,
  cutting: Cutting | undefined,
  keptBytes: number,
): Pick<Reads, "shared" | "ranges"> & { readonly sources: readonly (readonly [TensorSource, number])[] } {
  if (task.kind !== "merge") {
    const copied = task.base ?? task.models[0];
    return { sources: copied === undefined ? [] : [[copied, timesRead(task, keptBytes)]] };
  }
  const method = methodNamed(task.method);
  const reads = method.reads(task, cutting ?? UNCUT);
  const keeps = cutting === undefined && keepsInputs(task, method, keptBytes);
  const { base, models, ...rest } = keeps ? readsOfKept(reads) : reads;
  const sources = task.models.map((model, i) => {
    return [model, typeof models === "number" ? models : (models[i] ?? 0)] as const;
  });
  return { ...rest, sources: task.base === undefined ? sources : [[task.base, base] as const, ...sources] };
}

/** Of a task that is no merge: codes are written once the largest magnitudes are known, and scales mostly right after their codes. */
function timesRead({ kind, scaling }: TensorTask, keptBytes: number): number {
  if (kind === "codes" && scaling !== undefined) return bandBytes(scaling) > keptBytes ? 2 : 1;
  return kind === "scales" ? 0 : 1;
}

interface StoredBytes {
  readonly stored: StoredSource;
  readonly bytes: number;
  /** How often it is read where the source is read once: more than once below a merged source with rounds. */
  readonly repeats: number;
  /** Read whole, once, and kept for the range. */
  readonly isKept: boolean;
}

/** What reading all of a source, `elementCount` elements, takes from files. */
function storedBytes(source: TensorSource, elementCount: number): StoredBytes[] {
  const of = (stored: StoredSource, elements: number) => ({
    stored,
    bytes: elements * dtypeBytes[stored.dtype],
    repeats: 1,
    isKept: false,
  });
  if (source.kind === undefined) return [of(source, elementCount)];
  switch (source.kind) {
    case "adapter": {
      const { a, b, rank, rows, columns } = source;
      const [ofA, ofB] = source.transposed ? [rows, columns] : [columns, rows];
      const right = { ...of(a, rank * ofA), isKept: true };
      const left = { ...of(b, rank * ofB), isKept: source.transposed };
      return [...storedBytes(source.base, elementCount), right, left];
    }
    case "normed": {
      const magnitudes = { ...of(source.magnitudes, source.rows), isKept: true };
      return [...storedBytes(source.values, elementCount), magnitudes];
    }
    case "scaled": {
      const { codes, scales, rows, blockRows, blockColumns, storedRowLength } = source;
      const grid = Math.ceil(rows / blockRows) * Math.ceil(storedRowLength / blockColumns);
      return [...storedBytes(codes, elementCount), ...storedBytes(scales, grid)];
    }
    case "rows":
      return source.parts.flatMap((part, index) => storedBytes(part, rowsFrom(source, index) * source.width));
    case "columns":
      return source.parts.map((part) => of(part.source, (elementCount / source.width) * part.columns));
    case "product":
      return source.terms.flatMap(({ a, b, rank }) => [of(b, source.rows * rank), of(a, rank * source.columns)]);
    case "merged":
      return partsOf(source.task, undefined, 0).sources.flatMap(([inner, times]) =>
        storedBytes(inner, geometryOf(source.task.shape).elementCount).map((bytes) => ({
          ...bytes,
          repeats: bytes.repeats * times,
        })),
      );
  }
}

function rowsFrom({ runs }: RowsSource, part: number): number {
  let rows = 0;
  for (const run of runs) {
    if ("mean" in run) rows += run.mean.filter(([from]) => from === part).length;
    else if ("part" in run && run.part === part) rows += rowsOfRun(run);
  }
  return rows;
}

/** For the plan's table: size of the largest output tensor. */
export function largestTensorBytes(plan: Plan): number {
  return plan.tasks.reduce((largest, task) => Math.max(largest, sizeBytesOf(task)), 0);
}
