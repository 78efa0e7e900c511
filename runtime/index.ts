export type { Computed } from "./computed.ts";
export { isFar } from "./input-files.ts";
export { isGivenUp, layOutCache, type RangeCacheDescription, rangeCacheTable } from "./range-cache.ts";
export { UPLOADS_MAX } from "./slice-uploads.ts";
export { farBytesOf, SliceWorker, type WorkerBudget, type WorkerStore } from "./slice-worker.ts";
export { type Extent, extentsOfRange, keyOfExtent } from "./wanted-extents.ts";
export { layOutWindows, windowCount } from "./window-layout.ts";
