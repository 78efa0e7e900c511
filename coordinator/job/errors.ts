import { CodedError } from "../../errors/index.ts";

/** Every code of the room; the last five travel as failures of the core. */
export const jobCodes = [
  "coordinator/other-job",
  "coordinator/incomplete",
  "coordinator/no-space",
  "coordinator/bad-record",
  "coordinator/nondeterministic",
  "coordinator/storage-damages",
  "coordinator/workers-vanish",
  "coordinator/stalled",
  "coordinator/not-as-granted",
  "coordinator/other-than-lent",
] as const;

export type JobCode = (typeof jobCodes)[number];

/** A job that cannot be begun or resumed as asked. */
export class JobError extends CodedError<JobCode> {}
