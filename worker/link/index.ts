export { RemoteWorker, type RemoteWorkerOptions, type WorkerPool, type WorkerSeams } from "./remote-worker.ts";
export { checkRoots, parseRoot, type Root, Roots } from "./roots.ts";
export { sha256Of } from "./sha256-of.ts";
export type { WorkerLog } from "./worker-log.ts";
