export { type JobCode, JobError, jobCodes } from "./errors.ts";
export type { JobControls } from "./job-controls.ts";
export {
  type JobObserver,
  type JobOptions,
  type JobPorts,
  JobRunner,
  type Outcome,
  type Progress,
  type SealedShards,
} from "./job-runner.ts";
export { type Begun, JOURNAL_NAME, type MergeJobOptions, runMergeJob } from "./merge-job.ts";
export { type JobHistory, JobRecords, type PublishedFile, readHistory } from "./records.ts";
export { TensorRounds } from "./surveys.ts";
