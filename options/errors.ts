import { CodedError, type Explanations } from "../errors/index.ts";

/** Every code an OptionError may carry. docs/errors.md is made of this. */
export const optionCodes = {
  "options/value": {
    means: "An option has a value that it cannot have, on the command line or in a job that was submitted.",
    advice: "The message names the option, the hint what it takes.",
  },
} satisfies Explanations<"options">;

export type OptionCode = keyof typeof optionCodes;

/** What somebody asked for cannot be meant. */
export class OptionError extends CodedError<OptionCode> {}
