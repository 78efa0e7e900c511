import { createHash } from "node:crypto";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type FileJournal, nothingYet, openFileJournal, type Sequence } from "../../../coordinator/journal/index.ts";
import { FileStore, type Files, placeOf } from "../../../storage/index.ts";
import { type Fault, SimulatedStore } from "../../support/simulated-store.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { epochContract } from "../epoch.contract.ts";
import { entry, journalContract, recordsOf } from "../journal.contract.ts";

const PATH = placeOf("/journal");

journalContract("the file journal", async () => {
  const path = placeOf(join(temporaryFolder(), "journal"));
  return () => openFileJournal(new FileStore(), path);
});
journalContract("the file journal on the simulated store", async () => {
  const store = new SimulatedStore();
  return () => openFileJournal(store, PATH);
});
epochContract("the file journal", async () => {
  const journal = await openFileJournal(new SimulatedStore(), PATH);
  return [journal, journal];
});

/** A line as the format says, worked out apart from the code. */
function line(text: string): string {
  return `${createHash("sha256").update(text).digest("hex").slice(0, 16)} ${text}\n`;
}

const header = line('{"format":"deltaworks journal","version":2}');

function recordLine(sequence: number, durable = sequence - 1): string {
  return line(`{"sequence":${sequence},"durable":${durable},"subject":"s","body":${sequence}}`);
}

function storeWith(text: string | Buffer): SimulatedStore {
  const store = new SimulatedStore();
  store.addFile(PATH, Buffer.from(text));
  return store;
}

function textIn(store: SimulatedStore): string {
  return Buffer.from(store.contentOf(PATH) ?? []).toString();
}

async function bodiesOf(journal: FileJournal) {
  return (await recordsOf(journal)).map((record) => record.entry.body);
}

function count(store: SimulatedStore, kind: string): number {
  return store.operations.filter((operation) => operation.kind === kind).length;
}

describe("the file", () => {
  test("is lines of checksum and JSON after a header", async () => {
    const store = new SimulatedStore();
    const journal = await openFileJournal(store, PATH);
    await journal.append(entry("job", { phase: "merging" }), nothingYet);
    await Promise.all([1, 2].map((k) => journal.append(entry(`slice.${k}`, k), nothingYet)));
    expect(textIn(store)).toBe(
      header +
        line('{"sequence":1,"durable":0,"subject":"job","body":{"phase":"merging"}}') +
        line('{"sequence":2,"durable":1,"subject":"slice.1","body":1}') +
        line('{"sequence":3,"durable":1,"subject":"slice.2","body":2}'),
    );
  });

  test("is durable with its name once opening resolves", async () => {
    const store = new SimulatedStore();
    await openFileJournal(store, PATH);
    for (let seed = 0; seed < 50; seed++) expect(textIn(store.crash(seed))).toBe(header);
  });

  test("of a process killed before its sync is made durable by whoever opens it next", async () => {
    const store = new SimulatedStore();
    const file = await store.openForWriting(PATH);
    await file.write(0, Buffer.from(header + recordLine(1)));
    const next = store.restart();
    expect(await bodiesOf(await openFileJournal(next, PATH))).toEqual([1]);
    for (let seed = 0; seed < 50; seed++) expect(textIn(next.crash(seed))).toBe(header + recordLine(1));
  });

  test.each([
    ["shown", [1, 2]],
    ["dropped", [1]],
  ] as const)("whose sync failed, its bytes %s by the cache, is durable as it is found", async (then, found) => {
    const store = new SimulatedStore();
    store.afterFailedSync = then;
    const journal = await openFileJournal(store, PATH);
    const first = await journal.append(entry("s", 1), nothingYet);
    store.failAt(store.operations.length + 2, "io"); // the sync after the write
    await expect(journal.append(entry("s", 2), first)).rejects.toMatchObject({ code: "journal/unavailable" });
    await journal.close();
    expect(await bodiesOf(await openFileJournal(store, PATH))).toEqual(found);
    for (let seed = 0; seed < 50; seed++) {
      expect(await bodiesOf(await openFileJournal(store.crash(seed), PATH))).toEqual(found);
    }
  });

  test("may hold long entries and many: reading goes through any number of chunks", async () => {
    const store = new SimulatedStore();
    const journal = await openFileJournal(store, PATH);
    const bodies = [200_000, 10, 700_000, 262_144, 3, 1_500_000].map((length, k) => String(k).repeat(length));
    await Promise.all(bodies.map((body, k) => journal.append(entry(`s${k}`, body), nothingYet)));
    expect(await bodiesOf(await openFileJournal(store.crash(0), PATH))).toEqual(bodies);
  });
});

describe("group commit", () => {
  test("appends made at once share one write and one sync", async () => {
    const store = new SimulatedStore();
    const journal = await openFileJournal(store, PATH);
    const [writes, syncs] = [count(store, "write"), count(store, "sync")];
    await Promise.all(Array.from({ length: 500 }, (_, k) => journal.append(entry(`s${k}`, k), nothingYet)));
    expect([count(store, "write") - writes, count(store, "sync") - syncs]).toEqual([1, 1]);
  });

  test("appends that arrive during a sync are written together by the next", async () => {
    const store = new SimulatedStore();
    const journal = await openFileJournal(store, PATH);
    const syncs = count(store, "sync");
    const first = journal.append(entry("first", 0), nothingYet);
    while (count(store, "sync") === syncs) await Promise.resolve();
    const others = Array.from({ length: 100 }, (_, k) => journal.append(entry(`s${k}`, k), nothingYet));
    await Promise.all([first, ...others]);
    expect(count(store, "sync") - syncs).toBe(2);
  });

  test("an append resolves after its sync, and a conflict is told after the sync of what was first", async () => {
    const store = new SimulatedStore();
    const journal = await openFileJournal(store, PATH);
    store.failAt(store.operations.length + 2, "io"); // the sync after the write
    const first = journal.append(entry("s", 1), nothingYet);
    const second = journal.append(entry("s", 2), nothingYet);
    await expect(first).rejects.toMatchObject({ code: "journal/unavailable" });
    await expect(second).rejects.toMatchObject({ code: "journal/unavailable" }); // no conflict: nothing was first
  });

  test("an entry may follow one of its subject that is still under way", async () => {
    const store = new SimulatedStore();
    const journal = await openFileJournal(store, PATH);
    await Promise.all([0n, 1n, 2n].map((after, k) => journal.append(entry("s", k), after as Sequence)));
    expect(await bodiesOf(journal)).toEqual([0, 1, 2]);
  });

  test("a group of more than 4 MiB is cut, nothing is left out", async () => {
    const store = new SimulatedStore();
    const journal = await openFileJournal(store, PATH);
    const syncs = count(store, "sync");
    const body = "x".repeat(2 ** 20);
    await Promise.all(Array.from({ length: 10 }, (_, k) => journal.append(entry(`s${k}`, body), nothingYet)));
    expect(count(store, "sync") - syncs).toBe(4); // of 3, 3, 3 and 1
    expect(await recordsOf(journal)).toHaveLength(10);
  });
});

describe("a write or sync that fails", () => {
  test.each<[string, Fault, number, string]>([
    ["full disk", "full", 1, "Simulated."],
    ["failed write", "io", 1, "Simulated."],
    ["failed sync", "io", 2, "Simulated."],
  ])("%s: the journal asks nothing of its file any more, and goes on when opened again", async (_, fault, n, hint) => {
    const store = new SimulatedStore();
    const journal = await openFileJournal(store, PATH);
    const kept = await journal.append(entry("kept", 1), nothingYet);
    store.failAt(store.operations.length + n, fault);
    const appends = ["a", "b"].map((subject) => journal.append(entry(subject, 2), nothingYet));
    for (const append of appends) await expect(append).rejects.toMatchObject({ code: "journal/unavailable", hint });
    const asked = store.operations.length;
    await expect(journal.append(entry("c", 3), nothingYet)).rejects.toMatchObject({ code: "journal/unavailable" });
    await expect(journal.last("kept")).rejects.toMatchObject({ code: "journal/unavailable" });
    await journal.close();
    expect(store.operations).toHaveLength(asked);

    const reopened = await openFileJournal(store, PATH);
    expect(await reopened.last("kept")).toBe(kept);
    expect(await reopened.last("c")).toBe(0n);
    await reopened.append(entry("kept", 4), kept);
  });

  test("entries that wait for the next sync are told, too", async () => {
    const store = new SimulatedStore();
    const journal = await openFileJournal(store, PATH);
    const syncs = count(store, "sync");
    store.failAt(store.operations.length + 2, "io");
    const first = journal.append(entry("first", 0), nothingYet);
    while (count(store, "sync") === syncs) await Promise.resolve();
    const second = journal.append(entry("second", 0), nothingYet);
    await expect(first).rejects.toMatchObject({ code: "journal/unavailable" });
    await expect(second).rejects.toMatchObject({ code: "journal/unavailable" });
  });
});

describe("a damaged file", () => {
  test.each([
    ["an unfinished record", recordLine(3).slice(0, 30)],
    ["a record without its newline", recordLine(3).slice(0, -1)],
    ["zeros", "\0".repeat(5000)],
    ["a record that fails its checksum", recordLine(3).replace('"body":3', '"body":4')],
    [
      "a hole with whole records of the same group behind it",
      `${"\0".repeat(recordLine(3).length)}${recordLine(4, 2)}`,
    ],
    ["garbage with a record of the next number behind it", `garbage\n${recordLine(3)}`],
    ["a record out of its place", recordLine(4, 2)],
    ["a checksummed line that is no record", line("[3]")],
    ["a checksummed line that is no JSON", line("{")],
  ])("%s at the end is cut off, durably, and the next append takes its place", async (_, tail) => {
    const good = header + recordLine(1) + recordLine(2);
    const store = storeWith(good + tail);
    const journal = await openFileJournal(store, PATH);
    expect(journal.tornBytes).toBe(tail.length);
    expect(journal.lostRecords).toBe(0);
    expect(await bodiesOf(journal)).toEqual([1, 2]);
    for (let seed = 0; seed < 20; seed++) expect(textIn(store.restart().crash(seed))).toBe(good);

    const again = storeWith(good + tail);
    const going = await openFileJournal(again, PATH);
    await going.append(entry("s", 3), 2n as Sequence);
    expect(textIn(again)).toBe(good + recordLine(3));
  });

  test("a good file has nothing torn or lost", async () => {
    const journal = await openFileJournal(storeWith(header + recordLine(1) + recordLine(2, 0)), PATH);
    expect([journal.tornBytes, journal.lostRecords]).toEqual([0, 0]);
  });

  test("damage among records that were durable is told apart from a torn tail, by how many are lost at least", async () => {
    const damaged = [
      header,
      recordLine(1),
      `${"x".repeat(100)}\n`,
      recordLine(3),
      recordLine(4),
      recordLine(5, 3),
    ].join("");
    const journal = await openFileJournal(storeWith(damaged), PATH);
    expect(journal.lostRecords).toBe(2); // 2 and 3; 4 and 5 may never have been acknowledged
    expect(await bodiesOf(journal)).toEqual([1]);
  });

  test("every single flipped bit is noticed", async () => {
    const good = Buffer.from(header + recordLine(1) + recordLine(2) + recordLine(3));
    for (let bit = header.length * 8; bit < good.length * 8; bit++) {
      const bytes = Buffer.from(good);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      const journal = await openFileJournal(storeWith(bytes), PATH);
      const before = Math.floor(((bit >> 3) - header.length) / recordLine(1).length);
      expect(await bodiesOf(journal)).toEqual([1, 2, 3].slice(0, before));
    }
  });

  test.each([
    ["empty", ""],
    ["of zeros", "\0".repeat(header.length)],
    ["with a part of the header", header.slice(0, 20)],
  ])("%s, as a crash while it was made leaves it, is made anew", async (_, text) => {
    const store = storeWith(text);
    const journal = await openFileJournal(store, PATH);
    await journal.append(entry("s", 1), nothingYet);
    expect(textIn(store)).toBe(header + recordLine(1));
  });

  test.each([
    ["another file", "model: x\n"],
    ["a longer file", "{}".repeat(5000)],
    ["a journal whose header is damaged", `x${header.slice(1)}${recordLine(1)}`],
    ["a journal whose header is lost", "\0".repeat(header.length) + recordLine(1)],
    ["another format", line('{"format":"other","version":1}')],
  ])("%s is refused and left as it is", async (_, text) => {
    const store = storeWith(text);
    await expect(openFileJournal(store, PATH)).rejects.toMatchObject({ name: "JournalError", code: "journal/corrupt" });
    expect(textIn(store)).toBe(text);
  });

  test("another version is refused by its number", async () => {
    const store = storeWith(line('{"format":"deltaworks journal","version":1}') + recordLine(1));
    const error = { code: "journal/other-version", message: "/journal has format version 1, not 2" };
    await expect(openFileJournal(store, PATH)).rejects.toMatchObject(error);
  });

  test("damage that comes while the journal is open is an error of reading, with its place", async () => {
    const store = new SimulatedStore();
    const journal = await openFileJournal(store, PATH);
    await journal.append(entry("s", 1), nothingYet);
    await (await store.openForWriting(PATH)).write(header.length + 20, Buffer.from("x"));
    const message = `/journal: the record at byte ${header.length} is damaged`;
    await expect(recordsOf(journal)).rejects.toMatchObject({ code: "journal/corrupt", message });
  });
});

test("a path that cannot be opened is the store's error", async () => {
  await expect(openFileJournal(new SimulatedStore(), placeOf("/missing/journal"))).rejects.toMatchObject({
    code: "storage/not-found",
  });
});

test("a failed opening closes the file", async () => {
  const store = storeWith("other");
  let closed = 0;
  const counting: Pick<Files, "openForWriting"> = {
    async openForWriting(path) {
      const file = await store.openForWriting(path);
      return { ...file, close: async () => void closed++ };
    },
  };
  await expect(openFileJournal(counting as Files, PATH)).rejects.toMatchObject({ code: "journal/corrupt" });
  expect(closed).toBe(1);
});
