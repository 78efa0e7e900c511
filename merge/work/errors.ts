import { CodedError } from "../../errors/index.ts";
import type { Failure } from "./assignment.ts";

/** Every code a MergeError may carry; the last is that of a broken invariant. docs/errors.md explains each. */
export const mergeCodes = ["merge/nonfinite", "merge/input-changed", "merge/internal"] as const;

export type MergeCode = (typeof mergeCodes)[number];

/** What can go wrong with the data of a merge, on any machine that computes it. */
export class MergeError extends CodedError<MergeCode> {}

/** An error of any room as plain data; what is no error of ours is a broken invariant. */
export function failureFrom(error: unknown): Failure {
  if (
    error instanceof Error &&
    "code" in error &&
    "hint" in error &&
    typeof error.code === "string" &&
    typeof error.hint === "string"
  ) {
    const retryable = "retryable" in error && error.retryable === true;
    return { code: error.code, message: error.message, hint: error.hint, retryable };
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return {
    code: "merge/internal",
    message,
    hint: "This is a defect of deltaworks: please report it with this text.",
    retryable: false,
  };
}
