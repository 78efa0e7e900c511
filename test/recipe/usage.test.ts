import { expect, test } from "vitest";
import { usageOf } from "../../merge/work/index.ts";
import { type Binding, bindRecipe, labelsFor, referencedModels } from "../../recipe/index.ts";
import { bindModels } from "./binding.ts";
import { checkpointOf, type TensorShape, tinyLlama } from "./checkpoints.ts";
import { methods, parse, summaryOf } from "./parsing.ts";

function bind(text: string, models: Record<string, readonly TensorShape[]>): Binding {
  const { recipe, faults } = parse(text);
  if (recipe === undefined) throw new Error(summaryOf(faults).join("\n"));
  const references = referencedModels(recipe);
  const labels = labelsFor(references);
  const inputs = references.map((reference) => ({
    reference,
    label: labels.get(reference.text) ?? "",
    checkpoint: checkpointOf(models[reference.path] ?? []),
  }));
  return bindRecipe(recipe, inputs, { methods });
}

const sharesOf = (binding: Binding) =>
  Object.fromEntries(usageOf(binding).map(({ model, share, chosenElements }) => [model, [share, chosenElements]]));
const codesOf = (faults: Binding["faults"]) => faults.map(({ code }) => code);

/** Every method with a base, and its least parameters. */
const withBase = [
  ["task_arithmetic", ""],
  ["ties", ", density: 0.5"],
  ["dare_ties", ", density: 0.5"],
  ["breadcrumbs", ", density: 0.5, gamma: 0.1"],
  ["della", ", density: 0.5, epsilon: 0.1"],
  ["sce", ""],
  ["arcee_fusion", null],
] as const;
const recipeOf = (method: string, more: string | null) =>
  `merge_method: ${method}\nbase_model: base\nmodels: [{model: a${more === null ? "" : `, parameters: {weight: 1${more}}`}}]\n`;
/** Elements of a tinyLlama outside of the vocabulary: 24 + 16 a layer, and a norm. */
const weightsOf = (layers: number) => 40 * layers + 4;
const renamed = (tensors: readonly TensorShape[], change: (name: string) => string) =>
  tensors.map(([name, shape]): TensorShape => [change(name), shape]);

test.each(withBase)("%s: base and model contribute all, and a model that fits nowhere is refused", (method, more) => {
  const text = method === "sce" ? recipeOf(method, null) : recipeOf(method, more);
  const whole = bind(text, { base: tinyLlama(2), a: tinyLlama(2) });
  expect([whole.faults, sharesOf(whole)]).toEqual([[], { base: [1, weightsOf(2)], a: [1, weightsOf(2)] }]);
  const stranger = renamed(tinyLlama(2), (name) => name.replace("layers", "blocks").replace("proj", "matrix"));
  const { faults } = bind(text, { base: tinyLlama(2), a: stranger });
  expect(codesOf(faults)).toEqual(["recipe/unused-model"]);
  expect(faults[0]?.message).toContain('only 4.7 % of what the recipe takes of "a" is used');
});

test("a model of another size is refused, even where half of it would fit", () => {
  const wide = tinyLlama(2).map(([name, shape]): TensorShape => [name, name.includes("up_proj") ? [7, 4] : shape]);
  const tall = [...tinyLlama(2), ...[0, 1].map((k): TensorShape => [`model.layers.${k}.big.weight`, [40, 4]])];
  const tallWide = wide.concat(tall.slice(-2));
  const { faults } = bind(recipeOf("ties", ", density: 0.5"), { base: tall, a: tallWide });
  expect(faults).toMatchObject([
    {
      code: "recipe/shape-mismatch",
      message: '"a" is a model of another size: mlp.up_proj.weight has the shape [7, 4] in all of its 2 layers',
    },
  ]);
});

test("half is enough for a warning with share and reasons, less is a fault", () => {
  const extra = (elements: number): TensorShape[] => [...tinyLlama(2), ["model.extra.weight", [elements]]];
  const half = bind(recipeOf("ties", ", density: 0.5"), { base: tinyLlama(2), a: extra(weightsOf(2)) });
  expect(half.faults).toEqual([]);
  expect(summaryOf(half.warnings)).toContain(
    'partly-used 3:10 50.0 % of what the recipe takes of "a" is used: 1 tensor that "base" lacks (model.extra.weight)',
  );
  const less = bind(recipeOf("ties", ", density: 0.5"), { base: tinyLlama(2), a: extra(weightsOf(2) + 1) });
  expect(codesOf(less.faults)).toEqual(["recipe/unused-model"]);
});

test("the vocabulary does not count, unless nothing else is chosen", () => {
  const many = bind(recipeOf("ties", ", density: 0.5"), {
    base: tinyLlama(1, 500),
    a: renamed(tinyLlama(1, 500), (name) => name.replace("proj", "matrix")),
  });
  expect(codesOf(many.faults)).toEqual(["recipe/unused-model"]);
  const only: TensorShape[] = [["model.embed_tokens.weight", [8, 4]]];
  expect(sharesOf(bind(recipeOf("ties", ", density: 0.5"), { base: only, a: only }))).toEqual({
    base: [1, 32],
    a: [1, 32],
  });
});

test("slices choose layers: what lies outside of them is neither chosen nor missed", () => {
  const odd = renamed(tinyLlama(4), (name) => name.replace("layers.3.mlp.up_proj", "layers.3.mlp.strange"));
  const text = (end: number) => `merge_method: linear
parameters: {weight: 1}
slices:
  - sources: [{model: base, layer_range: [0, ${end}]}, {model: odd, layer_range: [0, ${end}]}]
`;
  const inside = bind(text(3), { base: tinyLlama(4), odd });
  expect([inside.faults, sharesOf(inside)]).toEqual([[], { base: [1, weightsOf(3)], odd: [1, weightsOf(3)] }]);
  const stacked = bind(
    `merge_method: passthrough
slices:
  - sources: [{model: base, layer_range: [0, 1]}]
  - sources: [{model: odd, layer_range: [1, 2]}]
  - sources: [{model: base, layer_range: [2, 4]}]
`,
    { base: tinyLlama(4), odd },
  );
  expect([stacked.faults, sharesOf(stacked)]).toEqual([[], { base: [1, weightsOf(3)], odd: [1, 40] }]);
});

test("modules choose their tensors, filters those with a weight", () => {
  const modules = `merge_method: linear
parameters: {weight: 1}
modules:
  model.layers: {models: [{model: base}, {model: a}]}
  default: {models: [{model: base}]}
`;
  expect(sharesOf(bind(modules, { base: tinyLlama(2), a: tinyLlama(2) }))).toEqual({
    base: [1, weightsOf(2)],
    a: [1, 80],
  });
  const filters = `merge_method: linear
models:
  - {model: base, parameters: {weight: 1}}
  - {model: a, parameters: {weight: [{filter: mlp, value: 1}, {value: 0}]}}
`;
  const filtered = bind(filters, { base: tinyLlama(2), a: tinyLlama(2) });
  expect([filtered.faults, codesOf(filtered.warnings), sharesOf(filtered)]).toEqual([
    [],
    ["recipe/zero-weight"],
    { base: [1, weightsOf(2)], a: [1, 48] },
  ]);
});

test.each([
  [
    "weight 0",
    "merge_method: linear\nmodels: [{model: base, parameters: {weight: 1}}, {model: a, parameters: {weight: 0}}]\n",
  ],
  ["weight 0", recipeOf("ties", ", density: 0.5").replace("weight: 1", "weight: 0")],
  [
    "weight 0",
    recipeOf("ties", ", density: 0.5").replace("weight: 1", "weight: [{filter: mlp, value: 0}, {value: [0, 0]}]"),
  ],
  ["lambda 0", `${recipeOf("ties", ", density: 0.5")}parameters: {lambda: 0}\n`],
  ["density 0", recipeOf("ties", ", density: 0")],
  ["t 0", "merge_method: slerp\nbase_model: base\nparameters: {t: 0}\nmodels: [{model: base}, {model: a}]\n"],
  ["t 0", "merge_method: nearswap\nbase_model: base\nparameters: {t: 0}\nmodels: [{model: a}]\n"],
  ["t 1", "merge_method: slerp\nbase_model: a\nparameters: {t: 1}\nmodels: [{model: base}, {model: a}]\n"],
])("%s: a model to which the recipe gives nothing is a warning", (why, text) => {
  const { faults, warnings } = bind(text, { base: tinyLlama(2), a: tinyLlama(2) });
  expect(faults).toEqual([]);
  expect(warnings.filter(({ code }) => code === "recipe/zero-weight").map(({ message }) => message)).toEqual([
    `"a" contributes nothing: ${why} wherever it takes part`,
  ]);
});

test.each([
  ["[{filter: mlp, value: 0}, {value: 1}]", 2, "the first model.layers.0.mlp.up_proj.weight"],
  ["[{filter: embed_tokens, value: 0}, {value: 1}]", 1, "model.embed_tokens.weight"],
  [
    "[{filter: mlp, value: [{filter: layers.0, value: 0}, {value: 1}]}, {value: 1}]",
    1,
    "model.layers.0.mlp.up_proj.weight",
  ],
])("a weight of 0 for some tensors is a warning: %s", (weight, count, which) => {
  const text = recipeOf("task_arithmetic", "").replace("weight: 1", `weight: ${weight}`);
  const { faults, warnings } = bind(text, { base: tinyLlama(2), a: tinyLlama(2) });
  expect(faults).toEqual([]);
  const found = warnings.filter(({ code }) => code === "recipe/zero-weight").map(({ message }) => message);
  expect(found).toEqual([expect.stringMatching(new RegExp(`"a" has the weight 0 for ${count} tensors? \\(${which}`))]);
});

test.each([
  ["weight", "parameters: {weight: [{filter: mlp, value: 0}, {value: 1}], density: 0.5}\n", ""],
  ["density", "parameters: {weight: 1, density: [{filter: mlp, value: 0}, {value: 1}]}\n", ""],
  ["density", "", ", parameters: {weight: 1, density: [{filter: mlp, value: 0}, {value: 1}]}"],
])("so is a %s of 0, of the model or for all: %s%s", (parameter, all, own) => {
  const text = `merge_method: ties\nbase_model: base\n${all}models: [{model: a${own}}]\n`;
  const { faults, warnings } = bind(text, { base: tinyLlama(2), a: tinyLlama(2) });
  expect(faults).toEqual([]);
  const found = warnings.filter(({ code }) => code === "recipe/zero-weight").map(({ message }) => message);
  expect(found).toEqual([
    `"a" has the ${parameter} 0 for 2 tensors (the first model.layers.0.mlp.up_proj.weight), and contributes nothing there`,
  ]);
});

test("models that take turns by gradients are none", () => {
  const { warnings } = bind(recipeOf("task_arithmetic", "").replace("weight: 1", "weight: [0, 1]"), {
    base: tinyLlama(2),
    a: tinyLlama(2),
  });
  expect(warnings).toEqual([]);
});

test("an output of which no model is a part would be zero, and is refused", () => {
  for (const text of [
    "merge_method: linear\nparameters: {weight: 0, normalize: false}\nmodels: [{model: base}, {model: a}]\n",
    "merge_method: passthrough\nmodels: [{model: a, parameters: {scale: 0}}]\n",
  ]) {
    const { faults } = bind(text, { base: tinyLlama(2), a: tinyLlama(2) });
    expect(codesOf(faults)).toEqual(["recipe/zero-weight"]);
  }
});

test("required tensors that are the base's alone are told, with the model that lacks them", () => {
  const holed = tinyLlama(2).filter(([name]) => name !== "model.layers.1.mlp.up_proj.weight");
  const held = bind(recipeOf("ties", ", density: 0.5"), { base: tinyLlama(2), a: holed });
  expect([held.faults, summaryOf(held.warnings)]).toEqual([
    [],
    ['missing-tensor 3:10 "a" lacks model.layers.1.mlp.up_proj.weight: it stays that of "base" alone'],
  ]);
});

test("of a chain every document is judged by itself", () => {
  const chain = `name: first
merge_method: linear
parameters: {weight: 1}
models: [{model: base}, {model: a}]
---
merge_method: linear
parameters: {weight: 1}
models: [{model: first}, {model: base}]
`;
  const binding = bind(chain, { base: tinyLlama(1), a: tinyLlama(1) });
  expect(usageOf(binding).map(({ model, share }) => [model, share])).toEqual([
    ["base", 1],
    ["a", 1],
    ["first", 1],
    ["base", 1],
  ]);
});

test("what a model computes by itself is no part of it: masks and frequencies that only one file stores are passed over quietly", () => {
  const computed: readonly TensorShape[] = [0, 1].flatMap((k): TensorShape[] => [
    [`model.layers.${k}.attn.bias`, [1, 1, 32, 32]],
    [`model.layers.${k}.attn.masked_bias`, []],
    [`model.layers.${k}.self_attn.rotary_emb.inv_freq`, [2]],
  ]);
  const models = { base: tinyLlama(2), a: [...tinyLlama(2), ...computed] };
  for (const [method, more] of withBase) {
    const binding = bind(recipeOf(method, method === "sce" ? null : more), models);
    expect([binding.faults, binding.warnings]).toEqual([[], []]);
    expect(sharesOf(binding).a).toEqual([1, weightsOf(2)]);
  }
  const trained: TensorShape = ["model.layers.0.self_attn.q_proj.bias", [4]];
  const other = bind(recipeOf("ties", ", density: 0.5"), { base: tinyLlama(2), a: [...tinyLlama(2), trained] });
  expect(codesOf(other.warnings)).toEqual(["recipe/partly-used"]);
});

test("a recipe of too few models is told of that alone: none of them is called a stranger", () => {
  const model = checkpointOf(tinyLlama(2));
  const { faults } = bindModels("merge_method: model_stock\nbase_model: base\nmodels: [{model: base}, {model: a}]\n", {
    base: model,
    a: model,
  });
  expect(codesOf(faults)).toEqual(["recipe/model-count"]);
});

test("what is skipped and is no weight is told for itself, beside the share of the weights", () => {
  const more: TensorShape[] = [
    ["model.extra.weight", [4]],
    ["model.extra.count", [4], "I64"],
    ["model.shared.lm_head.weight", [10, 4]],
  ];
  const { faults, warnings } = bind(recipeOf("ties", ", density: 0.5"), {
    base: tinyLlama(2),
    a: [...tinyLlama(2), ...more],
  });
  expect(faults).toEqual([]);
  expect(summaryOf(warnings)).toEqual([
    expect.stringMatching(/^tensor-skipped 3:10 "a" holds model.extra.count, .* \(and 1 more tensor\)$/),
    expect.stringMatching(/^partly-used 3:10 95.4 % .*: 1 tensor that "base" lacks \(model.extra.weight\)$/),
  ]);
});

test("tensors of another shape are told of once: alone by their shapes, together by the share that is used", () => {
  const other = (...suffixes: string[]) =>
    tinyLlama(4).map(
      ([name, shape]): TensorShape => [name, suffixes.some((end) => name.endsWith(end)) ? [2, 2] : shape],
    );
  const said = (...suffixes: string[]) =>
    codesOf(bind(recipeOf("ties", ", density: 0.5"), { base: tinyLlama(4), a: other(...suffixes) }).warnings);
  expect(said("1.self_attn.q_proj.weight")).toEqual(["recipe/tensor-skipped"]);
  expect(said("1.self_attn.q_proj.weight", "2.mlp.up_proj.weight")).toEqual(["recipe/partly-used"]);
});
