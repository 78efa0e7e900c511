/** A merge that costs nothing and goes into a bucket in parts, and all that a whole output of it holds. */
import { createHash } from "node:crypto";
import { fileHome, runMergeJob } from "../../coordinator/job/index.ts";
import type { Assignment, Plan, SealWork, TensorTask } from "../../merge/work/index.ts";
import { PLAN_VERSION, sealRanges, shardPreamble } from "../../merge/work/index.ts";
import { FileOutput, hashRanges, type Output } from "../../output/index.ts";
import { layOutParts, layOutShards, layOutSlices, planDigest } from "../../plan/index.ts";
import { join, placeOf, type Source } from "../../storage/index.ts";
import { SimulatedStore } from "../support/simulated-store.ts";
import { inlineThreads } from "./bucket-threads.ts";

/** Bytes of all parts but a shard's last. */
export const PART_BYTES = 640;

export interface BucketMerge {
  /** Unlike that of any other. */
  readonly name: string;
  /** For a bucket. */
  readonly plan: Plan;
  readonly digest: string;
  /** Every shard, whatever wrote it. */
  readonly shards: ReadonlyMap<string, Uint8Array>;
  /** All files, by name: of a merge into a bucket, and of the same one into a folder. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly filesOfFolder: ReadonlyMap<string, Uint8Array>;
}

const known = new Map<number, Promise<BucketMerge>>();

const SHAPES = 12;
export const MERGES = 2 * SHAPES;

/** One of `MERGES`, of one to three shards in one to five parts each. Two and two have one shape, and so one index. */
export function bucketMerge(number: number): Promise<BucketMerge> {
  const made = known.get(number) ?? madeUp(number);
  known.set(number, made);
  return made;
}

async function madeUp(number: number): Promise<BucketMerge> {
  const sizes = [[200], [900, 500], [300, 1500, 80], [2000, 40, 40, 700]][number % 4] ?? [];
  const shape = number % SHAPES;
  const shardBytes = shape % 3 === 0 ? 1e9 : 1000;
  const tasks = sizes.map((elements, k) => taskOf(`t${k}`, elements + 8 * (shape >> 2)));
  const shards = layOutShards(tasks, shardBytes);
  const plan = planOf(number, shardBytes, tasks, shards, "parts");
  const bytes = new Map(shards.map(({ name }, shard) => [name, shardOf(plan, shard)]));
  const files = await whole(plan, bytes);
  const filesOfFolder = await whole(planOf(number, shardBytes, tasks, shards), bytes);
  return { name: `merge ${number}`, plan, digest: planDigest(plan), shards: bytes, files, filesOfFolder };
}

function planOf(
  number: number,
  shardBytes: number,
  tasks: readonly TensorTask[],
  shards: Plan["shards"],
  layout?: "parts",
): Plan {
  const options = { sliceBytes: PART_BYTES, shardBytes, allowNonfinite: false, ...(layout && { layout }) };
  return {
    version: PLAN_VERSION,
    recipe: { merge_method: "linear" },
    seed: String(number),
    options,
    inputs: [{ label: "made up", files: [] }],
    definingInput: 0,
    tasks,
    shards,
    slices: (layout === undefined ? layOutSlices : layOutParts)(tasks, shards, PART_BYTES),
    notes: [],
  };
}

function taskOf(name: string, elements: number): TensorTask {
  const source = { input: 0, file: 0, tensor: name, dtype: "U8", offsetBytes: 0, storedRowLength: 1 } as const;
  const models = [{ ...source, index: 0, parameters: {} }];
  return { name, kind: "merge", method: "linear", dtype: "U8", shape: [elements], parameters: {}, models };
}

function shardOf({ shards, seed }: Plan, shard: number): Uint8Array {
  const { header = "", sizeBytes = 0 } = shards[shard] ?? {};
  const preamble = shardPreamble(header);
  return Uint8Array.from(
    { length: sizeBytes },
    (_, k) => preamble[k] ?? (k * 7 + (k >> 8) * 13 + shard * 101 + Number(seed) * 31) & 255,
  );
}

/** What of its shard a slice is. */
export function sliceBytesOf({ shards }: BucketMerge, plan: Plan, work: Extract<Assignment, { kind: "slice" }>) {
  const { shard, offsetBytes, sizeBytes } = work.slice;
  const bytes = shards.get(plan.shards[shard]?.name ?? "") ?? new Uint8Array();
  return bytes.slice(offsetBytes, offsetBytes + sizeBytes);
}

export function sealed(source: Source, work: SealWork): Promise<readonly string[]> {
  return hashRanges(source, work.path, sealRanges(work));
}

/** What is the same of every run of a merge. */
export function jobOf(plan: Plan, output: Output) {
  return {
    output,
    plan,
    digest: planDigest(plan),
    recipeText: "made up\n",
    definingCheckpoint: { root: "/models/made-up", config: undefined, companions: [] } as never,
    inputs: [{ label: "made up", files: [] }],
    seed: { low: 1, high: 0 },
    hashInputs: false,
    toolVersion: "0.0.0-simulated",
    surveyElements: 1000,
  };
}

/** Everything that a merge into a folder leaves there, by the program itself with nothing in its way. */
async function whole(plan: Plan, shards: ReadonlyMap<string, Uint8Array>): Promise<ReadonlyMap<string, Uint8Array>> {
  const store = new SimulatedStore();
  const out = placeOf("/out");
  const output = new FileOutput(store, out);
  const workers = inlineThreads({
    soon: (act) => setImmediate(act),
    compute: async (work) => {
      const name = plan.shards[work.slice.shard]?.name ?? "";
      const bytes = shards.get(name) ?? new Uint8Array();
      const { offsetBytes, sizeBytes } = work.slice;
      const file = await store.openForWriting(join(output.slots(plan)[work.slice.shard] ?? out));
      const slice = bytes.subarray(offsetBytes, offsetBytes + sizeBytes);
      await file.write(offsetBytes, slice);
      await file.sync();
      await file.close();
      return createHash("sha256").update(slice).digest("hex");
    },
    seal: (work) => sealed(store, work),
  });
  const outcome = await runMergeJob({
    ...jobOf(plan, output),
    store,
    home: fileHome(store, output.journalFolder),
    overwrite: false,
    restart: false,
    workers: () => workers,
    clock: { nowMs: () => performance.now() },
    observer: { began: () => {}, progress: () => {}, warning: () => {}, counted: () => {} },
    onStop: () => {},
  });
  if (outcome.outcome !== "done") throw new Error(`${outcome.cause?.code}: ${outcome.cause?.message}`);
  const names = store.paths(out).filter((path) => !path.includes("/.deltaworks/"));
  return new Map(names.map((path) => [path.slice(out.length + 1), store.contentOf(path) ?? new Uint8Array()]));
}
