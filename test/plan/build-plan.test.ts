import { join } from "node:path";
import { expect, test } from "vitest";
import { canonicalJson, type Plan } from "../../merge/work/index.ts";
import { buildPlan, estimateOf, largestTensorBytes, PlanError, planDigest, SURVEY_ELEMENTS } from "../../plan/index.ts";
import { type PrepareOptions, prepareText } from "../../prepare/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { type WriteTensor, writeSafetensors } from "../support/write-safetensors.ts";
import { taskOf } from "./made-up-tasks.ts";

const TIES = `merge_method: ties
base_model: base
parameters: {density: 0.5, normalize: true}
models:
  - {model: one, parameters: {weight: 0.3}}
  - {model: two, parameters: {weight: 0.7}}
`;

function bf16(name: string, shape: readonly number[], fill = 0): WriteTensor {
  const bytes = new Uint8Array(2 * shape.reduce((product, size) => product * size, 1)).fill(fill);
  return { name, dtype: "BF16", shape, bytes };
}

/** base, one and two in a fresh folder. */
function makeModels(tensors: (model: string) => WriteTensor[]): string {
  const folder = temporaryFolder();
  for (const model of ["base", "one", "two"])
    writeSafetensors(join(folder, model, "model.safetensors"), tensors(model));
  return folder;
}

const twoTensors = () => [bf16("embed.weight", [600, 256]), bf16("norm.weight", [256])];

const options = { sliceBytes: 2 ** 20, shardBytes: 2 ** 30, allowNonfinite: false, seed: "0" } as const;

async function planOf(recipe: string, folder: string, changes: Partial<PrepareOptions> = {}): Promise<Plan> {
  const prepared = await prepareText(new FileStore(), recipe, join(folder, "recipe.yml"), {
    ...options,
    allowUnknownKeys: false,
    cwd: placeOf(folder),
    environment: {},
    ...changes,
  });
  expect(prepared.digest).toBe(planDigest(prepared.plan));
  return prepared.plan;
}

test("the same recipe and headers give the same plan", async () => {
  const folder = makeModels(twoTensors);
  const [first, second] = [await planOf(TIES, folder), await planOf(TIES, folder)];
  expect(second).toEqual(first);
  expect(planDigest(second)).toBe(planDigest(first));
  // Journals and other machines get it as JSON.
  expect(planDigest(JSON.parse(JSON.stringify(first)))).toBe(planDigest(first));
});

test("the digest asks nothing of the order of keys, in a plan or in a recipe", async () => {
  const folder = makeModels(twoTensors);
  const plan = await planOf(TIES, folder);
  const reversed = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(reversed);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, item]) => [key, reversed(item)]),
    );
  };
  expect(JSON.stringify(reversed(plan))).not.toBe(JSON.stringify(plan));
  expect(planDigest(reversed(plan) as Plan)).toBe(planDigest(plan));

  const shuffled = `models:
  - parameters: {weight: 0.3}
    model: one
  - {parameters: {weight: 0.7}, model: two}
parameters: {normalize: true, density: 0.5}
base_model: base
merge_method: ties
`;
  expect(planDigest(await planOf(shuffled, folder))).toBe(planDigest(plan));
});

test("where the models lie is not in the plan: absolute paths, relative ones and a models root give one digest", async () => {
  const folder = makeModels(twoTensors);
  const plan = await planOf(TIES, folder);
  const absolute = TIES.replace("base_model: base", `base_model: ${join(folder, "base")}`)
    .replace("model: one", `model: ${join(folder, "one")}`)
    .replace("model: two", `model: ${join(folder, "two")}`);
  expect(planDigest(await planOf(absolute, folder))).toBe(planDigest(plan));
  expect(planDigest(await planOf(absolute, folder, { modelsRoot: placeOf(makeModels(twoTensors)) }))).toBe(
    planDigest(plan),
  );
  expect(JSON.stringify(await planOf(absolute, folder))).not.toContain(folder);
});

test("values behind the headers are not looked at", async () => {
  const digests = [0, 7].map(async (fill) => {
    const folder = makeModels(() => [bf16("embed.weight", [600, 256], fill), bf16("norm.weight", [256], fill)]);
    return planDigest(await planOf(TIES, folder));
  });
  expect(new Set(await Promise.all(digests)).size).toBe(1);
});

test("the digest changes with the seed, slice and shard size, --allow-nonfinite, the recipe and any header", async () => {
  const folder = makeModels(twoTensors);
  const otherShape = makeModels(() => [bf16("embed.weight", [601, 256]), bf16("norm.weight", [256])]);
  const otherOrder = makeModels((model) => (model === "two" ? twoTensors().reverse() : twoTensors()));
  const plans = [
    await planOf(TIES, folder),
    await planOf(TIES, folder, { seed: "1" }),
    // Beside what a double can tell apart.
    await planOf(TIES, folder, { seed: "9007199254740992" }),
    await planOf(TIES, folder, { seed: "9007199254740993" }),
    await planOf(TIES, folder, { sliceBytes: 2 ** 20 + 1 }),
    await planOf(TIES, folder, { shardBytes: 2 ** 30 + 1 }),
    await planOf(TIES, folder, { allowNonfinite: true }),
    await planOf(TIES.replace("0.3", "0.30000001"), folder),
    await planOf(TIES.replace("merge_method: ties", "merge_method: dare_ties"), folder),
    await planOf(TIES, otherShape),
    await planOf(TIES, otherOrder),
  ];
  expect(new Set(plans.map(planDigest)).size).toBe(plans.length);
});

test("canonical JSON sorts keys by code unit, writes numbers as JavaScript does and leaves out what is undefined", () => {
  const value = { b: [1e21, -0, 0.1, undefined], é: null, a: { z: undefined, B: "x\n", b: true }, Z: 1 };
  expect(canonicalJson(value)).toBe('{"Z":1,"a":{"B":"x\\n","b":true},"b":[1e+21,0,0.1,null],"é":null}');
});

test.each([
  ["sliceBytes", 0],
  ["sliceBytes", 1.5],
  ["shardBytes", -1],
  ["shardBytes", Number.NaN],
])("%s of %d is refused, naming it", (name, bytes) => {
  const sources = { recipe: {}, seed: "0", inputs: [], definingInput: 0, tasks: [], notes: [] };
  const build = () => buildPlan({ ...sources, options: { ...options, [name]: bytes } });
  expect(build).toThrow(PlanError);
  expect(build).toThrow(
    expect.objectContaining({ code: "plan/option", message: expect.stringContaining(`${name} is ${bytes}`) }),
  );
});

test("a merge that no weights can make is refused when it is planned", () => {
  const task = taskOf("norm.weight", [4], "F32");
  const models = task.models.map((model, k) => ({ ...model, parameters: { weight: k === 0 ? 1 : -1 } }));
  const sources = { recipe: {}, seed: "0", inputs: [], definingInput: 0, notes: [], options };
  expect(() => buildPlan({ ...sources, tasks: [{ ...task, models }] })).toThrow(
    expect.objectContaining({ code: "method/weights-sum-to-zero", message: expect.stringContaining("norm.weight") }),
  );
});

test("the estimate counts every byte that is read, as often as the method reads it", async () => {
  const elements = 600 * 256 + 256;
  const integers = { name: "position_ids", dtype: "I64", shape: [3], bytes: new Uint8Array(24) };
  const folder = makeModels(() => [...twoTensors(), integers]);
  const counts = { mergedTensors: 2, copiedTensors: 1, inputBytes: 3 * 2 * elements + 24 };

  const linear = await planOf(TIES.replace("ties", "task_arithmetic").replace("density: 0.5, ", ""), folder);
  expect(estimateOf(linear)).toMatchObject({ ...counts, readBytes: 3 * 2 * elements + 24, cutTensors: 0 });
  // Of both models, and of the base once, four runs of the sample that brackets the threshold.
  const samples = 3 * 2 * 4 * 1024;
  const ties = await planOf(TIES, folder);
  const rescaled = await planOf(TIES.replace("density: 0.5", "density: 0.5, rescale: true"), folder);
  // What there is room for is read once for all passes.
  const once = 3 * 2 * elements + 24 + samples;
  for (const plan of [ties, rescaled]) expect(estimateOf(plan)).toMatchObject({ ...counts, readBytes: once });
  // Else one pass is for the thresholds, one for the merge, and one for the sums behind the rescaling.
  const forgetting = (plan: Plan) => estimateOf(plan, SURVEY_ELEMENTS, 0).readBytes;
  expect(forgetting(ties)).toBe(6 * 2 * elements + 24 + samples);
  expect(forgetting(rescaled)).toBe(9 * 2 * elements + 24 + samples);

  const cut = await planOf(TIES, folder, { sliceBytes: 1 });
  expect(estimateOf(cut)).toMatchObject({ ...counts, cutTensors: 1 });
  expect(estimateOf(cut).writeBytes).toBe(cut.shards[0]!.dataOffsetBytes + 2 * elements + 24);
  expect(largestTensorBytes(cut)).toBe(2 * 600 * 256);
});

test("a tensor cut to the common vocabulary is planned in the cut shape", async () => {
  const rows = { base: 20, one: 22, two: 21 };
  const folder = makeModels((model) => [
    bf16("model.embed_tokens.weight", [rows[model as keyof typeof rows], 8]),
    bf16("model.norm.weight", [8]),
  ]);
  const plan = await planOf(TIES, folder, { cutEmbeddings: true });
  expect(plan.tasks.map(({ name, shape }) => [name, shape])).toEqual([
    ["model.embed_tokens.weight", [20, 8]],
    ["model.norm.weight", [8]],
  ]);
  expect(plan.notes.map(({ tensor, input }) => [tensor, input])).toEqual([
    ["model.embed_tokens.weight", "one"],
    ["model.embed_tokens.weight", "two"],
  ]);
});
