/** What resuming costs grows with the number of slices, not with its square: visits of the plan's slices are counted. */
import { describe, expect, test } from "vitest";
import { type Begun, fileHome, JobRecords, type Outcome, runMergeJob } from "../../../coordinator/job/index.ts";
import { openFileJournal, takeOver } from "../../../coordinator/journal/index.ts";
import { parseSeed } from "../../../merge/math/index.ts";
import type { Plan, Slice, UnitId, WorkerId } from "../../../merge/work/index.ts";
import { FileOutput } from "../../../output/index.ts";
import { placeOf } from "../../../storage/index.ts";
import { SimulatedStore } from "../../support/simulated-store.ts";

const OUT = placeOf("/out");
const JOURNAL = placeOf(`${OUT}/.deltaworks/journal`);
const STAGE = `${OUT}/.deltaworks/stage`;
const PARTS = 4;

/** Cut tensors of four slices each; half of the slices in each of two shards. `visit` is called whenever a slice is looked at. */
function planOf(slices: number, visit: () => void): Plan {
  const tasks = Array.from({ length: slices / PARTS }, (_, k) => ({
    name: `t${k}`,
    kind: "merge",
    method: "model_stock",
    dtype: "BF16",
    shape: [PARTS, 65_536],
    parameters: { filter_wise: false },
    models: [],
  }));
  const made = Array.from({ length: slices }, (_, k) => {
    const [task, part] = [Math.floor(k / PARTS), k % PARTS];
    const parts = [{ task, part, partCount: PARTS, firstElement: part * 65_536, elementCount: 65_536 }];
    const slice = {
      id: `s${k}`,
      shard: k < slices / 2 ? 0 : 1,
      offsetBytes: 0,
      sizeBytes: 1,
      parts,
    } as unknown as Slice;
    return new Proxy(slice, {
      get(target, name) {
        visit();
        return Reflect.get(target, name);
      },
    });
  });
  const shards = [0, 1].map((k) => ({
    name: `shard-${k}`,
    header: "{}",
    dataOffsetBytes: 16,
    sizeBytes: 16,
    tasks: [],
  }));
  const options = { sliceBytes: 1, shardBytes: 1, allowNonfinite: false };
  return {
    version: 2,
    recipe: {},
    seed: "0",
    options,
    inputs: [],
    definingInput: 0,
    tasks,
    shards,
    slices: made,
    notes: [],
  } as unknown as Plan;
}

/** Visits from the opening of the journal until the rounds of all cut tensors have begun; what was kept. */
async function resumed(slices: number, isShardLost: boolean) {
  const store = new SimulatedStore();
  let visits = 0;
  const plan = planOf(slices, () => visits++);
  await store.makeDirectory(`${OUT}/.deltaworks`);
  await store.makeDirectory(STAGE);
  for (const { name, sizeBytes } of plan.shards) {
    if (isShardLost && name === "shard-1") continue;
    const file = await store.openForWriting(`${STAGE}/${name}`);
    await file.truncate(sizeBytes);
    await file.close();
  }
  const journal = await openFileJournal(store, JOURNAL);
  const records = new JobRecords(await takeOver(journal, {}));
  await records.history();
  await records.begun(plan, "digest", {}, [], []);
  // All but the last part of each tensor.
  const done = Array.from({ length: slices }, (_, k) => k).filter((k) => k % PARTS !== PARTS - 1);
  await Promise.all(done.map((k) => records.sliceDone(`s${k}` as UnitId, 1, "ab", "w" as WorkerId)));
  await journal.close();
  visits = 0;

  let kept = 0;
  let stop = () => {};
  const outcome: Outcome = await runMergeJob({
    store,
    output: new FileOutput(store, OUT),
    home: fileHome(store, placeOf(`${OUT}/.deltaworks`)),
    plan,
    digest: "digest",
    inputs: [],
    seed: parseSeed("0"),
    overwrite: false,
    restart: false,
    surveyElements: 1,
    toolVersion: "test",
    workers: () => async () => stop(),
    clock: { nowMs: () => 0 },
    observer: {
      began: ({ slicesDone }: Begun) => {
        kept = slicesDone;
      },
      progress: () => {},
      warning: () => {},
      counted: () => {},
    },
    onStop: (given: () => void) => {
      stop = given;
    },
  } as unknown as Parameters<typeof runMergeJob>[0]);
  return { visits, kept, outcome: outcome.outcome };
}

describe.each([false, true])("a job that goes on, a shard of its stage lost: %s", (isShardLost) => {
  test("looks at each slice a few times, however many there are", async () => {
    const few = await resumed(400, isShardLost);
    const many = await resumed(1600, isShardLost);
    for (const [slices, run] of [
      [400, few],
      [1600, many],
    ] as const) {
      expect(run.outcome).toBe("stopped");
      expect(run.kept).toBe((slices * 3) / 4 / (isShardLost ? 2 : 1));
      expect(run.visits).toBeGreaterThan(slices);
      expect(run.visits / slices).toBeLessThan(25);
    }
    expect(many.visits / 1600).toBeCloseTo(few.visits / 400, 0);
  });
});
