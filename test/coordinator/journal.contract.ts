import { describe, expect, test } from "vitest";
import { type Entry, type Journal, nothingYet, type Sequence } from "../../coordinator/journal/index.ts";

/** What every journal keeps to. `begin` makes a place for a journal; the function it returns opens the journal there. */
export function journalContract(name: string, begin: () => Promise<() => Promise<Journal>>): void {
  describe(`${name} keeps the contract of a journal`, () => {
    test("entries are read in the order of their sequences, also after reopening", async () => {
      const open = await begin();
      const journal = await open();
      const first = await journal.append(entry("a", 1), nothingYet);
      const second = await journal.append(entry("b", 2), nothingYet);
      const third = await journal.append(entry("a", 3), first);
      expect(first > nothingYet && second > first && third > second).toBe(true);
      const expected = [
        { entry: entry("a", 1), sequence: first },
        { entry: entry("b", 2), sequence: second },
        { entry: entry("a", 3), sequence: third },
      ];
      expect(await recordsOf(journal)).toEqual(expected);
      await journal.close();
      const reopened = await open();
      expect(await recordsOf(reopened)).toEqual(expected);
      await reopened.close();
    });

    test("reading may begin after a sequence", async () => {
      const journal = await (await begin())();
      const first = await journal.append(entry("a", 1), nothingYet);
      const second = await journal.append(entry("b", 2), nothingYet);
      const third = await journal.append(entry("a", 3), first);
      expect((await recordsOf(journal, first)).map(({ sequence }) => sequence)).toEqual([second, third]);
      expect(await recordsOf(journal, third)).toEqual([]);
      await journal.close();
    });

    test("a new journal is empty", async () => {
      const journal = await (await begin())();
      expect(await recordsOf(journal)).toEqual([]);
      expect(await journal.last("a")).toBe(0n);
      await journal.close();
    });

    test("bodies come back as they were at the append", async () => {
      const open = await begin();
      const journal = await open();
      const body = {
        text: 'line\nbreak "quote" é 漢 \u{1f600} \ud800',
        list: [null, true, -1.5, 1e300, {}],
        nested: { a: [] },
      };
      const changing = { count: 1 };
      const appended = [
        journal.append({ subject: "a.b/c d\n", body }, nothingYet),
        journal.append({ subject: "", body: null }, nothingYet),
        journal.append({ subject: "changing", body: changing }, nothingYet),
      ];
      changing.count = 2;
      await Promise.all(appended);
      await journal.close();
      const reopened = await open();
      expect((await recordsOf(reopened)).map((record) => record.entry)).toEqual([
        { subject: "a.b/c d\n", body },
        { subject: "", body: null },
        { subject: "changing", body: { count: 1 } },
      ]);
      await reopened.close();
    });

    test("last gives the last sequence of its subject, also after reopening", async () => {
      const open = await begin();
      const journal = await open();
      const first = await journal.append(entry("a", 1), nothingYet);
      await journal.append(entry("b", 1), nothingYet);
      const last = await journal.append(entry("a", 2), first);
      expect(await journal.last("a")).toBe(last);
      await journal.close();
      const reopened = await open();
      expect(await reopened.last("a")).toBe(last);
      expect(await reopened.last("c")).toBe(0n);
      await reopened.close();
    });

    test("an append after another sequence than the subject's last is a conflict and leaves no trace", async () => {
      const open = await begin();
      const journal = await open();
      const first = await journal.append(entry("a", 1), nothingYet);
      const other = await journal.append(entry("b", 1), nothingYet);
      const second = await journal.append(entry("a", 2), first);
      for (const after of [nothingYet, first, other, (second + 1n) as Sequence]) {
        await expect(journal.append(entry("a", 9), after)).rejects.toMatchObject({ code: "journal/conflict" });
      }
      await expect(journal.append(entry("c", 9), first)).rejects.toMatchObject({ code: "journal/conflict" });
      await journal.close();
      const reopened = await open();
      await expect(reopened.append(entry("a", 9), first)).rejects.toMatchObject({ code: "journal/conflict" });
      await reopened.append(entry("a", 3), second);
      expect((await recordsOf(reopened)).map((record) => record.entry.body)).toEqual([1, 1, 2, 3]);
      await reopened.close();
    });

    test("of appends made at once for one place, one is first and the others are told so", async () => {
      const journal = await (await begin())();
      const outcomes = await Promise.allSettled(
        [1, 2, 3, 4].map((body) => journal.append(entry("slice", body), nothingYet)),
      );
      expect(outcomes.filter((outcome) => outcome.status === "fulfilled")).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "journal/conflict" });
      }
      expect(await recordsOf(journal)).toHaveLength(1);
      await journal.close();
    });

    test.each([0, 2, 4])(
      "of appends made at once, number %i is refused and takes none of the others with it",
      async (k) => {
        const journal = await (await begin())();
        await journal.append(entry("taken", 1), nothingYet);
        const subjects = ["a", "b", "c", "d"].toSpliced(k, 0, "taken");
        const outcomes = await Promise.allSettled(
          subjects.map((subject) => journal.append(entry(subject, subject), nothingYet)),
        );
        expect(outcomes.map(({ status }) => status === "fulfilled")).toEqual(
          subjects.map((subject) => subject !== "taken"),
        );
        const bodies = (await recordsOf(journal)).map((record) => record.entry.body);
        expect(bodies.sort()).toEqual([1, "a", "b", "c", "d"]);
        await journal.close();
      },
    );

    test("many appends made at once are all there, each with the sequence it was given", async () => {
      const open = await begin();
      const journal = await open();
      const bodies = Array.from({ length: 1000 }, (_, k) => k);
      const sequences = await Promise.all(bodies.map((k) => journal.append(entry(`s${k}`, k), nothingYet)));
      await journal.close();
      const reopened = await open();
      const records = await recordsOf(reopened);
      const placeOf = new Map(records.map((record) => [record.entry.subject, record]));
      expect(records).toHaveLength(bodies.length);
      for (const k of bodies) {
        expect(placeOf.get(`s${k}`)).toEqual({ entry: entry(`s${k}`, k), sequence: sequences[k] });
      }
      await reopened.close();
    });

    test("reading and last include what was appended before and not awaited", async () => {
      const journal = await (await begin())();
      const appended = journal.append(entry("a", 1), nothingYet);
      const [records, last] = await Promise.all([recordsOf(journal), journal.last("a")]);
      expect(records).toEqual([{ entry: entry("a", 1), sequence: await appended }]);
      expect(last).toBe(await appended);
      await journal.close();
    });

    test("close waits for what was appended, may be called again, and nothing can be appended afterwards", async () => {
      const open = await begin();
      const journal = await open();
      const appended = journal.append(entry("a", 1), nothingYet);
      await journal.close();
      await journal.close();
      await appended;
      await expect(journal.append(entry("b", 1), nothingYet)).rejects.toMatchObject({ code: "journal/unavailable" });
      await expect(journal.last("a")).rejects.toMatchObject({ code: "journal/unavailable" });
      const reopened = await open();
      expect(await recordsOf(reopened)).toHaveLength(1);
      await reopened.close();
    });
  });
}

export function entry(subject: string, body: Entry["body"]): Entry {
  return { subject, body };
}

export async function recordsOf(journal: Pick<Journal, "read">, after?: Sequence) {
  const records = [];
  for await (const record of journal.read(after)) records.push(record);
  return records;
}
