import { expect, test } from "vitest";
import { bindRecipe, labelsFor, type RecipeInput, referencedModels } from "../../recipe/index.ts";
import { checkpointOf, tinyLlama } from "./checkpoints.ts";
import { methods, parse, summaryOf } from "./parsing.ts";

/** Models of two layers, whatever they are called. */
function bound(text: string, configs: Record<string, Record<string, unknown>> = {}) {
  const { recipe, faults, warnings } = parse(text);
  if (recipe === undefined || faults.length > 0) throw new Error(summaryOf(faults).join("\n"));
  const references = referencedModels(recipe);
  const labels = labelsFor(references);
  const inputs = references.map(
    (reference): RecipeInput => ({
      reference,
      label: labels.get(reference.text) ?? "",
      checkpoint: checkpointOf(tinyLlama(2), { model_type: "llama", num_hidden_layers: 2, ...configs[reference.path] }),
    }),
  );
  const binding = bindRecipe(recipe, inputs, { methods });
  return { ...binding, warnings: [...warnings, ...binding.warnings] };
}

const slerp = (t: string) => `merge_method: slerp
base_model: a
models: [{model: a}, {model: b}]
parameters:
  t:
${t}`;

test("each condition that fits no tensor is told, with what a filter is", () => {
  const { warnings } = bound(
    slerp(`    - {filter: "*.self_attn.*", value: 0.9}
    - {filter: 'layers\\.[0-1]\\.mlp', value: 0.9}
    - {filter: attn.c_attn, value: 0.9}
    - {filter: mlp, value: 0.2}
    - {filter: "*", value: 0.5}
`),
  );
  expect(summaryOf(warnings)).toEqual([
    'dead-condition 6:16 the filter "*.self_attn.*" of "t" is part of no tensor\'s name: it has no effect',
    'dead-condition 7:16 the filter "layers\\\\.[0-1]\\\\.mlp" of "t" is part of no tensor\'s name: it has no effect',
    'dead-condition 8:16 the filter "attn.c_attn" of "t" is part of no tensor\'s name: it has no effect',
  ]);
  expect(warnings.map(({ hint }) => hint.slice(0, 22))).toEqual([
    "A filter is no pattern",
    "A filter is no pattern",
    "Names here are those o",
  ]);
  expect(warnings[2]?.hint).toContain("model.layers.0.mlp.up_proj.weight");
});

test("a condition after others that fit the same tensors never counts", () => {
  const { warnings } = bound(
    slerp("    - {filter: layers, value: 0.9}\n    - {filter: mlp, value: 0.1}\n    - {value: 0.5}\n"),
  );
  expect(summaryOf(warnings)).toEqual([
    'dead-condition 7:16 the filter "mlp" of "t" comes after conditions that fit the same tensors: it has no effect',
  ]);
});

test("conditions are looked for where they stand: of a model, of a slice, within conditions", () => {
  const { warnings } = bound(`merge_method: ties
base_model: base
models:
  - model: a
    parameters:
      weight: [{filter: self_attn, value: [{filter: k_proj, value: 1}, {value: 0.5}]}, {value: 1}]
      density: [{filter: lm_haed, value: 0.5}, {value: 1}]
  - {model: b, parameters: {weight: 1, density: 0.5}}
`);
  expect(summaryOf(warnings)).toEqual([
    'dead-condition 6:53 the filter "k_proj" of "weight" is part of no tensor\'s name: it has no effect',
    'dead-condition 7:26 the filter "lm_haed" of "density" is part of no tensor\'s name: it has no effect',
  ]);
  const slices = bound(`merge_method: passthrough
slices:
  - sources: [{model: a, layer_range: [0, 1]}]
  - sources: [{model: a, layer_range: [1, 2], parameters: {scale: [{filter: embed, value: 2}, {filter: norm, value: 0.5}]}}]
`);
  expect(summaryOf(slices.warnings)).toEqual([
    'dead-condition 4:77 the filter "embed" of "scale" is part of no tensor\'s name: it has no effect',
  ]);
});

test("a condition that several models share by an alias is told once, and only if it fits none of them", () => {
  const { warnings } = bound(`merge_method: ties
base_model: base
models:
  - {model: a, parameters: &p {density: 0.5, weight: [{filter: nowhere, value: 0}, {filter: mlp, value: 0.5}, {value: 1}]}}
  - {model: b, parameters: *p}
`);
  expect(summaryOf(warnings).filter((text) => text.startsWith("dead"))).toEqual([
    'dead-condition 4:64 the filter "nowhere" of "weight" is part of no tensor\'s name: it has no effect',
  ]);
});

test.each([
  ["ties", "density: 60", "density", "60", "0.6"],
  ["ties", "density: -0.5", "density", "-0.5", undefined],
  ["della", "epsilon: 15", "epsilon", "15", "0.15"],
  ["breadcrumbs", "gamma: 2", "gamma", "2", "0.02"],
  ["dare_ties", "density: [50, 0.5]", "density", "50", "0.5"],
  ["sce", "select_topk: 10", "select_topk", "10", "0.1"],
])("%s with %s is refused once", (method, setting, parameter, value, share) => {
  const text = `merge_method: ${method}\nbase_model: base\nmodels: [{model: a}, {model: b}]\nparameters: {${setting}}\n`;
  const { faults } = parse(text);
  const [fault, ...others] = faults.filter(({ code }) => code === "recipe/wrong-value");
  expect(others).toEqual([]);
  expect(fault?.message).toBe(`"${parameter}" is ${value}, allowed is 0 to 1`);
  if (share === undefined) expect(fault?.hint).not.toContain("Did you mean");
  else expect(fault?.hint).toMatch(`Did you mean ${share}?`);
});

test("a slerp beyond its ends is told", () => {
  const { warnings } = parse(slerp("    [0.2, 1.5]\n"));
  expect(summaryOf(warnings)).toEqual([expect.stringMatching(/^extrapolates 5:3 t is 1.5: the result lies beyond/)]);
});

test.each([
  ['tokenizer_source: "model:models/a"', "models/a"],
  ['tokenizer: {source: "model:a@main"}', "a@main"],
])("%s is answered with the way that it is written now", (key, named) => {
  const { faults } = parse(`merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}]\n${key}\n`);
  expect(faults).toMatchObject([
    { code: "recipe/wrong-value", hint: `Write the model alone: tokenizer_source: ${named}.` },
  ]);
});

test("an empty slice is answered with the way to choose whose norm and head the output has", () => {
  const { faults } = parse(`merge_method: linear
slices:
  - sources: [{model: a, layer_range: [0, 2], parameters: {weight: 1}}]
  - sources: [{model: a, layer_range: [2, 2], parameters: {weight: 1}}]
`);
  expect(faults[0]?.message).toBe("layer_range [2, 2] is empty");
  expect(faults[0]?.hint).toMatch(/Norm and head come with the last slice.*filter: lm_head/);
});

test("what configs say otherwise of equal shapes is told once a model, with keys and values", () => {
  const text = "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a}, {model: b}, {model: c}]\n";
  const { warnings } = bound(text, {
    a: { rope_theta: 10_000, rms_norm_eps: 1e-5 },
    b: { rope_theta: 1e6, rms_norm_eps: 1e-6 },
    c: { rope_theta: 10_000, rms_norm_eps: 1e-5 },
  });
  expect(summaryOf(warnings)).toEqual([
    'configs-disagree 3:22 the config of "b" disagrees with that of "a": rms_norm_eps 1e-6 instead of 1e-5, rope_theta 1000000 instead of 10000',
  ]);
});

test("adapters of different models, and an adapter on another model than its own, are told", () => {
  const trained = (name: string) => ({ peft_type: "LORA", r: 2, lora_alpha: 4, base_model_name_or_path: name });
  const told = (text: string, configs: Record<string, Record<string, unknown>>) => {
    const { recipe } = parse(text);
    const references = referencedModels(recipe!);
    const labels = labelsFor(references);
    const inputs = references.map((reference): RecipeInput => {
      const label = labels.get(reference.text) ?? "";
      const config = configs[reference.path];
      if (config?.peft_type === undefined) {
        return { reference, label, checkpoint: checkpointOf(tinyLlama(1), { num_hidden_layers: 1, ...config }) };
      }
      const module = "model.layers.0.self_attn.q_proj";
      const checkpoint = checkpointOf(
        [
          [`${module}.lora_A.weight`, [2, 4]],
          [`${module}.lora_B.weight`, [4, 2]],
        ],
        config,
      );
      const [a, b] = checkpoint.tensors.values();
      const rank = {
        rank: 2,
        alpha: 4,
        rankPattern: new Map(),
        alphaPattern: new Map(),
        rslora: false,
        fanInFanOut: false,
        isDora: false,
        keepsTies: false,
        modulesToSave: [],
        tokenRows: new Map(),
      };
      return {
        reference,
        label,
        checkpoint,
        adapter: {
          checkpoint,
          config: rank,
          pairs: new Map([[module, { a: a!, b: b! }]]),
          saved: new Map(),
          tokenRows: new Map(),
        },
      };
    });
    const { warnings } = bindRecipe(recipe!, inputs, { methods });
    return summaryOf(warnings).filter((text) => text.startsWith("configs-disagree"));
  };
  const cat = "merge_method: cat\nparameters: {weight: 1}\nmodels: [{model: one}, {model: two}]\n";
  expect(told(cat, { one: trained("owner/one"), two: trained("owner/two") })).toEqual([
    'configs-disagree 3:24 "two" was trained on owner/two, "one" on owner/one',
  ]);
  expect(told(cat, { one: trained("owner/Base"), two: trained("/home/x/base/") })).toEqual([]);
  const on = "merge_method: passthrough\nmodels: [{model: base+one}]\n";
  const other = [expect.stringContaining('"one" was trained on owner/other, and is put on "')];
  // A folder of somebody's own says nothing; what its config, or a name with a size in it, says counts.
  expect(told(on, { base: {}, one: trained("owner/other") })).toEqual([]);
  expect(told(on, { base: { _name_or_path: "owner/base" }, one: trained("owner/other") })).toEqual(other);
  const sized = on.replace("base+", "./models/Base-7B+");
  expect(told(sized, { "./models/Base-7B": {}, one: trained("owner/other") })).toEqual(other);
  for (const name of ["owner/base-7b-bnb-4bit", "owner/Meta_Base-7B-hf", "/data/base-7b/"])
    expect(told(sized, { "./models/Base-7B": {}, one: trained(name) })).toEqual([]);
  expect(told(on, { base: {}, one: trained("owner/base") })).toEqual([]);
  expect(told(on, { base: { _name_or_path: "owner/other" }, one: trained("owner/other") })).toEqual([]);
});
