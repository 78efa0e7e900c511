import type { ServiceError } from "@grpc/grpc-js";
import { failuresOfCall } from "../wire/index.ts";

/** What the other end answered, in its own code and words; or that nobody did (`wire/disconnected`). */
export class CallError extends Error {
  override readonly name = "CallError";
  readonly code: string;
  readonly hint: string;
  readonly retryable: boolean;

  constructor(error: ServiceError, peer: string) {
    const [{ code, message, hint, retryable }] = failuresOfCall(error, peer);
    super(message, { cause: error });
    this.code = code;
    this.hint = hint;
    this.retryable = retryable;
  }
}
