import { CodedError } from "../errors/index.ts";

/** Every code a PlanError may carry. docs/errors.md explains each. */
export const planCodes = ["plan/option"] as const;

export type PlanCode = (typeof planCodes)[number];

/** A plan that cannot be made. */
export class PlanError extends CodedError<PlanCode> {}
