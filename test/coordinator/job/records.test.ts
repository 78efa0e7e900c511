import { describe, expect, test } from "vitest";
import { JobRecords, readHistory } from "../../../coordinator/job/index.ts";
import { type JournalRecord, nothingYet, openFileJournal, type Sequence } from "../../../coordinator/journal/index.ts";
import type { Json, Plan, SliceId, UnitId, WorkerId } from "../../../merge/work/index.ts";
import { placeOf } from "../../../storage/index.ts";
import { SimulatedStore } from "../../support/simulated-store.ts";

const A = "s000001" as UnitId;
const B = "s000002" as UnitId;
const W = "w" as WorkerId;
const sliceOf = (unit: UnitId) => unit as string as SliceId;

/** What a job that is begun again reads of what `write` noted. */
async function historyAfter(write: (records: JobRecords) => Promise<void>) {
  const store = new SimulatedStore();
  const journal = await openFileJournal(store, placeOf("/journal"));
  await write(new JobRecords(journal));
  await journal.close();
  const reopened = await openFileJournal(store, placeOf("/journal"));
  return new JobRecords(reopened).history();
}

describe("the history of a job", () => {
  test("of a new journal is that nothing has begun", async () => {
    expect(await historyAfter(async () => {})).toMatchObject({ phase: "planned", files: [], replaced: [] });
    expect((await historyAfter(async () => {})).plan).toBeUndefined();
  });

  test("gives back inputs to the nanosecond, and what was to be replaced", async () => {
    const file = { path: placeOf("/m/x"), sizeBytes: 12, version: "inode 7, at noon" };
    const plan = { version: 1 } as Plan;
    const history = await historyAfter((records) => records.begun(plan, "digest", { a: 1 }, [[file]], ["old"]));
    expect(history).toMatchObject({ plan: "digest", planVersion: 1, facts: { a: 1 }, replaced: ["old"] });
    expect(history.inputs).toEqual([[file]]);
  });

  test("gives back the files beside the weights, by name; a journal of an earlier version does not tell of them", async () => {
    const document = { name: "config.json", path: placeOf("/m/config.json"), sizeBytes: 3, version: "3" };
    const plan = { version: 1 } as Plan;
    const history = await historyAfter((records) => records.begun(plan, "digest", {}, [[]], [], [[document]]));
    expect(history.documents).toEqual([[document]]);
    const store = new SimulatedStore();
    const journal = await openFileJournal(store, placeOf("/journal"));
    const body = { state: "begun", plan: "digest", planVersion: 1, facts: {}, inputs: [[]], replaced: [] };
    await journal.append({ subject: "job", body }, nothingYet);
    expect((await new JobRecords(journal).history()).documents).toBeUndefined();
  });

  test("a slice is done by its last word, and attempts only rise", async () => {
    const history = await historyAfter(async (records) => {
      await records.sliceDone(A, 4, "x", W);
      await records.sliceDone(B, 1, "y", W);
      await records.sliceLost(B, 1);
    });
    expect(history.slices.get(sliceOf(A))).toEqual({ attempt: 4, doneSha256: "x", worker: W });
    expect(history.slices.get(sliceOf(B))).toEqual({ attempt: 1 });
  });

  test("a dispute survives a crash, until a third attempt has decided it", async () => {
    const votes = ["x", "y"].map((sha256, k) => ({ attempt: k + 1, worker: W, sha256 }));
    const disputed = async (records: JobRecords) => {
      await records.sliceDone(A, 1, "x", W);
      await records.sliceDisputed(A, 2, votes);
    };
    expect((await historyAfter(disputed)).slices.get(sliceOf(A))).toEqual({ attempt: 2, disputed: votes });
    const decided = await historyAfter(async (records) => {
      await disputed(records);
      await records.sliceDone(A, 3, "y", W);
    });
    expect(decided.slices.get(sliceOf(A))).toEqual({ attempt: 3, doneSha256: "y", worker: W });
  });

  test("a slice in quarantine is tried again by the next run, with a new attempt", async () => {
    const history = await historyAfter((records) => records.quarantined(A, 3, "storage/io: it failed"));
    expect(history.slices.get(sliceOf(A))).toEqual({ attempt: 3 });
  });

  test("verdicts, published files and the end are known", async () => {
    const files = [{ name: "model.safetensors", sizeBytes: 5, sha256: "z" }];
    const publishing = async (records: JobRecords) => {
      await records.verdict(7, { thresholds: [0.5] });
      await records.publishing(files);
    };
    expect(await historyAfter(publishing)).toMatchObject({ phase: "publishing", files });
    const ended = await historyAfter(async (records) => {
      await publishing(records);
      await records.done();
    });
    expect(ended).toMatchObject({ phase: "done", files });
    expect(ended.verdicts.get(7)).toEqual({ thresholds: [0.5] });
  });

  test("verdicts come back bit for bit, with what JSON has no number for", async () => {
    const verdict = { scales: [Number.NaN, -0, Infinity, 1], ratio: -Infinity, columns: Float64Array.of(-0, 1 / 3) };
    const history = await historyAfter((records) => records.verdict(7, verdict));
    expect(history.verdicts.get(7)).toStrictEqual(verdict);
  });

  test("a verdict of an earlier version, in which NaN had become null, is made again", async () => {
    const history = await historyOf([["verdict/7", { verdict: { scales: [null] } }]]);
    expect(history.verdicts.size).toBe(0);
  });

  const begun = { state: "begun", plan: "digest", planVersion: 1, facts: {}, inputs: [], replaced: [] };
  const file = { path: placeOf("/m/x"), sizeBytes: 12, version: "1" };
  const oldFile = { path: placeOf("/m/x"), sizeBytes: 12, mtimeNs: "1700000000123456789", inode: "2" };
  const refused: readonly (readonly [subject: string, body: Json, said: RegExp])[] = [
    ["job", 7, /record job: 7 is no object/],
    ["job", { state: null }, /record job: state is null, not a text/],
    ["job", { ...begun, plan: 7 }, /record job: plan is 7, not a text/],
    ["job", { ...begun, planVersion: "2" }, /planVersion is "2", not a count/],
    ["job", { ...begun, inputs: [file] }, /record job: inputs\[0\] is no list/],
    [
      "job",
      { ...begun, inputs: [[{ ...file, version: 2 }]] },
      /record job, inputs\[0\]\[0\]: version is 2, not a text/,
    ],
    ["job", { ...begun, inputs: [[{ ...oldFile, inode: 2 }]] }, /inputs\[0\]\[0\]: inode is 2, not a whole/],
    ["job", { ...begun, replaced: [1] }, /replaced is \[1\], not a list of texts/],
    ["job", { state: "publishing" }, /files is missing, not a list/],
    ["job", { state: "publishing", files: [{ name: "x", sizeBytes: -1, sha256: "" }] }, /files\[0\]: sizeBytes is -1/],
    ["job", { state: "paused", reason: { code: "x" } }, /record job, reason: message is missing/],
    ["slice/s000001", { state: "done", attempt: "4", sha256: "x" }, /slice\/s000001: attempt is "4", not a count/],
    ["slice/s000001", { state: "done", attempt: 4 }, /slice\/s000001: sha256 is missing/],
    ["slice/s000001", { state: "finished", attempt: 4 }, /state is "finished", which is unknown/],
    ["slice/s000001", { state: "disputed", attempt: 4, votes: [{ attempt: 1 }] }, /votes\[0\]: worker is missing/],
    ["verdict/7", {}, /verdict\/7: it holds no verdict/],
    ["verdict/7", { data: { $: "nan" } }, /verdict\/7: "nan" stands for no value/],
  ];
  test.each(refused)("a record of the wrong shape is refused by name: %s %j", async (subject, body, said) => {
    const failed = await historyOf([[subject, body]]).catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: "coordinator/bad-record" });
    expect(String(failed)).toMatch(said);
  });

  test("records of the version before are read", async () => {
    const history = await historyOf([
      ["job", { state: "begun", plan: "digest", facts: {}, inputs: [[oldFile]] }],
      ["slice/s000001", { state: "done", attempt: 4, sha256: "x" }],
      ["job", { state: "take-over", holder: "5f", about: {} }],
    ]);
    const version = "inode 2, modified 2023-11-14T22:13:20.123456789Z";
    expect(history).toMatchObject({ plan: "digest", replaced: [], inputs: [[{ path: placeOf("/m/x"), version }]] });
    expect(history.slices.get(sliceOf(A))).toMatchObject({ attempt: 4, doneSha256: "x" });
  });
});

/** What is read of records as they stand there. */
function historyOf(records: readonly (readonly [subject: string, body: Json])[]) {
  async function* read(): AsyncGenerator<JournalRecord> {
    for (const [k, [subject, body]] of records.entries())
      yield { sequence: BigInt(k + 1) as Sequence, entry: { subject, body } };
  }
  return readHistory({ read });
}
