export type { LeaseEffect, LeaseEvent, LeaseEventOf, LeaseEventType } from "./events.ts";
export { reduceLeases } from "./reduce.ts";
export {
  type AttemptKey,
  heldKeys,
  initialLeases,
  type Lease,
  type LeaseRules,
  type LeaseState,
  mayBeginIo,
  type Stage,
  textOf,
  writingKeys,
} from "./state.ts";
