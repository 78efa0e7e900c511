export { mayBeginWrite } from "./attempts.ts";
export { keyOfRun, type Stretch, type WorkerRun, type WriterRun } from "./earlier.ts";
export type {
  AttachedWorker,
  CoreEvent,
  Counter,
  DurablePhase,
  Effect,
  EventOf,
  EventType,
  HeldBy,
  Vote,
} from "./events.ts";
export { isRefused } from "./failures.ts";
export { brokenInvariants } from "./invariants.ts";
export { hasSaid } from "./opinions.ts";
export { type PoolJob, type PoolWorker, type Shares, type SlotChange, shareSlots, slotChanges } from "./pool.ts";
export { reduce } from "./reduce.ts";
export { stalled } from "./stalled.ts";
export {
  type Attempt,
  initialState,
  type JobSpecification,
  type JobState,
  type Limits,
  type Phase,
  type SliceSpecification,
  type Unit,
  type UnitKind,
  type UnitStatus,
} from "./state.ts";
export { workersWanted } from "./wanted.ts";
