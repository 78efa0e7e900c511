import { CodedError } from "../errors/index.ts";

/** Every code of a worker's rooms. docs/errors.md explains each. */
export const workerCodes = [
  "worker/unreachable",
  "worker/refused",
  "worker/root",
  "worker/input-differs",
  "worker/option",
  "worker/damaged-transfer",
  "worker/hung",
  "worker/lease-outlived",
] as const;

export type WorkerCode = (typeof workerCodes)[number];

/** What goes wrong at a worker that is no fault of data, storage or arithmetic. Retryable: here or on another worker. */
export class WorkerError extends CodedError<WorkerCode> {}
