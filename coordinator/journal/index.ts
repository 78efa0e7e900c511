export { type JournalCode, JournalError, journalCodes } from "./errors.ts";
export { type FileJournal, openFileJournal } from "./file-journal.ts";
export { type Entry, type Journal, type JournalRecord, nothingYet, type Sequence } from "./journal.ts";
