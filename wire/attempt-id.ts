import type { AttemptKey, UnitId } from "../merge/work/index.ts";
import type { AttemptId } from "../proto/index.ts";
import { malformed } from "./errors.ts";
import { numberOf } from "./numbers.ts";

export function messageOfAttempt({ job, unit, attempt }: AttemptKey): AttemptId {
  return { jobId: job, unitId: unit, attempt: BigInt(attempt) };
}

/** @throws WireError `wire/malformed` */
export function attemptOf(message: AttemptId | undefined): AttemptKey {
  if (message === undefined || message.jobId === "" || message.unitId === "")
    throw malformed("an attempt without a name");
  return { job: message.jobId, unit: message.unitId as UnitId, attempt: numberOf(message.attempt, "attempt") };
}
