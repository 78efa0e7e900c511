import { dtypeBytes } from "../checkpoint/index.ts";
import { type Cutting, methodNamed, type Reads } from "../merge/methods/index.ts";
import {
  beginsTensor,
  geometryOf,
  type Plan,
  type RowsSource,
  rowsOfRun,
  type StoredSource,
  type TensorSource,
  type TensorTask,
} from "../merge/work/index.ts";
import { sizeBytesOf } from "./layout.ts";

/** What a plan will cost, from headers alone. */
export interface Estimate {
  /** Bytes of the tensors that go in, each counted once. */
  readonly inputBytes: number;
  /**
   * Bytes that will be read from the inputs, all rounds together, for tensors that are not cut for want of memory, and where values are
   * ordinary: that thresholds lie where samples say, and no delta is nothing.
   */
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly mergedTensors: number;
  readonly copiedTensors: number;
  readonly cutTensors: number;
}

/** Elements of a cut tensor that one worker of a cluster surveys at once: workers differ, the ranges must not depend on which comes. */
export const SURVEY_ELEMENTS = 64 * 1024 * 1024;

/** `surveyElements`: elements of a cut tensor that are surveyed at once. */
export function estimateOf(plan: Plan, surveyElements = SURVEY_ELEMENTS): Estimate {
  let inputBytes = 0;
  let readBytes = 0;
  const cut = cuttings(plan, surveyElements);
  for (const [index, task] of plan.tasks.entries()) {
    const bytes = taskBytes(task, cut.get(index) ?? UNCUT);
    inputBytes += bytes.input;
    readBytes += Math.round(bytes.read);
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

const UNCUT: Cutting = { parts: 1, ranges: 1 };

/** Of the tensors that several slices share. */
function cuttings(plan: Plan, surveyElements: number): Map<number, Cutting> {
  const cut = new Map<number, { parts: number; ranges: number; elements: number }>();
  for (const { parts } of plan.slices) {
    for (const { task, partCount, elementCount } of parts) {
      if (partCount === 1) continue;
      const known = cut.get(task) ?? { parts: partCount, ranges: 0, elements: Number.POSITIVE_INFINITY };
      // As a job groups them: as many whole parts as may be surveyed at once.
      if (known.elements + elementCount > surveyElements) {
        known.ranges++;
        known.elements = 0;
      }
      known.elements += elementCount;
      cut.set(task, known);
    }
  }
  return cut;
}

/** Of one task: bytes of the stored tensors that go into it, each counted once; bytes read in all of its rounds. */
function taskBytes(task: TensorTask, cutting: Cutting): { readonly input: number; readonly read: number } {
  const { elementCount } = geometryOf(task.shape);
  const counted = new Map<string, number>();
  const reads = new Map<string, { bytes: number; most: number; sources: number }>();
  const { sources, shared, ranges = cutting.parts } = partsOf(task, cutting);
  for (const [source, times] of sources) {
    for (const { stored, bytes, repeats, isKept } of storedBytes(source, elementCount)) {
      const key = `${stored.input}/${stored.file}/${stored.offsetBytes}`;
      counted.set(key, Math.max(counted.get(key) ?? 0, bytes));
      const known = reads.get(key) ?? { bytes: 0, most: 0, sources: 0 };
      const most = Math.max(known.most, repeats * (isKept ? ranges : times));
      reads.set(key, { bytes: Math.max(known.bytes, bytes), most, sources: known.sources + 1 });
    }
  }
  // A tensor that several sources share is read once for all of them.
  const read = [...reads.values()].reduce((sum, { bytes, most, sources }) => {
    return sum + bytes * (sources > 1 && shared !== undefined ? Math.min(most, shared) : most);
  }, 0);
  const total = (bytes: ReadonlyMap<string, number>) => [...bytes.values()].reduce((sum, each) => sum + each, 0);
  return { input: total(counted), read };
}

/** The sources of a task, and how often each is read. */
function partsOf(
  task: TensorTask,
  cutting: Cutting,
): Pick<Reads, "shared" | "ranges"> & { readonly sources: readonly (readonly [TensorSource, number])[] } {
  if (task.kind !== "merge") {
    const copied = task.base ?? task.models[0];
    // Codes are written once the largest magnitudes are known.
    return { sources: copied === undefined ? [] : [[copied, task.kind === "codes" ? 2 : 1]] };
  }
  const { base, models, ...rest } = methodNamed(task.method).reads(task, cutting);
  const sources = task.models.map((model, i) => {
    return [model, typeof models === "number" ? models : (models[i] ?? 0)] as const;
  });
  return { ...rest, sources: task.base === undefined ? sources : [[task.base, base] as const, ...sources] };
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
      return partsOf(source.task, UNCUT).sources.flatMap(([inner, times]) =>
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
