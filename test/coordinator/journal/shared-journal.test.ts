/** A journal that several share, as its leader sees it: others take over, records are lost, answers take their time. */
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

class SharedJournal implements Journal {
  records: JournalRecord[] = [];
  /** Answers to `last` wait for it. */
  slow: Promise<void> | undefined;

  async append({ subject, body }: Entry, after: Sequence): Promise<Sequence> {
    expect(this.#last(subject)).toBe(after);
    const sequence = BigInt(this.records.length + 1) as Sequence;
    this.records.push({ entry: { subject, body }, sequence });
    return sequence;
  }

  async last(subject: string): Promise<Sequence> {
    await this.slow;
    return this.#last(subject);
  }

  #last(subject: string): Sequence {
    return this.records.findLast((record) => record.entry.subject === subject)?.sequence ?? nothingYet;
  }

  async *read(after = nothingYet): AsyncGenerator<JournalRecord> {
    yield* this.records.filter(({ sequence }) => sequence > after);
  }

  async close(): Promise<void> {}
}

test("whoever took over with a number that was given out before is seen all the same", async () => {
  const journal = new SharedJournal();
  const first = await takeOver(journal, null);
  for (const slice of ["1", "2", "3"]) await first.append(entry(`slice/${slice}`, null), nothingYet);
  for await (const _ of first.read()); // has seen all of them
  journal.records.splice(1);
  const second = await takeOver(journal, null);
  await expect(first.append(entry("slice/4", null), nothingYet)).rejects.toMatchObject({ code: "journal/superseded" });
  await expect(first.confirm()).rejects.toMatchObject({ code: "journal/superseded" });
  await second.append(entry("slice/1", null), nothingYet);
});

test("a take-over that was read meanwhile counts for whoever had asked who leads before", async () => {
  const journal = new SharedJournal();
  const first = await takeOver(journal, null);
  await takeOver(journal, null);
  let answer = () => {};
  journal.slow = new Promise((resolve) => {
    answer = resolve;
  });
  const appended = first.append(entry("slice/1", null), nothingYet).then(
    () => "counts",
    (error) => error.code,
  );
  const confirmed = first.confirm().then(
    () => "leads",
    (error) => error.code,
  );
  // Reads what there is, the take-over too, before the answers are there.
  await expect(first.last("slice/2")).rejects.toMatchObject({ code: "journal/superseded" });
  answer();
  expect(await Promise.all([appended, confirmed])).toEqual(["journal/superseded", "journal/superseded"]);
});
