/** A stage that lies there while the journal knows nothing of it: whoever was at work may be still. */
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { remoteLimits, sharedHome } from "../../../coordinator/job/index.ts";
import { openFileJournal } from "../../../coordinator/journal/index.ts";
import { placeOf } from "../../../storage/index.ts";
import { attempt, diskWithModels, filesOf, OUT } from "../../e2e/in-memory-merge.ts";
import type { MergeSettings } from "../../support/run-merge.ts";
import { SimulatedStore } from "../../support/simulated-store.ts";
import { ToldClock } from "../../support/told-clock.ts";

const STAGE = `${OUT}/.deltaworks/stage`;
const LEASE_MS = 30_000;
const IO_TIMEOUT_MS = 20_000;
const LEFT = new Uint8Array([1, 2, 3]);

/** What an earlier run staged, and no journal that tells of it. */
async function withLostJournal(): Promise<{ readonly store: SimulatedStore; readonly expected: object }> {
  const disk = await diskWithModels();
  const done = disk.copy();
  await attempt(done);
  disk.addFile(`${STAGE}/left.safetensors`, LEFT);
  disk.addFile(`${STAGE}/.owner`, Buffer.from("one"));
  return { store: disk, expected: filesOf(done) };
}

function leasesBy(clock: ToldClock): Pick<MergeSettings, "leases"> {
  const ticks = (tick: () => void) => {
    let stop = () => {};
    const again = () => {
      stop = clock.after(1000, () => {
        again();
        tick();
      });
    };
    again();
    return () => stop();
  };
  const limits = remoteLimits({ slices: 10, leaseMs: LEASE_MS, ioTimeoutMs: IO_TIMEOUT_MS });
  return { leases: { limits, clock, ticks } };
}

const places: Readonly<Record<string, () => Partial<MergeSettings>>> = {
  "in the output": () => ({ restart: true }), // it has an owner, which the merge of a file journal asks for
  elsewhere: () => {
    const place = new SimulatedStore();
    place.addFile("/journals/.keep", new Uint8Array());
    const owner = { name: "one", hasEnded: async () => false };
    return { shared: { home: sharedHome(() => openFileJournal(place, placeOf("/journals/one"))), owner } };
  },
};

/** Until it waits for time to pass. */
async function waits(clock: ToldClock): Promise<void> {
  while (clock.waiting === 0) await turn();
}

describe.each(Object.entries(places))("a stage whose journal, %s, has lost its beginning", (_, settings) => {
  test("is made anew once the leases of whoever was at work there are over", async () => {
    const { store, expected } = await withLostJournal();
    const clock = new ToldClock();
    const run = attempt(store, { ...settings(), ...leasesBy(clock) });
    await waits(clock);
    await clock.pass(LEASE_MS + IO_TIMEOUT_MS - 1);
    expect(store.contentOf(`${STAGE}/left.safetensors`)).toEqual(LEFT);
    await clock.pass(LEASE_MS + IO_TIMEOUT_MS + 1000);
    const { ended, run: merge } = await run;
    expect(ended).toBe("done");
    expect(merge?.warnings.join()).toContain("in 50 s");
    expect(filesOf(store)).toEqual(expected);
  });

  test("stays as it is where the job is stopped before", async () => {
    const { store } = await withLostJournal();
    const clock = new ToldClock();
    let stop = () => {};
    const onStop = (given: () => void) => {
      stop = given;
    };
    const run = attempt(store, { ...settings(), ...leasesBy(clock), onStop });
    await waits(clock);
    stop();
    expect((await run).ended).toBe("stopped");
    expect(store.contentOf(`${STAGE}/left.safetensors`)).toEqual(LEFT);
    expect(clock.waiting).toBe(0);
  });
});

test("a stage of whom nobody can be writing is made anew at once", async () => {
  const { store, expected } = await withLostJournal();
  const { ended, run } = await attempt(store, places.elsewhere?.()); // leases of threads end with their process
  expect(ended).toBe("done");
  expect(run?.warnings).toEqual([]);
  expect(filesOf(store)).toEqual(expected);
});
