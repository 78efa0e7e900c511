/** Every code a EngineError may carry. docs/errors.md explains each. */
export const engineCodes = ["engine/memory", "engine/unavailable"] as const;

export type EngineCode = (typeof engineCodes)[number];

/** The engine cannot go on. Not retryable with the same budget. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly retryable = false;
  readonly code: EngineCode;
  readonly hint: string;

  constructor(code: EngineCode, message: string, options: { hint: string; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}
