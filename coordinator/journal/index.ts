export {
  ATTEMPTS_PER_EPOCH,
  attemptBaseOf,
  type Epoch,
  EpochView,
  maybeHolder,
  noEpoch,
  stamped,
  takeOverEntry,
} from "./epoch.ts";
export { type EpochJournal, lookAt, takeOver } from "./epoch-journal.ts";
export { type JournalCode, JournalError } from "./errors.ts";
export { type FileJournal, openFileJournal } from "./file-journal.ts";
export { type Entry, type Journal, type JournalRecord, nothingYet, type Sequence } from "./journal.ts";
export { JournalTail } from "./journal-tail.ts";
export type { NatsJournal, NatsJournalOptions } from "./nats-journal.ts";
export { openNatsJournal } from "./open-nats-journal.ts";
export { peekFileJournal } from "./peek-file-journal.ts";
