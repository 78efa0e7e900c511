import { CodedError, type Explanations } from "../errors/index.ts";

/** Every code of the room. docs/errors.md is made of this. */
export const wireCodes = {
  "wire/malformed": {
    means: "A message that no end of ours sends.",
    advice: "Use the same release on both ends; if they are the same, report it.",
  },
  "wire/too-large": {
    means: "A message is larger than one of the two ends takes; the sizes are in it. It is not sent again.",
    advice: "A defect: please report it. Smaller slices (`--slice-size`) make smaller messages.",
  },
  "wire/other-version": {
    means: "The two ends speak versions of the contract that do not fit.",
    advice: "The message says which side to upgrade.",
  },
  "wire/disconnected": {
    means: "A stream ended before everything was sent.",
    advice: "Nothing, it is taken up again by itself. If not, look at the log of the other end.",
  },
} satisfies Explanations<"wire">;

export type WireCode = keyof typeof wireCodes;

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
