import { CodedError } from "../errors/index.ts";
import type { Failure } from "../merge/work/index.ts";

/** Several things are wrong at once, none of them in the recipe's text. */
export class InputsError extends CodedError {
  readonly failures: readonly Failure[];

  constructor(failures: readonly [Failure, ...Failure[]]) {
    super(failures[0].code, failures.map(({ message }) => message).join("\n"), { hint: failures[0].hint });
    this.failures = failures;
  }
}
