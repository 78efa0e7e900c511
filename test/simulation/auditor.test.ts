import { beforeEach, describe, expect, test } from "vitest";
import type { CoreEvent, Effect } from "../../coordinator/core/index.ts";
import type { UnitId, WorkerId } from "../../merge/work/index.ts";
import type { Place } from "../../storage/index.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { Auditor } from "./auditor.ts";
import { makeUpMerge } from "./made-up-merge.ts";
import { Process } from "./process.ts";
import { ProcessStore } from "./process-store.ts";
import { World } from "./world.ts";

const merge = makeUpMerge(seededRandom(1));
const slice = merge.plan.slices[0]!;
const unit = slice.id as string as UnitId;
const shard = merge.plan.shards[slice.shard]!;
const path = `/out/.deltaworks/stage/${shard.name}`;

let world: World;
let auditor: Auditor;

beforeEach(() => openWorld(seededRandom(1)));

function openWorld(random: () => number): void {
  world = new World(random, new Set(), undefined);
  auditor = new Auditor(world, merge, "/out", true);
  world.auditor = auditor;
  world.journal.recorded = (subject, facts) => auditor.recorded(subject, facts);
}

describe("a slice of a shared journal is done when a record that counts is made", () => {
  test("a coordinator that stood still hears of it when the next one has had it computed anew", () => {
    takesOver("c1");
    writes("c1", 1, 7);
    appendsDone("c1", 1);
    takesOver("c2");
    grants("c2", 2, "w2");
    hears("c1");
    expect(auditor.violations).toEqual([]);
  });

  test("not by an attempt that has not the grant", () => {
    takesOver("c1");
    writes("c1", 1, 7);
    grants("c1", 2, "w2");
    appendsDone("c1", 1);
    expect(auditor.violations).toEqual([`${unit} is done by attempt 1, the grant is 2's`]);
  });

  test("not by bytes that are not durable, whether anybody hears of the record or not", () => {
    takesOver("c1");
    writes("c1", 1, 7);
    world.look().addFile(path, new Uint8Array(shard.sizeBytes));
    appendsDone("c1", 1);
    expect(auditor.violations).toEqual([`${unit} is done by attempt 1, and its bytes are not durable`]);
  });

  test("not by a record of a lost epoch", () => {
    takesOver("c1");
    writes("c1", 1, 7);
    takesOver("c2");
    appendsDone("c1", 1);
    expect(auditor.violations).toEqual([]);
    hears("c1");
    expect(auditor.violations).toEqual([`c1 takes ${unit} for done by attempt 1, and no record that counts says so`]);
  });
});

describe("what has been published by whom the journal forgot", () => {
  const cancelledAfter = async (kill: boolean) => {
    const process = new Process("c1", world.scheduler, { startMs: 0, rate: 1 });
    const store = new ProcessStore(world, process);
    world.look().addFile(path, new Uint8Array(shard.sizeBytes));
    auditor.readBack(path, 0, shard.sizeBytes);
    const renamed = store.rename(path as Place, `/out/${shard.name}` as Place);
    if (kill) process.kill();
    auditor.journalWentBack();
    await world.scheduler.run(10, () => false);
    if (!kill) await renamed;
    expect(world.look().paths("/out")).toEqual([`/out/${shard.name}`]);
    auditor.conclude("cancelled");
    return auditor.violations;
  };

  // Chance lets the call of the dead be carried out.
  beforeEach(() => openWorld(() => 0.9));

  test("is nobody's, also where the call was under way when its caller was killed", async () => {
    expect(await cancelledAfter(true)).toEqual([]);
  });

  test("by one that lives is not to be there after a cancellation", async () => {
    expect(await cancelledAfter(false)).toEqual([`published though cancelled: /out/${shard.name}`]);
  });
});

function append(subject: string, body: object): void {
  const after = world.journal.last(subject)?.sequence ?? 0n;
  expect(world.journal.append(subject, JSON.stringify(body), after, world.journal.newId())).toBeDefined();
}

function takesOver(holder: string): void {
  append("job", { state: "take-over", holder });
}

function decided(coordinator: string, event: object, effects: readonly object[] = []): void {
  auditor.decided(coordinator, event as CoreEvent, effects as readonly Effect[]);
}

function grants(coordinator: string, attempt: number, worker: string): void {
  decided(coordinator, { type: "grant-requested" }, [
    { type: "assign", unit, attempt, worker },
    { type: "grant", unit, attempt, worker },
  ]);
}

/** Durably, with leave, and says so. */
function writes(coordinator: string, attempt: number, value: number): void {
  grants(coordinator, attempt, "w1");
  const content = new Uint8Array(shard.sizeBytes).fill(value);
  const bytes = content.subarray(slice.offsetBytes, slice.offsetBytes + slice.sizeBytes);
  auditor.writing(path, slice.offsetBytes, bytes, { worker: "w1" as WorkerId, unit, attempt });
  world.look().addFile(path, content);
  decided(coordinator, { type: "slice-computed" }, [{ type: "journal-done", unit, attempt }]);
}

function appendsDone(holder: string, attempt: number): void {
  append(`slice/${unit}`, { epoch: `1-${holder}`, body: { state: "done", attempt } });
}

function hears(coordinator: string): void {
  decided(coordinator, { type: "slice-durable", unit });
}
