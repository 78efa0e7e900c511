export { buildPlan, type PlanSources, planDigest } from "./build-plan.ts";
export { type PlanCode, PlanError } from "./errors.ts";
export {
  type Estimate,
  estimateOf,
  largestTensorBytes,
  readsOfTasks,
  SURVEY_ELEMENTS,
  type TaskReads,
} from "./estimate.ts";
export { layOutShards, layOutSlices, sizeBytesOf, tensorBytes, writtenAs } from "./layout.ts";
export { layOutParts, partBytesOf } from "./part-layout.ts";
