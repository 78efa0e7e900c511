export { endThread } from "./end-thread.ts";
export { WorkerError } from "./errors.ts";
export { inputPath, isInputPath, placeOfInput } from "./input-path.ts";
export type {
  ConnectionOptions,
  EngineChoice,
  FromWorker,
  JobToBegin,
  RemoteInputs,
  SignedReads,
  ToWorker,
} from "./messages.ts";
export { type SessionStore, type ThreadMeans, WorkerSession } from "./session.ts";
export { SignsOfLife } from "./signs-of-life.ts";
