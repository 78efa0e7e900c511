import type { Explanations } from "../errors/index.ts";

/** What the command line itself refuses, without a class of its own. docs/errors.md is made of this. */
export const cliCodes = {
  "cli/unknown-method": {
    means: "`deltaworks methods NAME` with a name that is none.",
    advice: "Take the suggestion.",
  },
} satisfies Explanations<"cli">;
