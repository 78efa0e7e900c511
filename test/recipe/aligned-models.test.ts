import { expect, test } from "vitest";
import { type Binding, bindRecipe, labelsFor, referencedModels } from "../../recipe/index.ts";
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

/** A binding without the names of stored tensors: where their bytes lie says which they are. */
const bytesOf = ({ tasks }: Binding) =>
  JSON.parse(JSON.stringify(tasks, (key, value) => (key === "tensor" ? undefined : value)));

const recipes: Record<string, string> = {
  ties: "merge_method: ties\nbase_model: a\nmodels: [{model: b, parameters: {weight: 1, density: 0.5}}]\n",
  linear: "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a}, {model: b}]\n",
  "filters see the name of the base": `merge_method: linear
models:
  - {model: a, parameters: {weight: 1}}
  - {model: b, parameters: {weight: [{filter: model.layers.1., value: 0.25}, {filter: transformer, value: 7}, {value: 2}]}}
`,
  slices: `merge_method: passthrough
slices:
  - sources: [{model: a, layer_range: [0, 2]}]
  - sources: [{model: b, layer_range: [1, 3]}]
`,
  "gradients and slerp": `merge_method: slerp
base_model: a
models: [{model: a}, {model: b}]
parameters: {t: [0, 0.5, 1]}
`,
  modules: `merge_method: linear
parameters: {weight: 1}
modules: {default: {models: [{model: a}, {model: b}]}}
`,
  "a chain": `name: first
merge_method: linear
parameters: {weight: 1}
models: [{model: b}, {model: a}]
---
merge_method: task_arithmetic
base_model: a
parameters: {weight: 1}
models: [{model: first}]
`,
};

test.each(Object.entries(recipes))("%s: a model under another prefix takes the same part", (name, text) => {
  const plain = tinyLlama(3);
  const expected = bind(text, { a: plain, b: plain });
  expect(expected.faults).toEqual([]);
  for (const prefix of ["transformer.", "model.language_model.", "_orig_mod.model.", "my_net."]) {
    const other = plain.map(([tensor, shape]): TensorShape => [tensor.replace(/^model\./, prefix), shape]);
    const found = bind(text, { a: plain, b: other });
    expect([found.faults, found.warnings]).toEqual([[], expected.warnings]);
    // The chain's output is called after its own first model, as it is written.
    if (name !== "a chain") expect(bytesOf(found)).toEqual(bytesOf(expected));
    expect(found.tasks.map((task) => task.name)).toEqual(expected.tasks.map((task) => task.name));
    const read = found.tasks.flatMap(({ models }) => models.map(({ tensor }) => tensor));
    if (name !== "a chain") expect(read.some((tensor) => tensor.startsWith(prefix))).toBe(true);
  }
});

test("the head that a bare encoder lacks is said, the rest is merged", () => {
  const bert = (prefix: string): TensorShape[] => [
    [`${prefix}embeddings.word_embeddings.weight`, [8, 4]],
    [`${prefix}encoder.layer.0.output.dense.weight`, [4, 8]],
  ];
  const headed: TensorShape[] = [...bert("bert."), ["cls.predictions.transform.dense.weight", [4, 4]]];
  const base = bind(recipes.ties!, { a: bert(""), b: headed });
  expect([base.faults, base.tasks.map(({ kind }) => kind)]).toEqual([[], ["merge", "merge"]]);
  expect(summaryOf(base.warnings)).toEqual([
    'partly-used 3:10 66.6 % of what the recipe takes of "b" is used: 1 tensor that "a" lacks (cls.predictions.transform.dense.weight)',
  ]);
});

test("what could be either of two tensors of another model is a fault that names them", () => {
  const twice = ["language_model.layers.0.up.weight", "backbone.layers.0.up.weight"].map(
    (name): TensorShape => [name, [6, 4]],
  );
  const { faults } = bind(recipes.linear!, { a: [["model.layers.0.up.weight", [6, 4]]], b: twice });
  expect(faults[0]).toMatchObject({
    code: "recipe/ambiguous-name",
    message:
      'model.layers.0.up.weight of "a" could be "language_model.layers.0.up.weight" or "backbone.layers.0.up.weight" in "b"',
  });
});

test("experts that lie apart under one prefix and together under another are the same experts", () => {
  const apart = (prefix: string): TensorShape[] => [
    [`${prefix}embed_tokens.weight`, [8, 4]],
    ...[0, 1].flatMap((layer) =>
      [0, 1].flatMap((expert): TensorShape[] => [
        [`${prefix}layers.${layer}.mlp.experts.${expert}.gate_proj.weight`, [6, 4]],
        [`${prefix}layers.${layer}.mlp.experts.${expert}.up_proj.weight`, [6, 4]],
        [`${prefix}layers.${layer}.mlp.experts.${expert}.down_proj.weight`, [4, 6]],
      ]),
    ),
    ...[0, 1].map((layer): TensorShape => [`${prefix}layers.${layer}.mlp.gate.weight`, [2, 4]]),
  ];
  const together: TensorShape[] = [
    ["language_model.model.embed_tokens.weight", [8, 4]],
    ...[0, 1].flatMap((layer): TensorShape[] => [
      [`language_model.model.layers.${layer}.mlp.experts.gate_up_proj`, [2, 12, 4]],
      [`language_model.model.layers.${layer}.mlp.experts.down_proj`, [2, 4, 6]],
      [`language_model.model.layers.${layer}.mlp.gate.weight`, [2, 4]],
    ]),
  ];
  for (const models of [
    { a: apart("model."), b: together },
    { a: together, b: apart("my_net.") },
  ]) {
    const { faults, warnings, tasks } = bind(recipes.linear!, models);
    expect([faults, warnings]).toEqual([[], []]);
    expect(tasks.every((task) => task.models.length === 2)).toBe(true);
  }
});
