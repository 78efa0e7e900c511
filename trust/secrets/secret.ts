import { inspect } from "node:util";

/** What is printed in place of a secret. */
const SHOWN = "[secret]";

/**
 * A text that must not be shown: a token, a password, a private key. However it comes into a message, a log or JSON, it
 * prints as "[secret]"; `reveal` gives the text to the one call that needs it.
 */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  [inspect.custom](): string {
    return SHOWN;
  }
}

/** Names under which a secret may stand in an object that is logged. */
const secretKeys = [
  "key",
  "privateKey",
  "token",
  "password",
  "pass",
  "creds",
  "credentials",
  "seed",
  "jwt",
  "authorization",
];

/**
 * For pino's `redact`: the names above, at the top of a logged object and up to two levels below. The seed of a merge
 * is logged as `randomSeed`; what is called `seed` alone is an nkey's.
 */
export const redact: { readonly paths: string[]; readonly censor: string } = {
  paths: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
  censor: SHOWN,
};
