/** A journal that several share and that loses its newest records while one leads: their numbers are given out again. */
import { expect, test } from "vitest";
import {
  type Entry,
  type Journal,
  type JournalRecord,
  nothingYet,
  type Sequence,
  takeOver,
} from "../../../coordinator/journal/index.ts";
import { entry } from "../journal.contract.ts";

class ForgetfulJournal implements Journal {
  records: JournalRecord[] = [];

  async append({ subject, body }: Entry, after: Sequence): Promise<Sequence> {
    expect(await this.last(subject)).toBe(after);
    const sequence = BigInt(this.records.length + 1) as Sequence;
    this.records.push({ entry: { subject, body }, sequence });
    return sequence;
  }

  async last(subject: string): Promise<Sequence> {
    return this.records.findLast((record) => record.entry.subject === subject)?.sequence ?? nothingYet;
  }

  async *read(after = nothingYet): AsyncGenerator<JournalRecord> {
    yield* this.records.filter(({ sequence }) => sequence > after);
  }

  async close(): Promise<void> {}
}

test("whoever took over with a number that was given out before is seen all the same", async () => {
  const journal = new ForgetfulJournal();
  const first = await takeOver(journal, null);
  for (const slice of ["1", "2", "3"]) await first.append(entry(`slice/${slice}`, null), nothingYet);
  for await (const _ of first.read()); // has seen all of them
  journal.records.splice(1);
  const second = await takeOver(journal, null);
  await expect(first.append(entry("slice/4", null), nothingYet)).rejects.toMatchObject({ code: "journal/superseded" });
  await expect(first.confirm()).rejects.toMatchObject({ code: "journal/superseded" });
  await second.append(entry("slice/1", null), nothingYet);
});
