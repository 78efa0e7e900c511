import { CodedError, type Explanations } from "../../errors/index.ts";

/** Every code a JournalError may carry. docs/errors.md is made of this. */
export const journalCodes = {
  "journal/superseded": {
    means: "Another coordinator took the job over.",
    advice: "Nothing: it goes on there, and what this one still wrote counts for nothing.",
  },
  "journal/tail-lost": {
    means:
      "NATS forgot entries that it had acknowledged: it was put back to an older state, or the power failed without `sync_interval: always`.",
    advice:
      "The job is taken over anew and computes again what was lost. Set `sync_interval: always`; run three servers.",
  },
  "journal/conflict": {
    means: "Another writer was first.",
    advice: "Two processes write to one output, which the lock should prevent; is it on a network drive?",
  },
  "journal/unavailable": {
    means: "Writing or reading the journal failed.",
    advice: "Its cause is in the message. Run the same command again: what was acknowledged is kept.",
  },
  "journal/corrupt": {
    means: "The file is no journal, or changed while it was open.",
    advice: "Check the disk. `--restart` begins anew without it.",
  },
  "journal/other-version": {
    means: "The journal was written by another version of deltaworks.",
    advice: "Finish with that version, or `--restart`.",
  },
} satisfies Explanations<"journal">;

export type JournalCode = keyof typeof journalCodes;

export class JournalError extends CodedError<JournalCode> {}
