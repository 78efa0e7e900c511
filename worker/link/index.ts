export {
  checkMountedRoots,
  checkPlaces,
  type MountedRoot,
  MountedRoots,
  parseMountedPlace,
  parseMountedRoot,
} from "./mounted-roots.ts";
export { RemoteWorker, type RemoteWorkerOptions, type WorkerPool, type WorkerSeams } from "./remote-worker.ts";
export type { WorkerLog } from "./worker-log.ts";
