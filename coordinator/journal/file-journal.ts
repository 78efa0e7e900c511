import assert from "node:assert/strict";
import { type Files, type Place, parentOf, StorageError, type StoredFile } from "../../storage/index.ts";
import { JournalError } from "./errors.ts";
import { type Entry, type Journal, type JournalRecord, nothingYet, type Sequence } from "./journal.ts";
import { linesOf } from "./lines.ts";
import { entryTextOf, headerLine, MAX_LINE_BYTES, maybeRecord, recordLine } from "./record.ts";
import { type Recovered, recover } from "./recover.ts";

export interface FileJournal extends Journal {
  /** Bytes of unfinished or damaged records that opening cut off; a crash leaves some now and then. */
  readonly tornBytes: number;
  /** More than 0: the disk lost at least so many acknowledged records. They are worth a warning; their work is redone. */
  readonly lostRecords: number;
}

/**
 * A journal in one file (format: record.ts), made if it is not there, in a directory that is. Writers exclude each
 * other by a lock of the job's; the journal takes none. Opening reads the file through: see recover.ts.
 * @throws JournalError `journal/corrupt`, `journal/other-version`; StorageError
 */
export async function openFileJournal(store: Files, path: Place): Promise<FileJournal> {
  const file = await store.openForWriting(path);
  try {
    const recovered = await recover(file, path);
    await store.syncDirectory(parentOf(path));
    return new OpenFileJournal(file, path, recovered);
  } catch (error) {
    await file.close().catch(() => undefined); // the first error tells more
    throw error;
  }
}

/** An append that is not durable yet. */
interface Waiting {
  readonly sequence: number;
  readonly entryText: string;
  readonly resolve: (sequence: Sequence) => void;
  readonly reject: (error: JournalError) => void;
}

/** A group ends when its text is this long: enough to make the sync's price small, and no string grows too long. */
const GROUP_TEXT_LENGTH = 4 * 2 ** 20;
/** More than what a record's line holds besides the entry: checksum, two numbers and their keys. */
const LINE_FRAME_BYTES = 128;

/** Keeps a number per subject, and bodies only until they are durable. */
class OpenFileJournal implements FileJournal {
  readonly tornBytes: number;
  readonly lostRecords: number;
  readonly #file: StoredFile;
  readonly #path: string;
  /** Last sequence given out, per subject. What waits counts: the next append to the subject must know it. */
  readonly #subjects: Map<string, number>;
  #lastSequence: number;
  /** Last sequence that is durable, and where its line ends. */
  #durableSequence: number;
  #durableBytes: number;
  #waiting: Waiting[] = [];
  #committing = false;
  /** The append given out last: once it is durable, all before it are. */
  #newest: Promise<unknown> = Promise.resolve();
  #failure: unknown;
  #closed = false;

  constructor(file: StoredFile, path: string, recovered: Recovered) {
    this.#file = file;
    this.#path = path;
    this.#subjects = recovered.subjects;
    this.#lastSequence = recovered.lastSequence;
    this.#durableSequence = recovered.lastSequence;
    this.#durableBytes = recovered.sizeBytes;
    this.tornBytes = recovered.tornBytes;
    this.lostRecords = recovered.lostRecords;
  }

  async append(entry: Entry, after: Sequence): Promise<Sequence> {
    this.#checkUsable();
    const entryText = entryTextOf(entry);
    assert(
      Buffer.byteLength(entryText) <= MAX_LINE_BYTES - LINE_FRAME_BYTES,
      `an entry of ${entry.subject} is too long`,
    );
    const last = this.#subjects.get(entry.subject) ?? 0;
    if (BigInt(last) !== after) {
      await this.#newest; // what was first must be durable before anybody builds on it
      throw conflict(this.#path, entry.subject, after, last);
    }
    const sequence = ++this.#lastSequence;
    this.#subjects.set(entry.subject, sequence);
    const durable = new Promise<Sequence>((resolve, reject) => {
      this.#waiting.push({ sequence, entryText, resolve, reject });
    });
    this.#newest = durable;
    if (!this.#committing) {
      this.#committing = true;
      // Deferred until the caller has made all the appends it has at hand: they become one group.
      queueMicrotask(() => this.#commit());
    }
    return durable;
  }

  async last(subject: string): Promise<Sequence> {
    this.#checkUsable();
    const last = this.#subjects.get(subject) ?? 0;
    if (last > this.#durableSequence) await this.#newest;
    return BigInt(last) as Sequence;
  }

  async *read(after: Sequence = nothingYet): AsyncGenerator<JournalRecord> {
    this.#checkUsable();
    await this.#newest;
    for await (const line of linesOf(this.#file, headerLine.length, this.#durableBytes)) {
      const record = maybeRecord(line.bytes);
      if (record === undefined) {
        throw new JournalError("journal/corrupt", `${this.#path}: the record at byte ${line.offsetBytes} is damaged`, {
          hint: "It was good when the journal was opened: check the disk, and that nothing else writes to this file.",
        });
      }
      const sequence = BigInt(record.sequence) as Sequence;
      if (sequence > after) yield { entry: record.entry, sequence };
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#newest.catch(() => undefined); // whoever appended has been told
    await this.#file.close();
  }

  /** Writes and syncs what waits, group by group, until nothing does. What arrives during a sync is the next group. */
  #commit(): void {
    const group = this.#waiting.splice(0, groupLength(this.#waiting));
    this.#committing = group.length > 0;
    if (group.length === 0) return;
    this.#write(group).then(
      () => this.#commit(),
      (cause: unknown) => {
        // Never again on this handle: after a failed sync the system may take lost pages for written ones.
        this.#failure = cause;
        for (const append of [...group, ...this.#waiting.splice(0)]) append.reject(unavailable(this.#path, cause));
        this.#committing = false;
      },
    );
  }

  async #write(group: readonly Waiting[]): Promise<void> {
    const durable = this.#durableSequence;
    const lines = Buffer.from(
      group.map(({ sequence, entryText }) => recordLine(sequence, durable, entryText)).join(""),
    );
    await this.#file.write(this.#durableBytes, lines);
    await this.#file.sync();
    this.#durableBytes += lines.length;
    this.#durableSequence += group.length;
    for (const append of group) append.resolve(BigInt(append.sequence) as Sequence);
  }

  #checkUsable(): void {
    if (this.#failure !== undefined) throw unavailable(this.#path, this.#failure);
    if (this.#closed) throw unavailable(this.#path, new Error("it was closed"));
  }
}

function groupLength(waiting: readonly Waiting[]): number {
  let length = 0;
  let textLength = 0;
  for (const append of waiting) {
    textLength += append.entryText.length;
    if (length > 0 && textLength > GROUP_TEXT_LENGTH) break;
    length++;
  }
  return length;
}

function conflict(path: string, subject: string, after: Sequence, last: number): JournalError {
  return new JournalError("journal/conflict", `${path}: the last entry of ${subject} is ${last}, not ${after}`, {
    hint: "Another writer was first: read what it wrote.",
  });
}

function unavailable(path: string, cause: unknown): JournalError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new JournalError("journal/unavailable", `cannot go on with ${path}: ${reason}`, {
    hint: cause instanceof StorageError ? cause.hint : "Open the journal again: what was acknowledged is kept.",
    cause,
  });
}
