/** Every code of a worker's rooms. docs/errors.md explains each. */
export const workerCodes = [
  "worker/unreachable",
  "worker/refused",
  "worker/root",
  "worker/input-differs",
  "worker/option",
  "worker/damaged-transfer",
  "worker/hung",
  "worker/lease-outlived",
] as const;

export type WorkerCode = (typeof workerCodes)[number];

/** What goes wrong at a worker that is no fault of data, storage or arithmetic. */
export class WorkerError extends Error {
  override readonly name = "WorkerError";
  readonly code: WorkerCode;
  readonly hint: string;
  /** Whether trying again, here or on another worker, can help. */
  readonly retryable: boolean;

  constructor(code: WorkerCode, message: string, options: { hint: string; retryable?: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.retryable = options.retryable ?? false;
  }
}
