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
export class JobError extends Error {
  override readonly name = "JobError";
  readonly retryable = false;
  readonly code: JobCode;
  readonly hint: string;

  constructor(code: JobCode, message: string, options: { hint: string; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}
