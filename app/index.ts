export { openJobLog } from "./job-log.ts";
export { keepHeapSmall } from "./keep-heap-small.ts";
export { workerThreads } from "./local.ts";
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
export { SweepPool } from "./sweep-pool.ts";
