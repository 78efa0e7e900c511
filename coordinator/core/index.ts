export type { Effect, EventOf, EventType, JobEvent } from "./events.ts";
export { reduce } from "./reduce.ts";
export {
  initialState,
  type JobSpecification,
  type JobState,
  type Limits,
  type Phase,
  type SliceSpecification,
  type UnitKind,
  type UnitStatus,
} from "./state.ts";
