import { CodedError } from "../../errors/index.ts";

/** Every code a NatsError may carry. docs/errors.md explains each. */
export const natsCodes = [
  "nats/option",
  "nats/unreachable",
  "nats/denied",
  "nats/too-old",
  "nats/no-jetstream",
  "nats/missing",
  "nats/configured-otherwise",
] as const;

export type NatsCode = (typeof natsCodes)[number];

export class NatsError extends CodedError<NatsCode> {
  constructor(code: NatsCode, message: string, options: { hint: string; cause?: unknown }) {
    super(code, message, { ...options, retryable: code === "nats/unreachable" });
  }
}
