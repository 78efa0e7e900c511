import type { Place, Source } from "../../storage/index.ts";
import { type Journal, type JournalRecord, nothingYet, type Sequence } from "./journal.ts";
import { linesOf } from "./lines.ts";
import { checkHeader, maybeRecord } from "./record.ts";

/**
 * What a journal tells to whoever does not have it: it may be written to meanwhile, and nothing of it is changed. It ends before the first
 * record that is not whole. @throws JournalError `journal/corrupt`, `journal/other-version`; StorageError
 */
export function peekFileJournal(store: Source, path: Place): Pick<Journal, "read" | "close"> {
  return {
    async *read(after: Sequence = nothingYet): AsyncGenerator<JournalRecord> {
      const file = await store.open(path);
      try {
        let last = 0;
        for await (const line of linesOf(file, 0, (await file.identity()).sizeBytes)) {
          if (line.offsetBytes === 0) {
            checkHeader(line.bytes, path);
            continue;
          }
          const record = maybeRecord(line.bytes);
          if (record?.sequence !== last + 1) return;
          last = record.sequence;
          const sequence = BigInt(last) as Sequence;
          if (sequence > after) yield { entry: record.entry, sequence };
        }
      } finally {
        await file.close();
      }
    },
    close: async () => {},
  };
}
