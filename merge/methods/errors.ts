import { CodedError } from "../../errors/index.ts";

/** Every code a MethodError may carry. docs/errors.md explains each. */
export const methodCodes = [
  "method/weights-sum-to-zero",
  "method/directions-cancel",
  "method/too-many-columns",
  "method/other-summary",
] as const;

export type MethodCode = (typeof methodCodes)[number];

/** Parameters or tensors that a method cannot merge with, found when planning; or an answer to a survey that is none. */
export class MethodError extends CodedError<MethodCode> {}
