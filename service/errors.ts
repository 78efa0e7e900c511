/** Every code of the room. docs/errors.md explains each. */
export const serviceCodes = [
  "service/root",
  "service/outside-roots",
  "service/unknown-job",
  "service/output-taken",
  "service/option",
  "service/paused",
] as const;

export type ServiceCode = (typeof serviceCodes)[number];

/** What the long-lived coordinator refuses. */
export class ServiceError extends Error {
  override readonly name = "ServiceError";
  readonly code: ServiceCode;
  readonly hint: string;
  readonly retryable = false;

  constructor(code: ServiceCode, message: string, options: { hint: string; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}
