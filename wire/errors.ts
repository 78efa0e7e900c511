import { CodedError } from "../errors/index.ts";

/** Every code of the room. docs/errors.md explains each. */
export const wireCodes = ["wire/malformed", "wire/other-version", "wire/disconnected", "wire/too-large"] as const;

export type WireCode = (typeof wireCodes)[number];

/** What one end of a connection made of what the other sent. */
export class WireError extends CodedError<WireCode> {}

/** A message that no end of ours sends. */
export function malformed(what: string): WireError {
  return new WireError("wire/malformed", `the other end sent ${what}`, {
    hint: "Use the same release of deltaworks on both ends; if it is the same, this is a defect: please report it.",
  });
}

/** A message that no other end takes, however often it is sent. */
export function tooLarge(what: string): WireError {
  return new WireError("wire/too-large", what, {
    hint: "This is a defect of deltaworks: please report it. Meanwhile, smaller slices (--slice-size) make smaller messages.",
  });
}
