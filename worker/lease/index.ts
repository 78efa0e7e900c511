export type { LeaseEffect, LeaseEvent, LeaseEventOf, LeaseEventType } from "./events.ts";
export { reduceLeases } from "./reduce.ts";
export {
  heldKeys,
  initialLeases,
  type Lease,
  type LeaseRules,
  type LeaseState,
  mayBeginIo,
  writingKeys,
} from "./state.ts";
