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

export class NatsError extends Error {
  override readonly name = "NatsError";
  readonly code: NatsCode;
  readonly hint: string;
  /** Whether the same call may succeed a little later. */
  readonly retryable: boolean;

  constructor(code: NatsCode, message: string, options: { hint: string; cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.retryable = code === "nats/unreachable";
  }
}
