/** Every code a JournalError may carry. docs/errors.md explains each. */
export const journalCodes = [
  "journal/conflict",
  "journal/superseded",
  "journal/tail-lost",
  "journal/unavailable",
  "journal/corrupt",
  "journal/other-version",
] as const;

export type JournalCode = (typeof journalCodes)[number];

export class JournalError extends Error {
  override readonly name = "JournalError";
  readonly code: JournalCode;
  readonly hint: string;
  /** Whether the same call on the same journal may succeed a little later. */
  readonly retryable: boolean;

  constructor(code: JournalCode, message: string, options: { hint: string; retryable?: boolean; cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.retryable = options.retryable ?? false;
  }
}
