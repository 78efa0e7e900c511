import { describe, expect, test } from "vitest";
import { JobRecords } from "../../../coordinator/job/index.ts";
import { openFileJournal } from "../../../coordinator/journal/index.ts";
import type { Plan, SliceId, UnitId, WorkerId } from "../../../merge/work/index.ts";
import { SimulatedStore } from "../../support/simulated-store.ts";

const A = "s000001" as UnitId;
const B = "s000002" as UnitId;
const W = "w" as WorkerId;
const sliceOf = (unit: UnitId) => unit as string as SliceId;

/** What a job that is begun again reads of what `write` noted. */
async function historyAfter(write: (records: JobRecords) => Promise<void>) {
  const store = new SimulatedStore();
  const journal = await openFileJournal(store, "/journal");
  await write(new JobRecords(journal));
  await journal.close();
  const reopened = await openFileJournal(store, "/journal");
  return new JobRecords(reopened).history();
}

describe("the history of a job", () => {
  test("of a new journal is that nothing has begun", async () => {
    expect(await historyAfter(async () => {})).toMatchObject({ phase: "planned", files: [], replaced: [] });
    expect((await historyAfter(async () => {})).plan).toBeUndefined();
  });

  test("gives back inputs to the nanosecond, and what was to be replaced", async () => {
    const file = { path: "/m/x", sizeBytes: 12, mtimeNs: 1_700_000_000_123_456_789n, inode: 2n ** 60n + 1n };
    const plan = { version: 1 } as Plan;
    const history = await historyAfter((records) => records.begun(plan, "digest", { a: 1 }, [[file]], ["old"]));
    expect(history).toMatchObject({ plan: "digest", planVersion: 1, facts: { a: 1 }, replaced: ["old"] });
    expect(history.inputs).toEqual([[file]]);
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
});
