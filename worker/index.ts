export type {
  Computed,
  EngineChoice,
  FromWorker,
  HeldUnit,
  JobId,
  OutputMode,
  ToWorker,
} from "./messages.ts";
export { type SessionPorts, WorkerSession } from "./session.ts";
export { SignsOfLife } from "./signs-of-life.ts";
export { SliceWorker, type WorkerBudget } from "./slice-worker.ts";
