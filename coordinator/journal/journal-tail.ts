import type { Place, Source } from "../../storage/index.ts";
import { EpochView } from "./epoch.ts";
import type { JournalRecord, Sequence } from "./journal.ts";
import { linesOf } from "./lines.ts";
import { headerLine, maybeRecord } from "./record.ts";

/**
 * Reads a journal file that another part of the process, or another process, writes: for those who only look. Records that are not
 * durable yet may be among them.
 */
export class JournalTail {
  readonly #store: Source;
  readonly #path: Place;
  readonly #view = new EpochView();
  #offsetBytes = headerLine.length;

  constructor(store: Source, path: Place) {
    this.#store = store;
    this.#path = path;
  }

  /** The records that count and came since the last call; none where there is no file (yet). */
  async *next(): AsyncGenerator<JournalRecord> {
    const { sizeBytes = 0 } = (await this.#store.identity(this.#path)) ?? {};
    if (sizeBytes <= this.#offsetBytes) return;
    const file = await this.#store.open(this.#path);
    try {
      for await (const { bytes, endBytes } of linesOf(file, this.#offsetBytes, sizeBytes)) {
        const record = maybeRecord(bytes);
        // Half written: it is whole the next time.
        if (record === undefined) return;
        this.#offsetBytes = endBytes;
        const valid = this.#view.see({ entry: record.entry, sequence: BigInt(record.sequence) as Sequence });
        if (valid !== undefined) yield valid;
      }
    } finally {
      await file.close();
    }
  }
}
