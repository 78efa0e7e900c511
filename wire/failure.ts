import type { Failure, WorkCounts } from "../merge/work/index.ts";
import type { Failure as FailureMessage, WorkCounts as WorkCountsMessage } from "../proto/index.ts";
import { malformed } from "./errors.ts";
import { numberOf } from "./numbers.ts";

export function messageOfFailure({ code, message, hint, retryable }: Failure): FailureMessage {
  return { code, message, hint, retryable };
}

/** @throws WireError `wire/malformed` */
export function failureOf(message: FailureMessage | undefined): Failure {
  if (message === undefined || message.code === "") throw malformed("a failure without a code");
  return { code: message.code, message: message.message, hint: message.hint, retryable: message.retryable };
}

export function messageOfCounts({ bytesRead, bytesWritten, tensorsCut }: WorkCounts): WorkCountsMessage {
  return { bytesRead: BigInt(bytesRead), bytesWritten: BigInt(bytesWritten), tensorsCut };
}

/** @throws WireError `wire/malformed` */
export function countsOf(message: WorkCountsMessage | undefined): WorkCounts {
  return {
    bytesRead: numberOf(message?.bytesRead ?? 0n, "a count of bytes"),
    bytesWritten: numberOf(message?.bytesWritten ?? 0n, "a count of bytes"),
    tensorsCut: message?.tensorsCut ?? 0,
  };
}
