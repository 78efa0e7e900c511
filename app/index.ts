export type { Cleaned, CleanSettings } from "./clean.ts";
export type { CoordinatorPorts, RunningCoordinator } from "./coordinator.ts";
export { collectInOneGo, keepHeapSmall } from "./garbage.ts";
export { hubMergeFolder } from "./hub-merge-folder.ts";
export type { MergeEnd, MergePorts, MergeSettings } from "./merge.ts";
export {
  loadTransferOf,
  natsOptions,
  openDial,
  repairSource,
  runClean,
  runMerge,
  runPublish,
  runSweep,
  startCoordinator,
  startWorker,
} from "./on-demand.ts";
export type { Dialed } from "./open-peer.ts";
export { outPlaceOf } from "./out-place.ts";
export type { PlannedMerge, SweepSettings } from "./plan-sweep.ts";
export { prepareHere } from "./prepare-here.ts";
export type { PublishEnd, Published, PublishPorts, PublishSettings } from "./publish.ts";
export { resourcesFor } from "./resources.ts";
export type {
  CoordinatorSettings,
  EnrollingSettings,
  JoiningSettings,
  NatsSettings,
  TrustSettings,
  WorkerSettings,
} from "./settings.ts";
export type { SweepEnd, SweepPorts, SweptMerge } from "./sweep.ts";
export type { Transfer } from "./transfer.ts";
export type { RunningWorker, WorkerPorts } from "./worker.ts";
