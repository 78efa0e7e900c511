import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { type Failure, FailuresError, failureFrom } from "../merge/work/index.ts";
import { Failures } from "../proto/index.ts";
import { tooLarge, WireError } from "./errors.ts";
import { failureOf, messageOfFailure } from "./failure.ts";

/** Metadata of every call of a worker: its name. */
export const WORKER_KEY = "deltaworks-worker";
/** Metadata of a status: Failures. */
export const FAILURES_KEY = "deltaworks-failures-bin";

/** HTTP/2 headers of a status; what is longer does not arrive at all. */
const DETAILS_LENGTH_MAX = 2048;
const FAILURES_BYTES_MAX = 4096;

export type StatusCode = (typeof status)[keyof typeof status];

/** How a call ends that cannot be answered. */
export interface CallStatus {
  readonly code: StatusCode;
  readonly details: string;
  readonly metadata: Metadata;
}

/** A status that says what went wrong in the words of the errors of all rooms; several failures as far as they fit. */
export function statusOf(error: unknown, code: StatusCode = codeFor(error)): CallStatus {
  const failures = failuresIn(error);
  const text = failures.map(({ message }) => message).join("\n");
  const metadata = new Metadata();
  for (let count = failures.length; count > 0; count--) {
    const bytes = Failures.encode({ failures: failures.slice(0, count).map(shortened) }).finish();
    if (bytes.length > FAILURES_BYTES_MAX) continue;
    metadata.set(FAILURES_KEY, Buffer.from(bytes));
    break;
  }
  return { code, details: text.slice(0, DETAILS_LENGTH_MAX), metadata };
}

/** Several at once, where an error has them. */
function failuresIn(error: unknown): readonly Failure[] {
  return error instanceof FailuresError ? error.failures : [failureFrom(error)];
}

function shortened({ code, message, hint, retryable }: Failure) {
  return messageOfFailure({ code, message: message.slice(0, DETAILS_LENGTH_MAX), hint: hint.slice(0, 512), retryable });
}

function codeFor(error: unknown): StatusCode {
  if (error instanceof WireError) {
    if (error.code === "wire/malformed") return status.INVALID_ARGUMENT;
    return error.code === "wire/other-version" ? status.FAILED_PRECONDITION : status.UNAVAILABLE;
  }
  const { code, retryable } = failureFrom(error);
  if (code === "merge/internal") return status.INTERNAL;
  if (code === "trust/role") return status.PERMISSION_DENIED;
  if (code.startsWith("trust/")) return status.UNAUTHENTICATED;
  return retryable ? status.UNAVAILABLE : status.FAILED_PRECONDITION;
}

/** Statuses after which the same call may succeed a little later. */
const passing: readonly StatusCode[] = [
  status.UNAVAILABLE,
  status.RESOURCE_EXHAUSTED,
  status.ABORTED,
  status.DEADLINE_EXCEEDED,
];

/**
 * Whether the call's message is larger than one of the two ends takes, as grpc-js found by itself: it always will be. (A proxy may say
 * RESOURCE_EXHAUSTED of its load, which passes.)
 */
export function isTooLarge({ code, details }: Pick<ServiceError, "code" | "details">): boolean {
  return code === status.RESOURCE_EXHAUSTED && /^(Attempted to send|Sent|Received) message .*larger than/.test(details);
}

/** What went wrong with a call, as the other end put it; where it did not (nobody there, a proxy), as gRPC does. `peer`: for messages. */
export function failuresOfCall(error: ServiceError, peer: string): readonly [Failure, ...Failure[]] {
  const [bytes] = error.metadata?.get(FAILURES_KEY) ?? [];
  if (bytes instanceof Buffer) {
    const [first, ...others] = Failures.decode(bytes).failures.map(failureOf);
    if (first !== undefined) return [first, ...others];
  }
  if (isTooLarge(error)) return [failureFrom(tooLarge(`${peer}: ${error.details}`))];
  const retryable = passing.some((code) => code === error.code);
  const hint =
    error.code === status.UNAVAILABLE
      ? "Is the coordinator running there, and does it speak TLS as you do?"
      : "The log of the other end may say more.";
  return [{ code: "wire/disconnected", message: `${peer}: ${error.details || error.message}`, hint, retryable }];
}
