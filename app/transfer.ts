import {
  geometryOf,
  type InputFile,
  type Plan,
  partsOfTensors,
  type SlicePart,
  surveyRanges,
} from "../merge/work/index.ts";
import { readsOfTasks } from "../plan/index.ts";
import {
  type Extent,
  extentsOfRange,
  farBytesOf,
  isFar,
  layOutWindows,
  type WorkerBudget,
  windowCount,
} from "../runtime/index.ts";
import { cacheCandidates, cacheOf, farIn, type PlannedCache } from "./range-cache.ts";

/** What a merge will bring from stores that are far, once it is planned: weights, and no headers or tokenizers. */
export interface Transfer {
  readonly bytes: number;
  /** About so many. */
  readonly requests: number;
  /** Bytes of the inputs, by how often each of them is brought; seldomest first. */
  readonly times: readonly { readonly times: number; readonly bytes: number }[];
  /** Of --cache-bytes. Absent where a cache of any size saves nothing. */
  readonly cache?: {
    /** What it takes on the disk, and how many bytes are not brought again for it. */
    readonly sizeBytes: number;
    readonly savedBytes: number;
    /** The same of the smallest one that saves all that can be saved. */
    readonly whole: { readonly sizeBytes: number; readonly savedBytes: number };
  };
}

export interface TransferMeans {
  readonly threads: number;
  /** Of one thread. */
  readonly budget: Pick<WorkerBudget, "heldBytes" | "keptBytes" | "rangeElements">;
  /** Elements of a cut tensor that are surveyed at once; as many as a range has where nothing is said. */
  readonly surveyElements?: number;
  readonly cacheBytes?: number | undefined;
}

/** Where an extent is not read by windows, so much is asked for at once: about a chunk of a method. */
const PIECE_BYTES = 64 * 2 ** 10;

/** Undefined where nothing is far. `inputs`: places of the plan's inputs. */
export function transferOf(
  plan: Plan,
  inputs: readonly { readonly files: readonly Pick<InputFile, "path">[] }[],
  { threads, budget, surveyElements = budget.rangeElements, cacheBytes = 0 }: TransferMeans,
): Transfer | undefined {
  const isCounted = farIn(inputs);
  const fileCount = inputs.flatMap(({ files }) => files.filter(isFar)).length;
  if (fileCount === 0) return undefined;
  const uncached = readsOfTasks(plan, surveyElements, budget.keptBytes ?? 0, isCounted);
  const candidates = cacheCandidates(plan, uncached, isCounted, { budget, surveyElements });
  const cache = cacheOf(candidates, cacheBytes);
  const whole = cacheOf(candidates, Number.POSITIVE_INFINITY);
  const reads = uncached.map((read, task) => ({
    ...read,
    readBytes: read.readBytes - (cache.savedBytes.get(task) ?? 0),
  }));
  const capacityBytes = farBytesOf(budget);
  const inputOf = ({ task, elementCount }: Pick<SlicePart, "task" | "elementCount">) =>
    ((reads[task]?.inputBytes ?? 0) * elementCount) / geometryOf(plan.tasks[task]?.shape ?? []).elementCount;
  const timesOf = ({ task }: Pick<SlicePart, "task">) => {
    const { inputBytes = 0, readBytes = 0 } = reads[task] ?? {};
    return readBytes / inputBytes;
  };
  const byTimes = new Map<number, number>();
  let bytes = 0;
  // Each thread opens each file.
  let requests = fileCount * threads;
  for (const slice of plan.slices) {
    const parts = slice.parts.filter((part) => inputOf(part) > 0);
    const named = parts.map((part) => ({ part, extents: namedIn(plan, part).filter(isCounted) }));
    const [wanted, scattered] = [
      named.filter(({ extents }) => extents.length > 0),
      named.filter(({ extents }) => extents.length === 0),
    ];
    const { windowBytes, groups } = layOutWindows(
      capacityBytes,
      wanted.map(({ extents }) => extents),
    );
    const count = (part: SlicePart, isKept: boolean) => {
      const times = isKept && reads[part.task]?.isCut === false ? 1 : timesOf(part);
      const whole = Math.max(1, Math.round(times));
      byTimes.set(whole, (byTimes.get(whole) ?? 0) + inputOf(part));
      return times * inputOf(part);
    };
    for (const { part } of scattered) {
      bytes += count(part, false);
      requests += (timesOf(part) * inputOf(part)) / PIECE_BYTES;
    }
    for (const { extents, isKept, parts: size } of groups) {
      const members = wanted.splice(0, size).map(({ part }) => part);
      const inputBytes = members.reduce((sum, part) => sum + inputOf(part), 0);
      const brought = members.reduce((sum, part) => sum + count(part, isKept), 0);
      // What lies between two tensors comes with them.
      bytes += brought * Math.max(1, lengthOf(extents) / inputBytes);
      const surveyed = members.reduce(
        (sum, part) => sum + (reads[part.task]?.isCut === true ? (timesOf(part) - 1) * inputOf(part) : 0),
        0,
      );
      requests += requestsOf(windowBytes, extents, (brought - surveyed) / inputBytes);
    }
  }
  // The surveys of a cut tensor are assignments of their own, which find nothing of each other.
  for (const [task, parts] of partsOfTensors(plan)) {
    if (reads[task]?.isCut !== true || reads[task].inputBytes === 0) continue;
    for (const [first, ...others] of surveyRanges(parts, surveyElements)) {
      if (first === undefined) continue;
      const elementCount = [first, ...others].reduce((sum, part) => sum + part.elementCount, 0);
      const extents = namedIn(plan, { task, firstElement: first.firstElement, elementCount }).filter(isCounted);
      const { windowBytes } = layOutWindows(capacityBytes, [extents]);
      requests += requestsOf(windowBytes, extents, timesOf({ task }) - 1);
    }
  }
  return {
    bytes: Math.round(bytes),
    requests: Math.ceil(requests),
    ...(whole.sizeBytes === 0 ? {} : { cache: { ...saving(cache), whole: saving(whole) } }),
    times: [...byTimes].sort(([a], [b]) => a - b).map(([times, ofThem]) => ({ times, bytes: Math.round(ofThem) })),
  };
}

function saving({ sizeBytes, savedBytes }: PlannedCache) {
  return { sizeBytes, savedBytes: [...savedBytes.values()].reduce((sum, bytes) => sum + bytes, 0) };
}

/** What is known of where a part reads. */
function namedIn(
  plan: Plan,
  { task, firstElement, elementCount }: Pick<SlicePart, "task" | "firstElement" | "elementCount">,
): readonly Extent[] {
  const found = plan.tasks[task];
  return found === undefined ? [] : extentsOfRange(found, firstElement, elementCount);
}

/** Of what is read so often. */
function requestsOf(windowBytes: number, extents: readonly Extent[], times: number): number {
  return times * (windowBytes === 0 ? lengthOf(extents) / PIECE_BYTES : windowCount(windowBytes, extents));
}

function lengthOf(extents: readonly Extent[]): number {
  return extents.reduce((sum, { fromByte, toByte }) => sum + toByte - fromByte, 0);
}
