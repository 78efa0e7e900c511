import type { Json } from "../../merge/work/index.ts";

/** A fact of a job. `subject` says what it is about, a slice for instance; each subject has a history of its own. */
export interface Entry {
  readonly subject: string;
  /** What JSON cannot express (NaN, -0, undefined) does not come back as it went in. */
  readonly body: Json;
}

/** Place of an entry in its journal. Later entries have higher ones; there may be gaps. */
export type Sequence = bigint & { readonly __brand: "Sequence" };

/** The last sequence of a subject that has no entry. */
export const nothingYet = 0n as Sequence;

export interface JournalRecord {
  readonly entry: Entry;
  readonly sequence: Sequence;
}

/**
 * Where the facts of a job are kept. Everything else the coordinator knows is computed from it.
 * Calls need not wait for each other. What a method returns or throws `journal/conflict` about is durable.
 */
export interface Journal {
  /**
   * Appends `entry` if the last sequence of its subject is still `after` (0n: nothing there yet).
   * Resolves once the entry is durable: it survives a crash of the process and of the machine.
   * The body is taken at the call and may be changed afterwards.
   * @throws JournalError `journal/conflict`: another writer was first; read what it wrote.
   * @throws JournalError `journal/unavailable`: outcome unknown; open the journal again and read before trying again.
   */
  append(entry: Entry, after: Sequence): Promise<Sequence>;
  /** Sequence of the subject's last entry; 0n where there is none. @throws JournalError `journal/unavailable` */
  last(subject: string): Promise<Sequence>;
  /**
   * The entries after a sequence (by default all) in the order of their sequences, up to the last one appended before
   * the reading began.
   * @throws JournalError `journal/unavailable`; `journal/corrupt`: an entry changed since it was written.
   */
  read(after?: Sequence): AsyncIterable<JournalRecord>;
  /** Waits for what is under way; afterwards only `close` may be called, again. Never throws for entries that failed. */
  close(): Promise<void>;
}
