/** Every code a PlanError may carry. docs/errors.md explains each. */
export const planCodes = ["plan/option"] as const;

export type PlanCode = (typeof planCodes)[number];

/** A plan that cannot be made. */
export class PlanError extends Error {
  override readonly name = "PlanError";
  readonly retryable = false;
  readonly code: PlanCode;
  readonly hint: string;

  constructor(code: PlanCode, message: string, options: { hint: string; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}
