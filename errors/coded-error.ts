/** An error that a room declares: what happened, with numbers and place, under a code that docs/errors.md explains. */
export class CodedError<Code extends string = string> extends Error {
  readonly code: Code;
  /** What to do about it. */
  readonly hint: string;
  /** Whether the same call, made again a little later, may succeed with nobody doing anything. */
  readonly retryable: boolean;

  constructor(
    code: Code,
    message: string,
    { hint, retryable = false, cause }: { hint: string; retryable?: boolean; cause?: unknown },
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.hint = hint;
    this.retryable = retryable;
  }
}
