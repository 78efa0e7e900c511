import { CodedError, type Explanations } from "../../errors/index.ts";

/** Every code a NatsError may carry. docs/errors.md is made of this. */
export const natsCodes = {
  "nats/option": {
    means: "An address, a prefix or a credentials file that makes no sense.",
    advice: "The message says which.",
  },
  "nats/unreachable": {
    means: "No server answers at the addresses.",
    advice: "Check the addresses, that nats-server runs, and TLS.",
  },
  "nats/denied": {
    means: "The server does not let this user in, or not do what is needed.",
    advice: "Check the credentials file; `deltaworks nats check` tells which permission is missing.",
  },
  "nats/too-old": {
    means: "The server is older than 2.9.10.",
    advice: "Upgrade it; 2.12.7 or later is advised.",
  },
  "nats/no-jetstream": {
    means: "The server, or the account, has no JetStream.",
    advice: "Switch it on.",
  },
  "nats/missing": {
    means: "A stream or consumer is not there.",
    advice: "`deltaworks nats init`, once, with an administrator's credentials.",
  },
  "nats/configured-otherwise": {
    means: "A stream is not configured as deltaworks counts on.",
    advice: "The message names the settings.",
  },
} satisfies Explanations<"nats">;

export type NatsCode = keyof typeof natsCodes;

export class NatsError extends CodedError<NatsCode> {
  constructor(code: NatsCode, message: string, options: { hint: string; cause?: unknown }) {
    super(code, message, { ...options, retryable: code === "nats/unreachable" });
  }
}
