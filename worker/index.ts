export { endThread } from "./end-thread.ts";
export { type WorkerCode, WorkerError, workerCodes } from "./errors.ts";
export { inputPath, isInputPath, placeOfInput } from "./input-path.ts";
export type {
  Computed,
  ConnectionOptions,
  EngineChoice,
  FromWorker,
  HeldUnit,
  JobId,
  JobToBegin,
  OutputMode,
  RemoteInputs,
  ToWorker,
} from "./messages.ts";
export { type SessionPorts, type SessionStore, WorkerSession } from "./session.ts";
export { SignsOfLife } from "./signs-of-life.ts";
export { SliceWorker, type WorkerBudget } from "./slice-worker.ts";
