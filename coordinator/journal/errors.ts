import { CodedError } from "../../errors/index.ts";

/** Every code a JournalError may carry. docs/errors.md explains each. */
export const journalCodes = [
  "journal/conflict",
  "journal/superseded",
  "journal/tail-lost",
  "journal/unavailable",
  "journal/corrupt",
  "journal/other-version",
] as const;

export type JournalCode = (typeof journalCodes)[number];

export class JournalError extends CodedError<JournalCode> {}
