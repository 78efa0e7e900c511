import type { Failure } from "../merge/work/index.ts";

/** Several things are wrong at once, none of them in the recipe's text. */
export class InputsError extends Error {
  override readonly name = "InputsError";
  readonly code: string;
  readonly hint: string;
  readonly retryable = false;
  readonly failures: readonly Failure[];

  constructor(failures: readonly [Failure, ...Failure[]]) {
    super(failures.map(({ message }) => message).join("\n"));
    this.code = failures[0].code;
    this.hint = failures[0].hint;
    this.failures = failures;
  }
}
