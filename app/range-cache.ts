import { type InputFile, type Plan, partsOfTensors, surveyRanges } from "../merge/work/index.ts";
import { readsOfTasks, type TaskReads } from "../plan/index.ts";
import {
  type Extent,
  extentsOfRange,
  farBytesOf,
  isFar,
  isGivenUp,
  keyOfExtent,
  layOutCache,
  layOutWindows,
  type RangeCacheDescription,
  rangeCacheTable,
  type WorkerBudget,
} from "../runtime/index.ts";
import { freeBytes, makeUnnamedFile, type Place, StorageError } from "../storage/index.ts";

/** What of the inputs of a merge is kept on the local disk, from the first round in which it comes to the last. */
export interface PlannedCache extends Pick<RangeCacheDescription, "stretches"> {
  /** On the disk. */
  readonly sizeBytes: number;
  /** Not brought again, by task of the plan. */
  readonly savedBytes: ReadonlyMap<number, number>;
}

export interface PlannedCacheMeans {
  readonly budget: Pick<WorkerBudget, "heldBytes" | "keptBytes" | "rangeElements">;
  /** Elements of a cut tensor that are surveyed at once; as many as a range has where nothing is said. */
  readonly surveyElements?: number;
}

/** What would be brought again, of a task of the plan, and is not if it is kept. */
export interface CacheCandidate {
  readonly extent: Extent;
  readonly task: number;
  readonly savedBytes: number;
}

type Inputs = readonly { readonly files: readonly Pick<InputFile, "path">[] }[];
type IsCounted = (file: Pick<Extent, "input" | "file">) => boolean;

/** Tells which files of a plan's inputs are far. */
export function farIn(inputs: Inputs): IsCounted {
  const far = inputs.map(({ files }) => files.map(isFar));
  return ({ input, file }) => far[input]?.[file] === true;
}

/** `cacheBytes`: 0 keeps nothing. */
export function planCache(
  plan: Plan,
  inputs: Inputs,
  { budget, surveyElements = budget.rangeElements }: PlannedCacheMeans,
  cacheBytes: number,
): PlannedCache {
  if (cacheBytes === 0) return cacheOf([], 0);
  const isCounted = farIn(inputs);
  const reads = readsOfTasks(plan, surveyElements, budget.keptBytes ?? 0, isCounted);
  return cacheOf(cacheCandidates(plan, reads, isCounted, { budget, surveyElements }), cacheBytes);
}

/**
 * Of tensors that several slices share, in the plan's order: the survey brings them, in windows, and all that comes later finds them. Others
 * pass all their rounds in one slice, whose windows are kept in memory. `reads`: of the files that are counted.
 */
export function cacheCandidates(
  plan: Plan,
  reads: readonly TaskReads[],
  isCounted: IsCounted,
  { budget, surveyElements }: Required<PlannedCacheMeans>,
): readonly CacheCandidate[] {
  const candidates: CacheCandidate[] = [];
  for (const [task, parts] of partsOfTensors(plan)) {
    const [found, { isCut = false, stored = [] } = {}] = [plan.tasks[task], reads[task]];
    if (found === undefined || !isCut) continue;
    for (const range of surveyRanges(parts, surveyElements)) {
      const elementCount = range.reduce((sum, part) => sum + part.elementCount, 0);
      const extents = extentsOfRange(found, range[0]?.firstElement ?? 0, elementCount).filter(isCounted);
      const { windowBytes, groups } = layOutWindows(farBytesOf(budget), [extents]);
      if (windowBytes === 0) continue; // read as it is asked for, in pieces that are not kept
      for (const extent of groups.flatMap((group) => group.extents)) {
        const savedBytes = stored.reduce((sum, { stored: { input, file, offsetBytes }, bytes, times }) => {
          if (input !== extent.input || file !== extent.file) return sum;
          const [from, to] = [Math.max(extent.fromByte, offsetBytes), Math.min(extent.toByte, offsetBytes + bytes)];
          return sum + Math.max(0, to - from) * (Math.floor(times) - 1);
        }, 0);
        if (savedBytes > 0) candidates.push({ extent, task, savedBytes });
      }
    }
  }
  return candidates;
}

/** As many of them as have room. */
export function cacheOf(candidates: readonly CacheCandidate[], cacheBytes: number): PlannedCache {
  const { stretches, sizeBytes } = layOutCache(
    cacheBytes,
    candidates.map(({ extent }) => extent),
  );
  const kept = new Set(stretches.map(keyOfExtent));
  const savedBytes = new Map<number, number>();
  for (const { extent, task, savedBytes: bytes } of candidates)
    if (kept.has(keyOfExtent(extent))) savedBytes.set(task, (savedBytes.get(task) ?? 0) + bytes);
  return { stretches, sizeBytes, savedBytes };
}

/** The file that it lies in, beside the journal, and what threads must know of it. */
export interface OpenedCache {
  readonly description: RangeCacheDescription;
  /** Whether the disk took no more of it at some time. */
  isGivenUp(): boolean;
  close(): void;
}

/** @throws StorageError `storage/full` where there is less room than it may take */
export async function openCache({ stretches, sizeBytes }: PlannedCache, folder: Place): Promise<OpenedCache> {
  const free = await freeBytes(folder);
  if (free !== undefined && free < sizeBytes) {
    throw new StorageError(
      "storage/full",
      `cannot keep ${sizeBytes} bytes of what is far in ${folder}: ${free} bytes are free there`,
      { hint: "Give less with --cache-bytes, or leave it out: what is far is brought again then." },
    );
  }
  const file = makeUnnamedFile(folder);
  const description = { stretches, descriptor: file.descriptor, table: rangeCacheTable(sizeBytes) };
  return { description, isGivenUp: () => isGivenUp(description), close: () => file.close() };
}
