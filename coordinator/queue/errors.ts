import { CodedError } from "../../errors/index.ts";

/** Every code a QueueError may carry. docs/errors.md explains each. */
export const queueCodes = [
  "queue/invalid",
  "queue/name-taken",
  "queue/output-taken",
  "queue/unknown-job",
  "queue/claim-lost",
  "queue/unavailable",
  "queue/corrupt",
] as const;

export type QueueCode = (typeof queueCodes)[number];

export class QueueError extends CodedError<QueueCode> {}
