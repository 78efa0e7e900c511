import { CodedError } from "../../errors/index.ts";

/** Every code a EngineError may carry. docs/errors.md explains each. */
export const engineCodes = ["engine/memory", "engine/unavailable"] as const;

export type EngineCode = (typeof engineCodes)[number];

/** The engine cannot go on. Not retryable with the same budget. */
export class EngineError extends CodedError<EngineCode> {}
