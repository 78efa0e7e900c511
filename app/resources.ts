import { availableParallelism, totalmem } from "node:os";
import { KEPT_INPUT_BYTES } from "../merge/methods/index.ts";
import type { WorkerBudget } from "../runtime/index.ts";

const MIB = 1024 * 1024;
/** What Node, the plan and the coordinator take before any worker begins. */
const PROCESS_BYTES = 160 * MIB;
/** What Node takes with nothing loaded. */
const NODE_BYTES = 64 * MIB;
/** What a worker thread takes before it computes: its isolate and code. */
const THREAD_BYTES = 24 * MIB;
/** Default of --memory: more brings nothing, tensors stream. */
const MEMORY_DEFAULT_BYTES = 1024 * MIB;
const THREADS_DEFAULT_MAX = 16;
/** Optional working memory (samples, masks) beyond which nothing gets faster. */
const SPARE_MAX_BYTES = 32 * MIB;
/** A survey keeps about this much for each element of its range: the base of it, held in float32, collected magnitudes and mask bits. */
const SURVEY_BYTES_PER_ELEMENT = 6;
/** Input files open at once in all threads together: common limits allow 1024 descriptors. */
const OPEN_FILES = 900;
const OPEN_FILES_MIN = 8;
/** To buckets and servers of all threads together: 14 to 16 carry 1 GB/s where the first byte takes 30 ms and a connection 90 MB/s. */
const CONNECTIONS = 16;
const CONNECTIONS_MIN = 2;
/** However little is allowed: a block must fit. */
const BUDGET_MIN_BYTES = 64 * 1024;
const ENGINE_MAX_BYTES = 3.75 * 1024 * MIB;

export interface Resources {
  readonly threads: number;
  readonly memoryBytes: number;
  readonly budget: WorkerBudget;
  readonly engineMaximumBytes: number;
}

/**
 * A worker of a cluster holds results until they are granted, and reads ahead over the network: more than a thread of a merge has. With
 * this much the bf16 base of the longest range that a coordinator has surveyed at once (SURVEY_ELEMENTS) can be held.
 */
const WORKER_MEMORY_PER_THREAD_BYTES = 480 * MIB;
/** Of what a worker may use: for results that are computed and not yet in storage. */
const RESULT_SHARE = 0.4;
/** Of a thread's own: for inputs that come over the network. */
const INPUT_SHARE = 0.4;

/** As `Resources`, for a worker of a cluster. */
export interface WorkerResources extends Resources {
  readonly resultBytes: number;
  /** Of each thread. */
  readonly inputCacheBytes: number;
}

export function workerResourcesFor(options: {
  readonly threads?: number | undefined;
  readonly memoryBytes?: number | undefined;
  readonly bandwidthBytes?: number | undefined;
}): WorkerResources {
  const threads = options.threads ?? threadsDefault();
  const wanted = PROCESS_BYTES + threads * WORKER_MEMORY_PER_THREAD_BYTES;
  const memoryBytes = options.memoryBytes ?? Math.min(wanted, Math.floor(totalmem() / 2));
  const free = Math.max(threads * BUDGET_MIN_BYTES, memoryBytes - PROCESS_BYTES - threads * THREAD_BYTES);
  const resultBytes = Math.floor(free * RESULT_SHARE);
  const each = Math.floor((free - resultBytes) / threads);
  const inputCacheBytes = Math.floor(each * INPUT_SHARE);
  const computing = PROCESS_BYTES + threads * (THREAD_BYTES + each - inputCacheBytes);
  const { bandwidthBytes } = options;
  return {
    ...resourcesFor({ threads, memoryBytes: computing, bandwidthBytes }),
    memoryBytes,
    resultBytes,
    inputCacheBytes,
  };
}

/** Node itself, and the isolate and code of each thread: with less a worker is killed, or never gets to compute. */
export function leastMemoryFor(threads: number): number {
  return NODE_BYTES + threads * THREAD_BYTES;
}

export function threadsDefault(): number {
  return Math.min(THREADS_DEFAULT_MAX, Math.max(1, availableParallelism()));
}

/** How a machine's memory is shared out. None of it alters a bit of the output. */
export function resourcesFor(options: {
  readonly threads?: number | undefined;
  readonly memoryBytes?: number | undefined;
  readonly bandwidthBytes?: number | undefined;
  /** Of each thread, for what waits to be uploaded. */
  readonly uploadBytes?: number;
}): Resources {
  const { threads = threadsDefault(), uploadBytes = 0 } = options;
  const wanted = MEMORY_DEFAULT_BYTES + threads * uploadBytes;
  const memoryBytes = options.memoryBytes ?? Math.min(wanted, Math.floor(totalmem() / 2));
  const own = THREAD_BYTES + uploadBytes;
  const each = Math.max(BUDGET_MIN_BYTES, Math.floor((memoryBytes - PROCESS_BYTES) / threads) - own);
  const rangeElements = Math.max(1, Math.floor(each / SURVEY_BYTES_PER_ELEMENT));
  const spareBytes = Math.min(SPARE_MAX_BYTES, Math.floor(each / 4));
  const keptBytes = Math.min(KEPT_INPUT_BYTES, Math.floor(each / 4));
  const openFilesMax = Math.max(OPEN_FILES_MIN, Math.floor(OPEN_FILES / threads));
  const connectionsMax = Math.max(CONNECTIONS_MIN, Math.floor(CONNECTIONS / threads));
  const { bandwidthBytes } = options;
  return {
    threads,
    memoryBytes,
    budget: {
      ...(bandwidthBytes === undefined ? {} : { bandwidthBytes: Math.max(1, Math.floor(bandwidthBytes / threads)) }),
      ...{ rangeElements, spareBytes, keptBytes, openFilesMax, connectionsMax },
      heldBytes: each - spareBytes - keptBytes,
    },
    engineMaximumBytes: ENGINE_MAX_BYTES,
  };
}

/** What one merge of a sweep is given in one thread. */
export const SWEEP_MERGE_BYTES = 40 * MIB;

/**
 * How many merges of a sweep are made at a time: each needs accumulators and samples of its own, and `uploadBytes` for what waits to be
 * uploaded; the inputs are shared.
 */
export function sweepWidth(
  { memoryBytes, threads }: Pick<Resources, "memoryBytes" | "threads">,
  uploadBytes = 0,
): number {
  const each = SWEEP_MERGE_BYTES + uploadBytes;
  return Math.max(1, Math.floor((memoryBytes - PROCESS_BYTES) / (threads * each)));
}
