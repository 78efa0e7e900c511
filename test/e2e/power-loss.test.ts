/**
 * A merge on a disk that forgets what was not synced, tears what was being written and fails when told to: whatever
 * happens at whichever operation, the same merge run again ends in the same bytes, and what was acknowledged is there.
 */
import { beforeAll, describe, expect, test } from "vitest";
import { seededRandom } from "../support/seeded-random.ts";
import type { Operation, OperationKind, SimulatedStore } from "../support/simulated-store.ts";
import {
  type Attempt,
  attempt,
  diskWithModels,
  filesOf,
  hasWayIn,
  SLICES_IN_FLIGHT,
  sliceWrites,
} from "./in-memory-merge.ts";

let disk: SimulatedStore;
/** Of an undisturbed merge. */
let expected: Record<string, string>;
let operations: readonly Operation[];
let slices: number;

beforeAll(async () => {
  disk = await diskWithModels();
  const store = disk.copy();
  const { run, ended } = await attempt(store);
  expect(ended).toBe("done");
  expected = filesOf(store);
  operations = store.operations;
  slices = run!.plan.slices.length;
  // What it says is done survives the loss of power right after it.
  expect(filesOf(store.crash(1))).toEqual(expected);
});

const changing: readonly OperationKind[] = [
  "create",
  "write",
  "truncate",
  "sync",
  "rename",
  "remove",
  "remove-directory",
  "make-directory",
  "sync-directory",
  "lock",
  "unlock",
];

function describeOf({ number, kind, path, to }: Operation): string {
  return `operation ${number}: ${kind} ${path}${to === undefined ? "" : ` to ${to}`}`;
}

/** A checkpoint that a loader would find is whole; SHA256SUMS, which says so, comes last. */
function expectNothingHalfPublished(store: SimulatedStore, place: string): void {
  if (!hasWayIn(store)) return;
  const files = filesOf(store);
  const { "/out/SHA256SUMS": sums, ...others } = expected;
  if ("/out/SHA256SUMS" in files) expect(files["/out/SHA256SUMS"], place).toBe(sums);
  expect(files, place).toMatchObject(others);
}

/** Runs the merge again on what a crash has left, and checks all that it promises. Returns the disk afterwards. */
async function expectResumed(
  before: SimulatedStore,
  cut: Attempt,
  after: SimulatedStore,
  place: string,
): Promise<void> {
  expectNothingHalfPublished(after, place);
  const { run, ended, error } = await attempt(after);
  expect(ended, `${place}: ${error?.stack}`).toBe("done");
  expect(filesOf(after), place).toEqual(expected);
  const done = run!.begun.slicesDone;
  expect(done, `${place}: what was acknowledged is lost`).toBeGreaterThanOrEqual(cut.acknowledged);
  expect(sliceWrites(after.operations), `${place}: slices computed`).toBe(slices - done);
  expect(sliceWrites(before.operations) - done, `${place}: slices computed again`).toBeLessThanOrEqual(
    SLICES_IN_FLIGHT,
  );
  expect(after.paths("/out/.deltaworks/stage"), place).toEqual([]);
}

describe("power loss", () => {
  test("at every operation that changes the disk: the merge goes on and ends in the same bytes", async () => {
    const places = operations.filter(({ kind }) => changing.includes(kind));
    expect(places.filter(({ kind, path }) => kind === "write" && path.endsWith("/journal")).length).toBeGreaterThan(5);
    expect(places.filter(({ kind }) => kind === "rename").length).toBeGreaterThanOrEqual(Object.keys(expected).length);
    for (const operation of places) {
      const place = describeOf(operation);
      const store = disk.copy();
      store.failAt(operation.number, "power-loss");
      const cut = await attempt(store);
      expect(store.off, place).toBe(true);
      // The same crash may end in many ways: whatever of a rename came to the disk, no reader may be misled.
      for (let seed = 0; seed < 20; seed++) expectNothingHalfPublished(store.crash(seed), `${place}, seed ${seed}`);
      await expectResumed(store, cut, store.crash(operation.number), place);
    }
  });

  test("again while the merge goes on from a loss of power: seeded pairs of moments", async () => {
    const random = seededRandom(3);
    const from = operations.findIndex(({ kind }) => kind === "make-directory");
    for (let pair = 0; pair < 40; pair++) {
      const first = from + Math.floor(random() * (operations.length - from));
      const store = disk.copy();
      store.failAt(first, "power-loss");
      const once = await attempt(store);
      const rebooted = store.crash(pair);
      const second = 50 + Math.floor(random() * (operations.length - first));
      rebooted.failAt(second, "power-loss");
      const twice = await attempt(rebooted);
      const place = `operation ${first}, then ${second}, pair ${pair}`;
      if (!rebooted.off) {
        expect(filesOf(rebooted), place).toEqual(expected);
        continue;
      }
      const rebootedAgain = rebooted.crash(1000 + pair);
      expectNothingHalfPublished(rebootedAgain, place);
      const { run, ended, error } = await attempt(rebootedAgain);
      expect(ended, `${place}: ${error?.stack}`).toBe("done");
      expect(filesOf(rebootedAgain), place).toEqual(expected);
      const acknowledged = Math.max(once.acknowledged, twice.acknowledged);
      expect(run!.begun.slicesDone, place).toBeGreaterThanOrEqual(acknowledged);
    }
  });
});

describe("a disk that fails once", () => {
  /** The same operations, as far as a run without faults tells; later ones shift. */
  const later = (kinds: readonly OperationKind[], every = 1) => {
    const from = operations.findIndex(({ kind }) => kind === "make-directory");
    return operations.slice(from).filter(({ kind, number }) => kinds.includes(kind) && number % every === 0);
  };

  /** `nth`: of its kind on its path; without it, whatever comes at the operation's number. */
  async function expectSurvived(
    operation: Operation,
    fault: "full" | "io",
    shown: SimulatedStore["afterFailedSync"],
    nth?: number,
  ) {
    const place = `${fault}, lost pages ${shown}, at ${describeOf(operation)}`;
    const store = disk.copy();
    store.afterFailedSync = shown;
    if (nth === undefined) store.failAt(operation.number, fault);
    else store.failNth(operation, nth, fault);
    const failed = await attempt(store);
    let last = store;
    if (failed.ended !== "done") {
      expect(failed.ended, `${place}: ${failed.error?.stack}`).toMatch(/^(storage\/(full|io)|journal\/unavailable)$/);
      const { hint, message } = failed.error ?? failed.run!.outcome.cause!;
      expect(message, place).toBeTruthy();
      expect(hint, place).toBeTruthy();
      expectNothingHalfPublished(store, place);
      last = store.restart();
      await expectResumed(store, failed, last, place);
    }
    // A sync that failed counts for nothing: what the program says is done is on the disk, whatever readers saw.
    expect(filesOf(last.crash(operation.number)), place).toEqual(expected);
    return failed;
  }

  test.each(["shown", "dropped"] as const)(
    "at any sync, lost pages %s: nothing counts as durable that is not",
    async (shown) => {
      for (const operation of later(["sync", "sync-directory"])) await expectSurvived(operation, "io", shown);
    },
  );

  test("a shard's range whose sync failed is written again through a fresh handle, in the same run", async () => {
    const shardSyncs = later(["sync"]).filter(({ path }) => path.includes("/stage/model-"));
    const ofSlices = shardSyncs.filter(({ number, path }) =>
      operations.slice(0, number).some((o) => o.path === path && o.kind === "write" && (o.offsetBytes ?? 0) > 0),
    );
    expect(ofSlices.length).toBeGreaterThan(4);
    for (const operation of ofSlices) {
      // Two workers write: what has the operation's number in another run may be the other's.
      const nth = operations.filter(
        (o) => o.kind === "sync" && o.path === operation.path && o.number <= operation.number,
      );
      const { ended, run } = await expectSurvived(operation, "io", "dropped", nth.length);
      expect(ended, describeOf(operation)).toBe("done");
      expect(run!.counters.get("failed-attempt"), describeOf(operation)).toBeGreaterThanOrEqual(1);
    }
  });

  test("no space left at any write, name or sync: a clear error, nothing half published, the merge goes on", async () => {
    for (const operation of later(["create", "write", "rename", "make-directory"])) {
      const { ended } = await expectSurvived(operation, "full", "shown");
      expect(ended, describeOf(operation)).not.toBe("done");
    }
    for (const operation of later(["sync"], 2)) await expectSurvived(operation, "full", "dropped");
  });

  test("a write or read that fails once is tried again, or ends in a clear error that the next run gets past", async () => {
    for (const operation of later(["write"])) await expectSurvived(operation, "io", "shown");
    for (const operation of later(["read"], 3)) await expectSurvived(operation, "io", "shown");
  });

  test("an input that cannot be read ends the merge after three attempts, and the next run goes on", async () => {
    const store = disk.copy();
    const path = "/models/one/model.safetensors";
    const reads = operations.filter((operation) => operation.kind === "read" && operation.path === path);
    // From the middle of the merge on: the header has been read, and slices are done.
    const first = Math.floor(reads.length / 2);
    for (let k = 1; k <= 100; k++) store.failNth({ kind: "read", path }, first + k, "io");
    const failed = await attempt(store);
    expect(failed.ended).toBe("storage/io");
    expect(failed.run?.outcome.cause?.message).toContain(`read ${path}`);
    expectNothingHalfPublished(store, "read error");
    await expectResumed(store, failed, store.restart(), "read error");
  });
});
