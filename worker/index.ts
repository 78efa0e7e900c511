export type { EngineChoice, FromWorker, ToWorker } from "./messages.ts";
export { WorkerSession } from "./session.ts";
export { SliceWorker, type WorkerBudget } from "./slice-worker.ts";
