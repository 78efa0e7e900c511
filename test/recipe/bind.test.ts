import { expect, test } from "vitest";
import type { Checkpoint } from "../../checkpoint/index.ts";
import type { StoredSource, TensorSource } from "../../merge/work/index.ts";
import { type Binding, type BindOptions, bindRecipe, labelsFor, referencedModels } from "../../recipe/index.ts";
import { checkpointOf, type TensorShape, tinyLlama } from "./checkpoints.ts";
import { methods, parse, summaryOf } from "./parsing.ts";

/** Which input of the plan it is stored in. */
const inputOf = (source: TensorSource | undefined) => (source as StoredSource | undefined)?.input;

/** Binds a recipe to made-up models, by the path that names them. Faults of the text count as well. */
function bind(
  text: string,
  models: Record<string, readonly TensorShape[] | Checkpoint>,
  options: Partial<BindOptions> = {},
): Binding {
  const { recipe, faults } = parse(text);
  if (recipe === undefined) throw new Error(summaryOf(faults).join("\n"));
  const references = referencedModels(recipe);
  const labels = labelsFor(references);
  const inputs = references.map((reference) => {
    const model = models[reference.path];
    if (model === undefined) throw new Error(`no model ${reference.path}`);
    const checkpoint = "tensors" in model ? model : checkpointOf(model);
    return { reference, label: labels.get(reference.text) ?? "", checkpoint };
  });
  const binding = bindRecipe(recipe, inputs, { methods, ...options });
  return { ...binding, faults: [...faults, ...binding.faults] };
}

const names = ({ tasks }: Binding) => tasks.map(({ name }) => name);
const taskOf = ({ tasks }: Binding, name: string) => tasks.find((task) => task.name === name);
const weightsAt = (binding: Binding, name: string) =>
  taskOf(binding, name)?.models.map(({ parameters }) => parameters.weight);

const linear = (...models: string[]) =>
  `merge_method: linear\nparameters: {weight: 1}\nmodels: [${models.map((model) => `{model: ${model}}`).join(", ")}]\n`;
const taskArithmetic = (...models: string[]) =>
  `${linear(...models).replace("linear", "task_arithmetic")}base_model: base\n`;

test("tensors come out in the order pre, layers, post, whatever the order of the file", () => {
  const shuffled = tinyLlama(11).toReversed();
  const binding = bind(linear("a", "b"), { a: shuffled, b: tinyLlama(11) });
  expect(binding.faults).toEqual([]);
  expect(names(binding)).toEqual([
    "model.embed_tokens.weight",
    ...Array.from({ length: 11 }, (_, i) => [
      `model.layers.${i}.self_attn.q_proj.weight`,
      `model.layers.${i}.mlp.up_proj.weight`,
    ]).flat(),
    "lm_head.weight",
    "model.norm.weight",
  ]);
  expect(binding).toMatchObject({ layerCount: 11, definingInput: 0, embeddingRows: 10, notes: [], warnings: [] });
});

test("a task says where the bytes of each model lie", () => {
  const b = checkpointOf([["extra", [3]], ...tinyLlama(1, 10, "F16")]);
  const binding = bind(linear("a", "b"), { a: tinyLlama(1), b });
  const entry = b.tensors.get("model.norm.weight");
  expect(taskOf(binding, "model.norm.weight")).toMatchObject({
    kind: "merge",
    method: "linear",
    dtype: "BF16",
    shape: [4],
    parameters: { normalize: true },
    models: [
      { input: 0, index: 0 },
      {
        input: 1,
        index: 1,
        file: 0,
        tensor: "model.norm.weight",
        dtype: "F16",
        offsetBytes: entry?.offsetBytes,
        storedRowLength: 4,
      },
    ],
  });
  expect(binding.notes).toEqual([{ tensor: "extra", input: "b", reason: 'skipped: "a" lacks it' }]);
  expect(summaryOf(binding.warnings)).toEqual([
    'partly-used 3:22 93.6 % of what the recipe takes of "b" is used: 1 tensor that "a" lacks (extra)',
  ]);
});

test("a gradient of lambda scales by depth as LiNeS does, and the head by a condition", () => {
  const lines = `${taskArithmetic("a")}parameters: {weight: 1, lambda: [{filter: lm_head, value: 2}, {value: [0.25, 1]}]}\n`;
  const binding = bind(lines.replace("parameters: {weight: 1}\n", ""), { a: tinyLlama(4), base: tinyLlama(4) });
  expect(binding.faults).toEqual([]);
  const lambdaOf = (name: string) => taskOf(binding, name)?.parameters.lambda;
  // alpha + beta * l / (L - 1) with alpha 0.25, beta 0.75
  expect([0, 1, 2, 3].map((layer) => lambdaOf(`model.layers.${layer}.mlp.up_proj.weight`))).toEqual([
    0.25, 0.5, 0.75, 1,
  ]);
  expect(["model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"].map(lambdaOf)).toEqual([0.25, 2, 0.25]);
});

test("gradients follow the layers of the range; a range of one layer is at 1, what has no layer at 0", () => {
  const gradient = linear("a", "b").replace("weight: 1", "weight: [0, 1]");
  const whole = bind(gradient, { a: tinyLlama(3), b: tinyLlama(3) });
  const at = (name: string) => weightsAt(whole, name)?.[0];
  expect([0, 1, 2].map((layer) => at(`model.layers.${layer}.mlp.up_proj.weight`))).toEqual([0, 0.5, 1]);
  expect([at("model.embed_tokens.weight"), at("lm_head.weight")]).toEqual([0, 0]);
  const one = bind(gradient, { a: tinyLlama(1), b: tinyLlama(1) });
  expect(weightsAt(one, "model.layers.0.mlp.up_proj.weight")).toEqual([1, 1]);
});

test("a parameter is looked up at the source, then the slice, then the recipe, then the default", () => {
  const binding = bind(
    `merge_method: linear
parameters: {weight: 3, normalize: false}
slices:
  - sources:
      - {model: a, layer_range: [0, 1], parameters: {weight: {filter: mlp, value: 1}}}
      - {model: b, layer_range: [0, 1]}
    parameters: {weight: {filter: attn, value: 2}, normalize: {filter: mlp, value: true}}
  - sources:
      - {model: a, layer_range: [0, 1]}
      - {model: b, layer_range: [0, 1]}
`,
    { a: tinyLlama(1), b: tinyLlama(1) },
  );
  expect(binding.faults).toEqual([]);
  expect(weightsAt(binding, "model.layers.0.mlp.up_proj.weight")).toEqual([1, 3]);
  expect(weightsAt(binding, "model.layers.0.self_attn.q_proj.weight")).toEqual([2, 2]);
  expect(weightsAt(binding, "model.layers.1.self_attn.q_proj.weight")).toEqual([3, 3]);
  expect(taskOf(binding, "model.layers.0.mlp.up_proj.weight")?.parameters).toEqual({ normalize: true });
  expect(taskOf(binding, "model.layers.0.self_attn.q_proj.weight")?.parameters).toEqual({ normalize: false });
});

test("filters see the input's name for a model's parameters and the output's for global ones", () => {
  const binding = bind(
    `merge_method: linear
parameters:
  weight: [{filter: layers.2., value: 0.25}, {value: 1}]
  normalize: [{filter: layers.2., value: false}, {value: true}]
slices:
  - sources: [{model: a, layer_range: [2, 3]}, {model: b, layer_range: [0, 1]}]
`,
    { a: tinyLlama(3), b: tinyLlama(3) },
  );
  const task = taskOf(binding, "model.layers.0.mlp.up_proj.weight");
  expect(task?.models.map(({ tensor, parameters }) => [tensor, parameters.weight])).toEqual([
    ["model.layers.2.mlp.up_proj.weight", 0.25],
    ["model.layers.0.mlp.up_proj.weight", 1],
  ]);
  expect(task?.parameters.normalize).toBe(true);
});

test("a stack numbers its layers anew, takes what precedes them from the first slice and what follows from the last", () => {
  const binding = bind(
    `merge_method: passthrough
slices:
  - sources: [{model: a, layer_range: [0, 2]}]
  - sources: [{model: b, layer_range: [1, 3]}]
`,
    { a: tinyLlama(4), b: tinyLlama(3) },
  );
  expect(binding.faults).toEqual([]);
  expect(binding).toMatchObject({ layerCount: 4, definingInput: 0 });
  const from = (name: string) => taskOf(binding, name)?.models.map((one) => [inputOf(one), one.tensor]);
  expect(from("model.layers.3.mlp.up_proj.weight")).toEqual([[1, "model.layers.2.mlp.up_proj.weight"]]);
  expect(from("model.embed_tokens.weight")).toEqual([[0, "model.embed_tokens.weight"]]);
  expect(from("lm_head.weight")).toEqual([[1, "lm_head.weight"]]);
});

test("a stack whose embedding and head would differ in rows is refused", () => {
  const text = `merge_method: passthrough
slices:
  - sources: [{model: a, layer_range: [0, 1]}]
  - sources: [{model: b, layer_range: [0, 1]}]
`;
  const { faults } = bind(text, { a: tinyLlama(1, 10), b: tinyLlama(1, 12) });
  expect(summaryOf(faults)).toEqual([expect.stringMatching(/^embedding-rows 4:5 .*10 rows.*lm_head.weight 12$/)]);
});

test("a delta method keeps the base apart, wherever it is listed, and counts models without it", () => {
  const binding = bind(taskArithmetic("a", "base", "b"), { base: tinyLlama(1), a: tinyLlama(1), b: tinyLlama(1) });
  const task = taskOf(binding, "model.norm.weight");
  expect(inputOf(task?.base)).toBe(0);
  expect(task?.models.map((one) => [inputOf(one), one.index])).toEqual([
    [1, 0],
    [2, 1],
  ]);
  expect(task?.baseIndex).toBeUndefined();
});

test("of a base that stands twice the first entry is the base, the other a model", () => {
  const binding = bind(
    `merge_method: task_arithmetic
base_model: base
parameters: {weight: 1}
slices:
  - sources:
      - {model: base, layer_range: [0, 1]}
      - {model: base, layer_range: [1, 2]}
`,
    { base: tinyLlama(2) },
  );
  expect(binding.faults).toEqual([]);
  const task = taskOf(binding, "model.layers.0.mlp.up_proj.weight");
  expect(task?.base?.tensor).toBe("model.layers.0.mlp.up_proj.weight");
  expect(task?.models.map(({ tensor, index }) => [tensor, index])).toEqual([["model.layers.1.mlp.up_proj.weight", 0]]);
});

test("slerp has its base among the models and says which it is", () => {
  const slerp = (...models: string[]) =>
    `${linear(...models)
      .replace("linear", "slerp")
      .replace("weight: 1", "t: 0.5")}base_model: base\n`;
  const models = { base: tinyLlama(1), a: tinyLlama(1) };
  for (const [listed, inputs, baseIndex] of [
    [["base", "a"], [0, 1], 0],
    [["a", "base"], [1, 0], 1],
    [["a"], [1, 0], 1],
  ] as const) {
    const task = taskOf(bind(slerp(...listed), models), "model.norm.weight");
    expect([task?.models.map(inputOf), task?.baseIndex, task?.base]).toEqual([inputs, baseIndex, undefined]);
  }
});

test("a model that lacks an optional tensor takes no part, and the others keep their index", () => {
  const bias: TensorShape = ["model.layers.0.mlp.up_proj.bias", [6]];
  const with_ = [...tinyLlama(1), bias];
  const binding = bind(taskArithmetic("a", "b"), { base: with_, a: tinyLlama(1), b: with_ });
  expect(binding.faults).toEqual([]);
  expect(taskOf(binding, bias[0])?.models.map((one) => [inputOf(one), one.index])).toEqual([[2, 1]]);
  expect(binding.notes).toEqual([
    { tensor: bias[0], input: "a", reason: "takes no part: it lacks this optional tensor" },
  ]);
  // Of a bias that is not what its layer computes: it counts as 0 there, and is not merged as such.
  expect(summaryOf(binding.warnings)).toEqual([`missing-tensor 3:10 "a" lacks ${bias[0]}: it takes no part in it`]);
  const alone = bind(taskArithmetic("a", "b"), { base: with_, a: tinyLlama(1), b: tinyLlama(1) });
  expect(summaryOf(alone.warnings)).toEqual([
    `missing-tensor 3:10 "a" lacks ${bias[0]}: it stays that of "base" alone`,
    expect.stringContaining('"b" lacks'),
  ]);
});

test("an optional tensor in too few models is left out, one that only the base has is copied", () => {
  const bias: TensorShape = ["model.layers.0.mlp.up_proj.bias", [6]];
  const with_ = [...tinyLlama(1), bias];
  const text = "merge_method: model_stock\nbase_model: base\nmodels: [{model: a}, {model: b}]\n";
  const few = bind(text, { base: with_, a: tinyLlama(1), b: with_ });
  expect(few.faults).toEqual([]);
  expect(names(few)).not.toContain(bias[0]);
  expect(few.warnings.map(({ code }) => code).sort()).toEqual(["recipe/missing-tensor", "recipe/tensor-skipped"]);
  const none = bind(text, { base: with_, a: tinyLlama(1), b: tinyLlama(1) });
  expect(taskOf(none, bias[0])).toMatchObject({ kind: "copy", base: { input: 0 }, models: [] });
  expect(none.notes).toEqual([{ tensor: bias[0], input: "base", reason: "only the base has it" }]);
});

test("a missing required tensor is a fault that names model and tensor, told once for each model", () => {
  const gaps = tinyLlama(2).filter(([name]) => !name.includes("q_proj"));
  const { faults } = bind(linear("a", "b", "c"), { a: tinyLlama(2), b: gaps, c: tinyLlama(2) });
  expect(summaryOf(faults)).toEqual([
    'missing-tensor 3:22 "b" lacks model.layers.0.self_attn.q_proj.weight, which "a" has (and 1 more tensor)',
  ]);
});

test("of a missing head for one task the hint says how to go without it", () => {
  const head: TensorShape[] = [
    ["cls.seq_relationship.weight", [2, 4]],
    ["cls.seq_relationship.bias", [2]],
  ];
  const models = { a: [...tinyLlama(2), ...head], b: tinyLlama(2) };
  const { faults } = bind(linear("a", "b"), models);
  expect(faults.map(({ message }) => message)).toEqual(['"b" lacks cls.seq_relationship.weight, which "a" has']);
  expect(faults[0]?.hint).toContain('name "b" first (or as base_model)');
  expect(bind(linear("b", "a"), models).faults).toEqual([]);
  const { faults: both } = bind(linear("a", "b"), { ...models, b: tinyLlama(2).slice(0, -2) });
  expect(both.map(({ hint }) => /first \(or/.test(hint))).toEqual(expect.arrayContaining([true, false]));
});

test("models whose files are in different formats are told, where both say in which", () => {
  const of = (format?: string): Checkpoint => ({
    ...checkpointOf(tinyLlama(1)),
    ...(format !== undefined && { metadata: new Map([["format", format]]) }),
  });
  const told = (models: Record<string, Checkpoint>) =>
    bind(linear("a", "b", "c"), models).warnings.map(({ code, message }) => `${code} ${message}`);
  expect(told({ a: of("pt"), b: of("mlx"), c: of() })).toEqual([
    'recipe/configs-disagree the files of "b" are in the format "mlx", those of "a" in "pt"',
  ]);
  expect(told({ a: of("mlx"), b: of("mlx"), c: of() })).toEqual([]);
  const unclear = { ...of("mlx"), unclearMetadata: ["format"] };
  expect(told({ a: unclear, b: of("pt"), c: of("pt") })).toEqual([]);
});

test("a missing parameter names parameter, model and the first tensor, and counts the others", () => {
  const text =
    "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: {filter: mlp, value: 1}}}\n  - model: b\n";
  const { faults } = bind(text, { a: tinyLlama(1), b: tinyLlama(1) });
  expect(summaryOf(faults)).toEqual([
    'missing-parameter 3:5 linear needs "weight" for "a", which is not set for model.embed_tokens.weight (and 3 more tensors)',
    'missing-parameter 4:5 linear needs "weight" for "b", which is not set for model.embed_tokens.weight (and 4 more tensors)',
  ]);
  const slerp = "merge_method: slerp\nbase_model: a\nmodels: [{model: b}]\n";
  expect(summaryOf(bind(slerp, { a: tinyLlama(1), b: tinyLlama(1) }).faults)).toEqual([
    'missing-parameter 1:1 slerp needs "t", which is not set for model.embed_tokens.weight (and 4 more tensors)',
  ]);
});

test("a parameter that was misspelt or of a wrong type is not reported missing as well", () => {
  const text =
    "merge_method: linear\nmodels:\n  - {model: a, parameters: {wieght: 1}}\n  - {model: b, parameters: {weight: x}}\n";
  const { faults } = bind(text, { a: tinyLlama(1), b: tinyLlama(1) });
  expect(faults.map(({ code }) => code)).toEqual(["recipe/unknown-key", "recipe/wrong-type"]);
});

test("values that do not go together are told once for each model", () => {
  const text = `merge_method: della
base_model: base
models:
  - {model: a, parameters: {weight: 1, density: 0.5, epsilon: 0.6}}
  - {model: b, parameters: {weight: 1, density: 0.5, epsilon: 0.4}}
`;
  const { faults } = bind(text, { base: tinyLlama(2), a: tinyLlama(2), b: tinyLlama(2) });
  expect(faults).toHaveLength(1);
  expect(faults[0]).toMatchObject({ code: "recipe/conflicting-parameters", line: 4 });
  expect(faults[0]?.message).toMatch(/^"a", model.embed_tokens.weight: .*\(and 6 more tensors\)$/);
});

test("values are checked together only where none of them is missing or faulty", () => {
  const method = methods.get("task_arithmetic");
  if (method === undefined) throw new Error("task_arithmetic is a method");
  const asking = new Map([["task_arithmetic", { ...method, check: () => "were asked" }]]);
  const text = `merge_method: task_arithmetic
base_model: base
models: [{model: base}, {model: base}, {model: base, parameters: {weight: 1}}]
`;
  const { recipe } = parse(text);
  const inputs = referencedModels(recipe!).map((reference) => {
    return { reference, label: "base", checkpoint: checkpointOf(tinyLlama(1)) };
  });
  expect(bindRecipe(recipe!, inputs, { methods: asking }).faults.map(({ code, column }) => [code, column])).toEqual([
    ["recipe/missing-parameter", 25],
    ["recipe/conflicting-parameters", 40],
  ]);
});

test("a layer range past the end is a fault, and what else is wrong is told with it", () => {
  const text = `merge_method: linear
slices:
  - sources:
      - {model: a, layer_range: [2, 6]}
      - {model: b, layer_range: [0, 4], parameters: {weight: 1}}
`;
  const { faults } = bind(text, { a: tinyLlama(4), b: tinyLlama(4) });
  expect(summaryOf(faults)).toEqual([
    expect.stringMatching(/^missing-parameter 4:9 linear needs "weight" for "a"/),
    'layer-range 4:33 layer_range [2, 6] goes past the end of "a", which has 4 layers',
  ]);
});

test("models of unlike depth cannot be merged whole", () => {
  const { faults } = bind(linear("a", "b"), { a: tinyLlama(2), b: tinyLlama(3) });
  expect(summaryOf(faults)).toEqual(['layer-range 3:22 "b" has 3 layers under model.layers, "a" has 2']);
});

test("slices of a model without layers, or with several stacks of them, are refused", () => {
  const text = "merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: [0, 1]}]}]\n";
  expect(bind(text, { a: [["weight", [4]]] }).faults).toMatchObject([{ code: "recipe/layer-range" }]);
  const towers: TensorShape[] = [...tinyLlama(1), ["vision.blocks.0.weight", [4]]];
  expect(bind(text, { a: towers }).faults).toMatchObject([{ code: "recipe/layer-range" }]);
});

test("whole models of several stacks are merged stack by stack, each with its own depth", () => {
  const vision = Array.from({ length: 3 }, (_, i): TensorShape => [`vision.blocks.${i}.weight`, [4]]);
  const model = [...vision, ...tinyLlama(2)];
  const binding = bind(linear("a", "b").replace("weight: 1", "weight: [0, 1]"), { a: model, b: model });
  expect(binding.faults).toEqual([]);
  const at = (name: string) => weightsAt(binding, name)?.[0];
  expect([0, 1, 2].map((i) => at(`vision.blocks.${i}.weight`))).toEqual([0, 0.5, 1]);
  expect([0, 1].map((i) => at(`model.layers.${i}.mlp.up_proj.weight`))).toEqual([0, 1]);
});

test("a model without layers is merged as a whole", () => {
  const model: TensorShape[] = [["weight", [4]]];
  const binding = bind(linear("a", "b"), { a: model, b: model });
  expect([names(binding), binding.layerCount, binding.embeddingRows]).toEqual([["weight"], undefined, undefined]);
});

test("integer and empty tensors are copied from the base or first model, with a note", () => {
  const model: TensorShape[] = [...tinyLlama(1), ["ids", [4], "I64"], ["none", [0, 4]]];
  const binding = bind(`${taskArithmetic("a")}dtype: float32\n`, { base: model, a: model });
  expect(taskOf(binding, "ids")).toMatchObject({
    kind: "copy",
    dtype: "I64",
    base: { input: 0 },
    models: [],
    parameters: {},
  });
  expect(taskOf(binding, "none")).toMatchObject({ kind: "copy", dtype: "F32" });
  expect(binding.notes).toEqual([
    { tensor: "ids", input: "base", reason: "I64 tensors are copied, not merged" },
    { tensor: "none", input: "base", reason: "an empty tensor is copied" },
  ]);
});

test("integers where the base has floating point are a fault", () => {
  const quantised = tinyLlama(1).map(([name, shape]): TensorShape => [name, shape, "I8"]);
  const { faults } = bind(taskArithmetic("a"), { base: tinyLlama(1), a: quantised });
  expect(faults).toMatchObject([
    { code: "recipe/dtype-mismatch", message: expect.stringContaining("(and 4 more tensors)") },
  ]);
});

test.each([linear("a", "b"), `${linear("a", "b").replace("linear", "ties")}base_model: a\n`])(
  "vocabularies of different sizes are refused without a tokenizer key: %s",
  (text) => {
    for (const [a, b] of [
      [12, 10],
      [10, 12],
    ] as const) {
      const { faults } = bind(text, { a: tinyLlama(1, a), b: tinyLlama(1, b) });
      expect(summaryOf(faults)).toEqual([
        `vocabulary-size 3:22 "b" has ${b} rows in model.embed_tokens.weight, "a" has ${a} (and 1 more tensor)`,
      ]);
      expect(faults[0]?.hint).toMatch(/tokenizer_source: union.*tokenizer_source: base.*--cut-embeddings.* 10 rows/);
    }
  },
);

test("an output whose embedding has other rows than the model that gives config and tokenizer is refused", () => {
  const models = { a: tinyLlama(1, 12), b: tinyLlama(1, 12), base: tinyLlama(1, 10) };
  const text = `${linear("a", "b")}base_model: base\n`;
  const told = 'vocabulary-size 3:10 "a" has 12 rows in model.embed_tokens.weight, "base" has 10';
  expect(summaryOf(bind(text, models).faults)).toContainEqual(told);
  const cut = bind(text, models, { cutEmbeddings: true });
  expect(summaryOf(cut.faults)).not.toContainEqual(told);
  expect(summaryOf(cut.warnings)).toContainEqual(told);
});

test("with --cut-embeddings embeddings are cut to the rows that all have, base included", () => {
  const binding = bind(linear("a", "b"), { a: tinyLlama(1, 12), b: tinyLlama(1, 10) }, { cutEmbeddings: true });
  expect(binding.faults).toEqual([]);
  expect(taskOf(binding, "model.embed_tokens.weight")?.shape).toEqual([10, 4]);
  expect(binding.embeddingRows).toBe(10);
  expect(binding.notes).toContainEqual({ tensor: "lm_head.weight", input: "a", reason: "cut from [12, 4] to [10, 4]" });
  expect(binding.warnings.map(({ code }) => code)).toEqual(["recipe/tensor-cut"]);
});

test.each([
  [10, 12],
  [12, 10],
])("a delta method cuts as all do: a base of %i rows, a model of %i", (base, a) => {
  const cut = bind(taskArithmetic("a"), { base: tinyLlama(1, base), a: tinyLlama(1, a) }, { cutEmbeddings: true });
  expect([cut.faults, taskOf(cut, "lm_head.weight")?.shape, cut.embeddingRows]).toEqual([[], [10, 4], 10]);
});

test("columns of an embedding are never cut: a model of another hidden size is refused", () => {
  const embedding = (columns: number) =>
    tinyLlama(1).map(([name, shape]): TensorShape => [name, name.includes("embed") ? [10, columns] : shape]);
  for (const columns of [3, 5]) {
    const expected = `"a" has model.embed_tokens.weight of shape [10, ${columns}], "base" [10, 4]`;
    const models = { base: tinyLlama(1), a: embedding(columns) };
    expect(summaryOf(bind(taskArithmetic("a"), models).faults)[0]).toContain(expected);
    expect(summaryOf(bind(linear("base", "a"), models).faults)[0]).toContain(expected);
    expect(summaryOf(bind(linear("base", "a"), models, { cutEmbeddings: true }).faults)[0]).toContain(expected);
  }
});

test("of other shapes that differ, a delta method leaves the model out, others fail naming models and shapes", () => {
  const odd = tinyLlama(1).map(([name, shape]): TensorShape => [name, name.includes("up_proj") ? [6, 3] : shape]);
  const name = "model.layers.0.mlp.up_proj.weight";
  const skipped = bind(taskArithmetic("a", "b"), { base: tinyLlama(1), a: odd, b: tinyLlama(1) });
  expect([skipped.faults, taskOf(skipped, name)?.models.map(({ index }) => index)]).toEqual([[], [1]]);
  expect(skipped.warnings).toMatchObject([
    { code: "recipe/tensor-skipped", message: expect.stringContaining("[6, 3] instead of [6, 4]") },
  ]);
  const alone = bind(taskArithmetic("a"), { base: tinyLlama(1), a: odd });
  expect(taskOf(alone, name)).toMatchObject({ kind: "copy", base: { input: 0 } });
  expect(summaryOf(bind(linear("a", "b"), { a: tinyLlama(1), b: odd }).faults)).toEqual([
    `shape-mismatch 3:22 "b" has ${name} of shape [6, 3], "a" [6, 4]`,
  ]);
});

test("the output's dtype is out_dtype, else dtype, else that of the base or first source, tensor by tensor", () => {
  const models = { base: tinyLlama(1, 10, "F16"), a: tinyLlama(1, 10, "F32") };
  const dtypeOf = (text: string) => taskOf(bind(text, models), "model.norm.weight")?.dtype;
  expect(dtypeOf(taskArithmetic("a"))).toBe("F16");
  expect(dtypeOf(linear("a", "base"))).toBe("F32");
  const own = "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}]\nbase_model: base\n";
  expect(dtypeOf(own)).toBe("F16");
  expect(dtypeOf(`${linear("a")}dtype: bfloat16\n`)).toBe("BF16");
  expect(dtypeOf(`${linear("a")}dtype: bfloat16\nout_dtype: float64\n`)).toBe("F64");
});

test("a base that takes no part in linear still gives the config", () => {
  const binding = bind(`${linear("a", "b")}base_model: base\n`, {
    base: tinyLlama(1),
    a: tinyLlama(1),
    b: tinyLlama(1),
  });
  expect(binding.definingInput).toBe(0);
  expect(taskOf(binding, "model.norm.weight")?.models.map(inputOf)).toEqual([1, 2]);
});

test("a tensor beyond the reach of random masks is refused by the methods that draw them", () => {
  const huge: TensorShape[] = [["weight", [2 ** 18, 2 ** 17]]];
  const text = (method: string) =>
    `merge_method: ${method}\nbase_model: base\nmodels: [{model: a, parameters: {weight: 1, density: 0.5}}]\n`;
  for (const method of ["dare_ties", "dare_linear", "della", "della_linear"]) {
    expect(bind(text(method), { base: huge, a: huge }).faults).toMatchObject([{ code: "recipe/tensor-too-large" }]);
  }
  expect(bind(text("ties"), { base: huge, a: huge }).faults).toEqual([]);
  const largest: TensorShape[] = [["weight", [2 ** 17, 2 ** 17]]];
  expect(bind(text("dare_ties"), { base: largest, a: largest }).faults).toEqual([]);
});

test("layers beyond those that the config counts are at the end of every gradient", () => {
  const model = checkpointOf(tinyLlama(4), { num_hidden_layers: 3 });
  const binding = bind(linear("a", "b").replace("weight: 1", "weight: [0, 0.25, 1]"), { a: model, b: model });
  const at = (layer: number) => weightsAt(binding, `model.layers.${layer}.mlp.up_proj.weight`)?.[0];
  expect([at(1), at(2), at(3), binding.layerCount]).toEqual([0.25, 1, 1, 3]);
});

test("a fine-tune without the layers beyond the count has the depth of its base; with fewer that count it has not", () => {
  const config = { num_hidden_layers: 3, num_nextn_predict_layers: 1 };
  const [base, shorn] = [checkpointOf(tinyLlama(4), config), checkpointOf(tinyLlama(3), config)];
  const text = "merge_method: task_arithmetic\nbase_model: base\nmodels: [{model: a, parameters: {weight: 1}}]\n";
  const { faults, warnings, tasks } = bind(text, { base, a: shorn });
  expect([faults, warnings.map(({ code }) => code)]).toEqual([[], ["recipe/missing-tensor"]]);
  const kindAt = (layer: number) => tasks.find(({ name }) => name === `model.layers.${layer}.mlp.up_proj.weight`)?.kind;
  expect([kindAt(2), kindAt(3)]).toEqual(["merge", "copy"]);
  const reverse = bind(text, { base: shorn, a: base });
  expect([reverse.faults, reverse.tasks.some(({ name }) => name.includes("layers.3."))]).toEqual([[], false]);
  const other = bind(text, { base, a: checkpointOf(tinyLlama(4), { num_hidden_layers: 4 }) });
  expect(other.faults).toMatchObject([{ message: '"a" has 4 layers under model.layers, "base" has 3' }]);
});

test("sinusoids that models of a type compute may be missing in one, and are copied; a learned table of that name may not", () => {
  const seq2seq = (model_type: string, isStored: boolean) =>
    checkpointOf(
      [
        ["model.shared.weight", [10, 4]],
        ...(isStored ? [["model.encoder.embed_positions.weight", [8, 4]] as TensorShape] : []),
        ["model.encoder.layers.0.fc1.weight", [6, 4]],
        ["model.decoder.layers.0.fc1.weight", [6, 4]],
      ],
      { model_type, encoder_layers: 1, decoder_layers: 1, vocab_size: 10 },
    );
  const bound = (type: string, ...stored: readonly [boolean, boolean]) =>
    bind(linear("a", "b"), { a: seq2seq(type, stored[0]), b: seq2seq(type, stored[1]) });
  const marian = bound("marian", true, false);
  expect([marian.faults, marian.warnings]).toEqual([[], []]);
  expect(taskOf(marian, "model.encoder.embed_positions.weight")?.kind).toBe("copy");
  const turned = bound("marian", false, true);
  expect([turned.faults, turned.warnings, turned.tasks.length]).toEqual([[], [], 3]);
  expect(bound("bart", true, false).faults.map(({ code }) => code)).toEqual(["recipe/missing-tensor"]);
});

test("constants of the code that older checkpoints hold are copied in their own dtype", () => {
  const constants: TensorShape[] = [
    ["model.layers.0.attn.masked_bias", [], "F32"],
    ["model.layers.0.self_attn.rotary_emb.inv_freq", [4], "F32"],
  ];
  const binding = bind(`${linear("a", "b")}dtype: float16\n`, {
    a: [...tinyLlama(1), ...constants],
    b: [...tinyLlama(1), ...constants],
  });
  for (const [name] of constants)
    expect(taskOf(binding, name)).toMatchObject({ kind: "copy", dtype: "F32", models: [] });
  expect(taskOf(binding, "model.norm.weight")).toMatchObject({ kind: "merge", dtype: "F16" });
  expect([binding.faults, binding.warnings]).toEqual([[], []]);
});

/** Two layers, and what predicts further tokens: as DeepSeek and GLM store it, and as Qwen3-Next does. */
const aheadModels = (count: object): Record<string, Checkpoint> => {
  const config = { num_hidden_layers: 2, ...count };
  const named: TensorShape[] = [
    ["mtp.fc.weight", [4, 8]],
    ["mtp.layers.0.mlp.up_proj.weight", [6, 4]],
  ];
  return {
    beyond: checkpointOf(tinyLlama(3), config),
    named: checkpointOf([...tinyLlama(2), ...named], config),
    shorn: checkpointOf(tinyLlama(2), config),
  };
};

const mixed: readonly ((one: string, two: string) => string)[] = [
  (one, two) =>
    `merge_method: linear\nparameters: {weight: 0.5, normalize: false}\nmodels: [{model: ${one}}, {model: ${two}}]\n`,
  (one, two) =>
    `merge_method: slerp\nbase_model: ${one}\nparameters: {t: 0.5}\nmodels: [{model: ${one}}, {model: ${two}}]\n`,
  (one, two) =>
    `merge_method: task_arithmetic\nbase_model: ${one}\nparameters: {weight: 1}\nmodels: [{model: ${one}}, {model: ${two}}]\n`,
  (one, two) =>
    `merge_method: linear\nparameters: {weight: 1}\nslices:\n  - sources: [{model: ${one}, layer_range: [0, 2]}, {model: ${two}, layer_range: [0, 2]}]\n`,
];

test.each(["beyond", "named"].flatMap((first) => mixed.map((text) => [first, text("A", "B"), text] as const)))(
  "layers that predict further tokens, which one model lacks, are copied from the first with one warning: %s, %s",
  (first, _, text) => {
    const models = aheadModels({ num_nextn_predict_layers: 1 });
    const { faults, warnings, tasks } = bind(text(first, "shorn"), models);
    expect(faults).toEqual([]);
    const told = warnings.filter(({ message }) => message.includes("predict further tokens"));
    expect(told.map(({ code }) => code)).toEqual(["recipe/missing-tensor"]);
    const ahead = tasks.filter(({ name }) => name.includes("layers.2.") || name.startsWith("mtp."));
    expect(ahead.map(({ kind }) => kind)).toEqual(["copy", "copy"]);
    const reverse = bind(text("shorn", first), models);
    expect([reverse.faults, reverse.tasks.some(({ name }) => /layers\.2\.|^mtp/.test(name))]).toEqual([[], false]);
  },
);
