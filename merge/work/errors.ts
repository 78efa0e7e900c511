import { CodedError, type Explanations } from "../../errors/index.ts";
import type { Failure } from "./assignment.ts";

/** Every code a MergeError may carry; the last is that of a broken invariant. docs/errors.md is made of this. */
export const mergeCodes = {
  "merge/nonfinite": {
    means:
      "An input holds NaN or infinity, or finite inputs become so when they are rounded to the output's dtype; model or output, tensor and element are named.",
    advice:
      "Check that model, use a dtype of larger range (`out_dtype: bfloat16`), or `--allow-nonfinite`. Finished slices are kept.",
  },
  "merge/input-changed": {
    means:
      "An input file, or a config, tokenizer or other file beside it that the plan was made with or that is copied, is not what it was when the merge began.",
    advice: "Put the old file back and run again, or `--restart`.",
  },
  "merge/internal": {
    means: "An invariant of deltaworks is broken.",
    advice: "A defect: please report it with the text. Run the same command again; nothing finished is lost.",
  },
} satisfies Explanations<"merge">;

export type MergeCode = keyof typeof mergeCodes;

/** What can go wrong with the data of a merge, on any machine that computes it. */
export class MergeError extends CodedError<MergeCode> {}

/** Several things that are wrong at once, of whatever rooms; code and hint are those of the first. */
export class FailuresError extends CodedError {
  readonly failures: readonly [Failure, ...Failure[]];

  constructor(failures: readonly [Failure, ...Failure[]], cause?: unknown) {
    const [{ code, hint }] = failures;
    const retryable = failures.every((failure) => failure.retryable);
    super(code, failures.map(({ message }) => message).join("\n"), { hint, retryable, cause });
    this.failures = failures;
  }
}

/** An error of any room as plain data; what is no error of ours is a broken invariant. */
export function failureFrom(error: unknown): Failure {
  if (error instanceof CodedError) {
    const { code, message, hint, retryable } = error;
    return { code, message, hint, retryable };
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return {
    code: "merge/internal",
    message,
    hint: "This is a defect of deltaworks: please report it with this text.",
    retryable: false,
  };
}
