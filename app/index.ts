export {
  type CoordinatorPorts,
  type CoordinatorSettings,
  type RunningCoordinator,
  startCoordinator,
} from "./coordinator.ts";
export { openJobLog } from "./job-log.ts";
export { keepHeapSmall } from "./keep-heap-small.ts";
export { maybeNatsOptions, natsOptions } from "./open-nats.ts";
export { type Dialed, openDial } from "./open-peer.ts";
export { OwnThreads, type OwnThreadsOptions, workerThreads } from "./own-threads.ts";
export { repairSource } from "./repair-source.ts";
export {
  leastMemoryFor,
  type Resources,
  resourcesFor,
  SWEEP_MERGE_BYTES,
  sweepWidth,
  threadsDefault,
  workerResourcesFor,
} from "./resources.ts";
export type { EnrollingSettings, JoiningSettings, NatsSettings, TrustSettings } from "./settings.ts";
export { type RunningWorker, startWorker, type WorkerPorts, type WorkerSettings } from "./worker.ts";
