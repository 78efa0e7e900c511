import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Device, openDevice } from "../../../merge/engines/index.ts";
import type { MergedSource, Slice, SliceId, TensorTask, UnitId } from "../../../merge/work/index.ts";
import { geometryOfTask } from "../../../merge/work/index.ts";
import { prepareText } from "../../../prepare/index.ts";
import { SliceWorker } from "../../../runtime/index.ts";
import { FileStore, placeOf } from "../../../storage/index.ts";
import { AsynchronousDevice } from "../../support/asynchronous-device.ts";
import { mergedTensors } from "../../support/run-merge.ts";
import { type GeneratedTensor, writeModels } from "../generated-models.ts";
import { type MethodVariant, oneOfEach, recipeOf } from "../method-variants.ts";

const shapes = [[301, 129], [65_536 + 4321], [511, 129]];
const tensors = shapes.map(
  (shape, k): GeneratedTensor => ({ name: `t${k}`, shape, dtypes: ["BF16"], style: "quantised", models: "steps" }),
);

const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-merged-"));
const models = join(scratch, "models");
beforeAll(() => writeModels(models, 900, tensors));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const outerRecipe = (inner: string) => `
merge_method: task_arithmetic
base_model: base
dtype: float32
models:
  - {model: ${inner}, parameters: {weight: 0.7}}
  - {model: three, parameters: {weight: -0.2}}
`;

async function prepared(recipe: string) {
  const store = new FileStore({ blocking: true });
  return prepareText(store, recipe, "recipe.yml", {
    ...{ seed: "7", sliceBytes: 2 ** 30, shardBytes: 2 ** 40, allowNonfinite: false, allowUnknownKeys: false },
    ...{ modelsRoot: placeOf(models), cwd: placeOf(models), environment: {} },
  });
}

/** The outer recipe on tasks whose first model is the inner task, all in one worker, in ranges of so many blocks. */
async function fused(inner: string, dtype: string, blocks: number, device: Device) {
  const inners = await prepared(inner);
  const outers = await prepared(outerRecipe("one"));
  // The inputs of both, those of the inner recipe first.
  const shift = inners.inputs.length;
  const tasks = outers.plan.tasks.map((task): TensorTask => {
    const made = inners.plan.tasks.find(({ name }) => name === task.name)!;
    const moved = <S extends object>(source: S) => ({ ...source, input: (source as { input: number }).input + shift });
    const source: MergedSource = {
      kind: "merged",
      tensor: task.name,
      dtype: made.dtype,
      storedRowLength: made.shape.at(-1)!,
      task: made,
    };
    const [first, ...others] = task.models;
    const { index, parameters } = first!;
    return { ...task, base: moved(task.base!), models: [{ ...source, index, parameters }, ...others.map(moved)] };
  });
  const arena = device.open(2 ** 28);
  const out = join(scratch, `fused-${dtype}-${blocks}-${device.name}`);
  const store = new FileStore({ blocking: true });
  const job = {
    seed: { low: 7, high: 0 },
    allowNonfinite: false,
    inputs: [...inners.inputs, ...outers.inputs],
    shardPaths: [placeOf(out)],
  };
  const budget = {
    rangeElements: blocks * 66_000,
    spareBytes: 0,
    heldBytes: 0,
    pieceElements: 1000 * blocks,
    openFilesMax: 16,
  };
  const hooks = { grant: async () => true, pause: async () => {} };
  const worker = new SliceWorker(arena, store, job, budget, hooks);
  const results = new Map<string, Buffer>();
  for (const [index, task] of tasks.entries()) {
    const { elementCount } = geometryOfTask(task);
    const parts = [{ task: index, part: 0, partCount: 1, firstElement: 0, elementCount }];
    const slice: Slice = { id: "s" as SliceId, shard: 0, offsetBytes: 0, sizeBytes: 4 * elementCount, parts };
    const work = {
      kind: "slice",
      slice,
      tasks: [task],
      verdicts: [undefined],
      audit: false,
      unit: "s" as UnitId,
      attempt: 1,
    } as const;
    const written = await worker.execute(work);
    await written!.durable;
    results.set(task.name, readFileSync(out).subarray(0, 4 * elementCount));
  }
  await worker.close();
  return results;
}

const withDtype = (variant: MethodVariant, dtype: string) =>
  recipeOf({ ...variant, models: variant.models.slice(0, 2) }, dtype);

test.each(
  oneOfEach.map((variant, k) => ({ variant, title: variant.title, dtype: k % 2 === 0 ? "bfloat16" : "float32" })),
)(
  "a fused chain has the bits of two merges, the first one written and read back: $title in $dtype",
  async ({ variant, dtype }) => {
    const inner = withDtype(variant, dtype);
    const settings = { models, seed: "7" };
    const folder = join(models, `inner-${variant.title.replaceAll(/\W+/g, "-")}`);
    await mergedTensors(inner, folder, settings);
    const outer = outerRecipe(folder.slice(models.length + 1));
    const expected = (await mergedTensors(outer, `${folder}-outer`, settings)).tensors;
    const wasm = await openDevice("wasm");
    for (const [blocks, device] of [
      [1, wasm],
      [3, wasm],
      [100, await openDevice("reference")],
      [1, new AsynchronousDevice(wasm, { latencyMs: 0 })],
      [100, new AsynchronousDevice(wasm, { latencyMs: 0 })],
    ] as const) {
      const found = await fused(inner, dtype, blocks, device);
      for (const [name, { bytes }] of expected)
        expect(found.get(name)!.equals(bytes), `${name}, ${blocks} ${device.name}`).toBe(true);
    }
  },
);

test("blocks of an inner task that is no more than element-wise stay on a device that computes by itself", async () => {
  const linear = oneOfEach.find(({ title }) => title.startsWith("linear"))!;
  const device = new AsynchronousDevice(await openDevice("wasm"));
  await fused(withDtype(linear, "float32"), "float32", 100, device);
  // Of three tensors: what is written, in one window each, and whether it is finite along with it.
  expect(device.asked.waits).toBe(3);
});
