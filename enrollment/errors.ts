import type { ServiceError } from "@grpc/grpc-js";
import { CodedError } from "../errors/index.ts";
import { failuresOfCall } from "../wire/index.ts";

/** What the other end answered, in its own code and words; or that nobody did (`wire/disconnected`). */
export class CallError extends CodedError {
  constructor(error: ServiceError, peer: string) {
    const [{ code, message, hint, retryable }] = failuresOfCall(error, peer);
    super(code, message, { hint, retryable, cause: error });
  }
}
