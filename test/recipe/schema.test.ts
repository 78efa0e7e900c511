import { expect, test } from "vitest";
import { checkFaults, formatFault, RecipeError } from "../../recipe/index.ts";
import { parse, recipeOf, summaryOf } from "./parsing.ts";

const ties = "merge_method: ties\nbase_model: base\n";

test("all faults of a text are reported at once, each with its line and column, in the order of the text", () => {
  const { faults } = parse(`merge_method: ties
base_modle: base
dtype: bf16
models:
  - model: a
    parameters:
      weight: heavy
      densty: 0.5
  - model: b
    paramters: {weight: 1}
parameters:
  normalize: maybe
  rescale_mode: l3
  lambda: [1, two]
`);
  expect(summaryOf(faults)).toEqual([
    'missing-base 1:1 ties needs "base_model", which is not there',
    'unknown-key 2:1 unknown key "base_modle", did you mean "base_model"?',
    'wrong-value 3:8 unknown dtype "bf16", did you mean "bfloat16"?',
    'wrong-type 7:15 "weight" holds the text "heavy", a number is expected',
    'unknown-key 8:7 unknown key "densty": no parameter of ties, did you mean "density"?',
    'unknown-key 10:5 unknown key "paramters", did you mean "parameters"?',
    'wrong-type 12:14 "normalize" holds the text "maybe", true or false is expected',
    expect.stringMatching(/^wrong-value 13:17 "rescale_mode" is the text "l3", "l1".* did you mean "l1"\?$/),
    'wrong-type 14:15 "lambda" holds the text "two", a number is expected',
  ]);
});

test("a fault is shown with file, line and column, and an error carries them all", () => {
  const { faults } = parse("merge_method: linera\nmodels: [{model: a, wieght: 1}]\n");
  expect(formatFault(faults[0]!)).toBe('recipe.yml:1:15: unknown merge method "linera", did you mean "linear"?');
  expect(() => checkFaults(faults)).toThrow(RecipeError);
  try {
    checkFaults(faults);
  } catch (error) {
    expect(error).toMatchObject({ code: "recipe/unknown-method", retryable: false });
    expect((error as RecipeError).faults).toHaveLength(2);
    expect((error as RecipeError).message).toContain('recipe.yml:2:21: unknown key "wieght"');
  }
  expect(() => checkFaults([])).not.toThrow();
});

test("a parameter that stands beside its model is told where it belongs", () => {
  const text = "merge_method: ties\nbase_model: b\nmodels:\n  - model: a\n    weight: 0.5\n";
  const [fault] = parse(text).faults;
  expect(fault).toMatchObject({ code: "recipe/unknown-key", line: 5 });
  expect(fault?.message).toMatch(/"weight" is a parameter of ties, and stands outside of "parameters"$/);
  expect(fault?.hint).toMatch(/^Write it one level further in: parameters: \{weight: \.\.\.\}\./);
});

test("unknown keys and parameters become warnings where the user allows them, and are ignored", () => {
  const text = `${ties}models: [{model: a, parameters: {weight: 1, densty: 0.5}, note: x}]\nauthor: me\n`;
  expect(parse(text).faults.map(({ code }) => code)).toEqual(Array(3).fill("recipe/unknown-key"));
  const { recipe, faults, warnings } = parse(text, true);
  expect(faults).toEqual([]);
  expect(warnings.filter(({ code }) => code === "recipe/unknown-key")).toHaveLength(3);
  expect([...(recipe?.layerRanges[0]?.sources[0]?.parameters.keys() ?? [])]).toEqual(["weight"]);
});

test.each([
  ["no method", "models: [{model: a}]\n", "missing-key 1:1"],
  ["no models", "merge_method: linear\n", "missing-key 1:1"],
  ["an empty list of models", "merge_method: linear\nmodels: []\n", "missing-key 1:1"],
  ["models that are no list", "merge_method: linear\nmodels: {model: a}\n", "wrong-type 2:9"],
  ["a list as recipe", "- merge_method: linear\n", "wrong-type 1:1"],
  [
    "models and slices",
    "merge_method: linear\nmodels: [{model: a}]\nslices: [{sources: [{model: a, layer_range: [0, 1]}]}]\n",
    "wrong-value 3:1",
  ],
  ["an entry without model", "merge_method: linear\nmodels:\n  - parameters: {weight: 1}\n", "missing-key 3:5"],
  ["an entry that is text", "merge_method: linear\nmodels:\n  - a\n", "wrong-type 3:5"],
  ["a model that is a number", "merge_method: linear\nmodels: [{model: 7}]\n", "model-reference 2:18"],
  ["two @ in a model", "merge_method: linear\nmodels: [{model: a@b@c}]\n", "model-reference 2:18"],
  ["two + in a model", "merge_method: linear\nmodels: [{model: a+b+c}]\n", "model-reference 2:18"],
  ["a slice without sources", "merge_method: linear\nslices: [{parameters: {}}]\n", "missing-key 2:10"],
  ["a source without layer_range", "merge_method: linear\nslices: [{sources: [{model: a}]}]\n", "missing-key 2:21"],
  [
    "an empty layer_range",
    "merge_method: linear\nslices: [{sources: [{model: a, layer_range: [2, 2]}]}]\n",
    "layer-range 2:45",
  ],
  [
    "a layer_range that runs backwards",
    "merge_method: linear\nslices: [{sources: [{model: a, layer_range: [3, 2]}]}]\n",
    "layer-range 2:45",
  ],
  [
    "a layer_range of fractions",
    "merge_method: linear\nslices: [{sources: [{model: a, layer_range: [0, 1.5]}]}]\n",
    "wrong-type 2:45",
  ],
  [
    "a layer_range below zero",
    "merge_method: linear\nslices: [{sources: [{model: a, layer_range: [-1, 2]}]}]\n",
    "wrong-type 2:45",
  ],
  [
    "a parameter list of unlike things",
    "merge_method: linear\nmodels: [{model: a, parameters: {weight: [1, {value: 2}]}}]\n",
    "wrong-type 2:42",
  ],
  ["an empty gradient", "merge_method: linear\nmodels: [{model: a, parameters: {weight: []}}]\n", "wrong-type 2:42"],
  [
    "a condition without value",
    "merge_method: linear\nmodels: [{model: a, parameters: {weight: [{filter: x}]}}]\n",
    "missing-key 2:43",
  ],
  [
    "a filter that is a number",
    "merge_method: linear\nmodels: [{model: a, parameters: {weight: {filter: 3, value: 1}}}]\n",
    "wrong-type 2:51",
  ],
  [
    "an infinite weight",
    "merge_method: linear\nmodels: [{model: a, parameters: {weight: .inf}}]\n",
    "wrong-value 2:42",
  ],
  [
    "a dtype of integers",
    "merge_method: linear\ndtype: int64\nmodels: [{model: a, parameters: {weight: 1}}]\n",
    "wrong-value 2:8",
  ],
  [
    "a global parameter under a model",
    "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1, normalize: no}}]\n",
    "unknown-key 2:45",
  ],
  [
    "beta in breadcrumbs",
    "merge_method: breadcrumbs\nbase_model: b\nmodels: [{model: a, parameters: {weight: 1, beta: 0.1}}]\n",
    "refused-parameter 3:45",
  ],
  [
    "three models in slerp",
    "merge_method: slerp\nbase_model: b\nparameters: {t: 0.5}\nmodels: [{model: a}, {model: c}]\n",
    "model-count 4:1",
  ],
  [
    "the base alone in slerp",
    "merge_method: slerp\nbase_model: b\nparameters: {t: 0.5}\nmodels: [{model: b}]\n",
    "model-count 4:1",
  ],
  [
    "one model in model_stock",
    "merge_method: model_stock\nbase_model: b\nmodels: [{model: a}, {model: b}]\n",
    "model-count 3:1",
  ],
  ["two models in passthrough", "merge_method: passthrough\nmodels: [{model: a}, {model: b}]\n", "model-count 2:1"],
])("%s is one fault, at its place", (_, text, expected) => {
  const { faults } = parse(text);
  expect(summaryOf(faults).map((line) => line.split(" ").slice(0, 2).join(" "))).toEqual([expected]);
});

test("lengths that differ within a slice, and a slice that lacks its base, are reported per slice", () => {
  const { faults } = parse(`merge_method: ties
base_model: base
slices:
  - sources:
      - {model: base, layer_range: [0, 4]}
      - {model: a, layer_range: [0, 3], parameters: {weight: 1, density: 0.5}}
  - sources:
      - {model: a, layer_range: [4, 6], parameters: {weight: 1, density: 0.5}}
`);
  expect(summaryOf(faults)).toEqual([
    "layer-range 6:33 layer_range [0, 3] spans 3 layers, the first source of this slice spans 4",
    'missing-base 7:5 the base_model "base" is not among the sources of this slice, and ties needs it there',
  ]);
});

test("a slice's own base_model stands in for the recipe's", () => {
  const recipe = recipeOf(`merge_method: ties
slices:
  - base_model: other
    sources:
      - {model: a, layer_range: [0, 3], parameters: {weight: 1, density: 0.5}}
      - {model: other, layer_range: [0, 3]}
`);
  expect(recipe.layerRanges[0]?.baseModel?.path).toBe("other");
});

test("numbers may be text, true counts 1, and a single condition needs no list", () => {
  const recipe = recipeOf(`merge_method: linear
models:
  - {model: a, parameters: {weight: 1e-5}}
  - {model: b, parameters: {weight: ["0.5", yes, 0x10]}}
  - {model: c, parameters: {weight: {filter: mlp, value: true}}}
parameters: {normalize: 1, weight: 0.25}
`);
  const weights = recipe.layerRanges[0]?.sources.map(({ parameters }) => parameters.get("weight")?.setting);
  expect(weights).toEqual([
    { kind: "scalar", value: 1e-5 },
    { kind: "gradient", values: [0.5, 1, 16] },
    {
      kind: "conditions",
      conditions: [{ filter: "mlp", value: { kind: "scalar", value: 1 }, place: { line: 5, column: 46 } }],
    },
  ]);
  expect(recipe.parameters.get("normalize")?.setting).toEqual({ kind: "scalar", value: true });
});

test.each([
  ["float32", "F32"],
  ["torch.bfloat16", "BF16"],
  ["float16", "F16"],
  ["float64", "F64"],
  ["float8_e4m3fn", "F8_E4M3"],
  ["torch.float8_e5m2", "F8_E5M2"],
])("dtype %s is %s", (name, dtype) => {
  const recipe = recipeOf(`merge_method: passthrough\ndtype: ${name}\nout_dtype: ${name}\nmodels: [{model: a}]\n`);
  expect([recipe.dtype, recipe.outDtype]).toEqual([dtype, dtype]);
});

test("keys that hold nothing count as missing", () => {
  const recipe = recipeOf(
    "merge_method: passthrough\nbase_model:\ndtype: null\nslices: ~\nparameters:\nmodels: [{model: a, parameters: }]\n",
  );
  expect(recipe.baseModel).toBeUndefined();
  expect(recipe.form).toBe("models");
});

test("a base that models does not list is appended where the method takes it, and only there", () => {
  const sources = (method: string, rest = "") =>
    recipeOf(`merge_method: ${method}\nbase_model: base\n${rest}models: [{model: a, parameters: {}}]\n`).layerRanges[0]
      ?.sources;
  expect(sources("slerp", "parameters: {t: 0.5}\n")?.map(({ model }) => model.path)).toEqual(["a", "base"]);
  expect(sources("ties")?.map(({ model, appended }) => [model.path, appended])).toEqual([
    ["a", undefined],
    ["base", true],
  ]);
  expect(sources("linear")?.map(({ model }) => model.path)).toEqual(["a"]);
});

test("keys without effect in mergekit are accepted with a warning", () => {
  const { recipe, faults, warnings } = parse(`merge_method: passthrough
name: mine
slices:
  - residual_weight: 0.5
    sources: [{model: {model: {path: a}, override_architecture: LlamaForCausalLM}, layer_range: [0, 1]}]
`);
  expect(faults).toEqual([]);
  expect(recipe).toBeDefined();
  expect(warnings.map(({ code, line }) => [code, line])).toEqual([
    ["recipe/no-effect", 2],
    ["recipe/no-effect", 4],
    ["recipe/no-effect", 5],
  ]);
});

test.each([
  [
    "mergekit-moe",
    "base_model: a\ngate_mode: hidden\ndtype: bfloat16\nexperts:\n  - source_model: b\n    positive_prompts: [code]\n  - source_model: c\n    positive_prompts: [maths]\n",
  ],
  ["mergekit-moe", "base_model: a\nexperts: [{source_model: b}]\n"],
  ["mergekit-evolve", "genome:\n  models: [a, b]\n  merge_method: slerp\ntasks:\n  - name: x\n"],
  ["mergekit-tokensurgeon", "model: a\ndonor: b\nk: 8\n"],
])("a file of %s is answered with one sentence", (program, text) => {
  const { faults, recipe } = parse(text);
  expect(recipe).toBeUndefined();
  expect(faults).toMatchObject([{ code: "recipe/other-program", message: expect.stringContaining(program) }]);
});

test("a key of another program in a recipe with a merge method is an unknown key like any other", () => {
  const { faults } = parse(`${ties}gate_mode: hidden\nmodels: [{model: a, parameters: {weight: 1}}]\n`);
  expect(faults.map(({ code }) => code)).toContain("recipe/unknown-key");
});
