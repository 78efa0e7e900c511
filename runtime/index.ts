export type { Computed } from "./computed.ts";
export { SliceWorker, type WorkerBudget } from "./slice-worker.ts";
