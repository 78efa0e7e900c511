/** Every code of the room. docs/errors.md explains each. */
export const linkCodes = [
  "link/not-attached",
  "link/name-taken",
  "link/unknown-job",
  "link/not-granted",
  "link/offset",
  "link/result-differs",
  "link/silent",
  "link/unreachable",
  "link/stopping",
] as const;

export type LinkCode = (typeof linkCodes)[number];

/** What the coordinator has against a call of a worker. */
export class LinkError extends Error {
  override readonly name = "LinkError";
  readonly code: LinkCode;
  readonly hint: string;
  readonly retryable: boolean;

  constructor(code: LinkCode, message: string, options: { hint: string; retryable?: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.retryable = options.retryable ?? false;
  }
}
