export type { Computed } from "./computed.ts";
export { isFar } from "./input-files.ts";
export { farBytesOf, SliceWorker, type WorkerBudget } from "./slice-worker.ts";
export { type Extent, extentsOfRange } from "./wanted-extents.ts";
export { layOutWindows, windowCount } from "./window-layout.ts";
