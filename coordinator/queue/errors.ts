/** Every code a QueueError may carry. docs/errors.md explains each. */
export const queueCodes = [
  "queue/invalid",
  "queue/name-taken",
  "queue/output-taken",
  "queue/unknown-job",
  "queue/claim-lost",
  "queue/unavailable",
  "queue/corrupt",
] as const;

export type QueueCode = (typeof queueCodes)[number];

export class QueueError extends Error {
  override readonly name = "QueueError";
  readonly code: QueueCode;
  readonly hint: string;
  /** Whether the same call may succeed a little later. */
  readonly retryable: boolean;

  constructor(code: QueueCode, message: string, options: { hint: string; retryable?: boolean; cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.retryable = options.retryable ?? false;
  }
}
