import { CodedError, type Explanations } from "../errors/index.ts";

/** Every code a PlanError may carry. docs/errors.md is made of this. */
export const planCodes = {
  "plan/option": {
    means: "A size that makes no sense.",
    advice: "Leave the option out for its default.",
  },
} satisfies Explanations<"plan">;

export type PlanCode = keyof typeof planCodes;

/** A plan that cannot be made. */
export class PlanError extends CodedError<PlanCode> {}
