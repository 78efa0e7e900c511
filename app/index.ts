export {
  type CoordinatorPorts,
  type RunningCoordinator,
  startCoordinator,
} from "./coordinator.ts";
export { hubMergeFolder } from "./hub-merge-folder.ts";
export { keepHeapSmall } from "./keep-heap-small.ts";
export { type MergeEnd, type MergePorts, type MergeSettings, runMerge } from "./merge.ts";
export { natsOptions } from "./open-nats.ts";
export { type Dialed, openDial } from "./open-peer.ts";
export type { PlannedMerge, SweepSettings } from "./plan-sweep.ts";
export { prepareHere } from "./prepare-here.ts";
export { type PublishEnd, type PublishPorts, type PublishSettings, runPublish } from "./publish.ts";
export { repairSource } from "./repair-source.ts";
export { resourcesFor } from "./resources.ts";
export type {
  CoordinatorSettings,
  EnrollingSettings,
  JoiningSettings,
  NatsSettings,
  TrustSettings,
  WorkerSettings,
} from "./settings.ts";
export { runSweep, type SweepEnd, type SweepPorts, type SweptMerge } from "./sweep.ts";
export { type RunningWorker, startWorker, type WorkerPorts } from "./worker.ts";
