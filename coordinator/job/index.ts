export type { LeaderName } from "./earlier-epochs.ts";
export { type JobCode, JobError } from "./errors.ts";
export { bytesToWrite, spaceWarning } from "./free-space.ts";
export type { JobControls } from "./job-controls.ts";
export { factIn, type JobFact } from "./job-facts.ts";
export { fileHome, type JobHome, lockedHome, type OpenJournal, sharedHome } from "./job-home.ts";
export {
  type JobObserver,
  type JobPorts,
  JobRunner,
  type JobRunnerOptions,
  type JobSeams,
  type Leadership,
  type Outcome,
  type Progress,
} from "./job-runner.ts";
export { dataOfJson, jsonOfData } from "./journal-data.ts";
export { type JobLimits, localLimits, type RemoteLimits, remoteLimits } from "./limits.ts";
export {
  type Begun,
  type MergeJobOptions,
  type RunningJob,
  runMergeJob,
} from "./merge-job.ts";
export { type OutputOwner, ownerIn, ownerOfMachine } from "./output-owner.ts";
export type { PublishedFile } from "./record-fields.ts";
export { type JobHistory, JobRecords, readHistory } from "./records.ts";
export type { SealedShards } from "./seal-pass.ts";
export { type SurveyRange, TensorRounds } from "./surveys.ts";
