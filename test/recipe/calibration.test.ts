import { expect, test } from "vitest";
import { type Binding, staleQuantization } from "../../recipe/index.ts";
import { bindModels, stackOf } from "./binding.ts";
import { checkpointOf, type TensorShape, tinyLlama } from "./checkpoints.ts";

const scales = (layer: number, leaves = ["k_scale", "v_scale"]): TensorShape[] =>
  leaves.map((leaf) => [`model.layers.${layer}.self_attn.${leaf}`, [1], "F32"]);
const cache = {
  quantization_config: {
    quant_method: "compressed-tensors",
    config_groups: {},
    kv_cache_scheme: { num_bits: 8, type: "float" },
  },
};
const config = { model_type: "llama", architectures: ["LlamaForCausalLM"], num_hidden_layers: 2 };
const plain = checkpointOf(tinyLlama(2), config);
const measured = (leaves?: string[]) =>
  checkpointOf([...tinyLlama(2), ...scales(0, leaves), ...scales(1, leaves)], { ...config, ...cache });

const names = ({ tasks }: Binding) => tasks.map(({ name }) => name);
const told = ({ warnings }: Binding) => warnings.map(({ code, message }) => `${code} ${message}`);
const linear = (...models: string[]) =>
  `merge_method: linear\nparameters: {weight: 1}\nmodels: [${models.map((model) => `{model: ${model}}`).join(", ")}]\n`;

test.each([
  [["k_scale", "v_scale"]],
  [["q_scale", "prob_output_scale"]],
  [["k_proj.output_scale", "v_proj.output_scale"]],
  [["attn.k_scale", "attn.v_zero_point"]],
  [["k_proj.input_scale", "q_proj.input_scale"]].map((leaves) => leaves.filter((leaf) => leaf.startsWith("q"))),
  [["k_bmm_quantizer._amax"]],
])("%j are left out of a merge, whoever has them, with one warning for each model", (leaves) => {
  const tensors = names(bindModels(linear("plain", "plain2"), { plain, plain2: plain }));
  for (const models of [
    ["fp8", "plain"],
    ["plain", "fp8"],
    ["fp8", "again"],
  ]) {
    const binding = bindModels(linear(...models), { fp8: measured(leaves), again: measured(leaves), plain });
    expect(binding.faults).toEqual([]);
    expect(names(binding)).toEqual(tensors);
    const left = told(binding).filter((text) => text.startsWith("recipe/tensor-skipped"));
    expect(left).toHaveLength(models.filter((model) => model !== "plain").length);
    expect(left[0]).toContain(`holds ${2 * leaves.length} scales (the first model.layers.0.self_attn.${leaves[0]})`);
  }
});

test("with the scales goes what the config tells of them", () => {
  const binding = bindModels(linear("fp8", "plain"), { fp8: measured(), plain });
  expect(told(binding).filter((text) => text.includes("leftover"))).toHaveLength(1);
  expect(staleQuantization(binding.tasks, measured()).edits).toMatchObject([{ path: ["quantization_config"] }]);
});

test("passthrough keeps them in their own dtype, and the config that tells of them; a scale does not touch them", () => {
  for (const [text, scaled] of [
    ["dtype: float16\n", false],
    ["parameters: {scale: 0.5}\n", true],
  ] as const) {
    const binding = bindModels(`merge_method: passthrough\nmodels: [{model: fp8}]\n${text}`, { fp8: measured() });
    expect(binding.warnings).toEqual([]);
    const kept = binding.tasks.filter(({ name }) => name.endsWith("_scale"));
    expect(kept.map(({ kind, dtype }) => `${kind} ${dtype}`)).toEqual(Array(4).fill("copy F32"));
    expect(binding.tasks.some(({ models }) => models[0]?.parameters.scale === 0.5)).toBe(scaled);
    expect(staleQuantization(binding.tasks, measured()).edits).toEqual([]);
  }
});

test("in a stack they follow their layers", () => {
  const binding = bindModels(stackOf(["fp8", 1, 2], ["fp8", 0, 2]), { fp8: measured() });
  expect(names(binding).filter((name) => name.endsWith("k_scale"))).toEqual(
    [0, 1, 2].map((layer) => `model.layers.${layer}.self_attn.k_scale`),
  );
});

test("a stack of a model with them and one without is worth a warning", () => {
  const binding = bindModels(stackOf(["plain", 0, 1], ["fp8", 0, 2]), { fp8: measured(), plain });
  expect(binding.faults).toEqual([]);
  expect(told(binding)).toEqual([
    'recipe/layer-misfit "plain" has no scales of a cache in fp8, "fp8" has: some layers of the stack will lack them',
  ]);
});

test("parameters of the model's own stay: of many elements, or beside nothing that they could be measured of", () => {
  const own: TensorShape[] = [
    ["model.layers.0.self_attn.k_scale", [64], "BF16"],
    ["model.layers.0.mix.k_scale", [1], "BF16"],
    ["model.layers.0.residual.output_scale", [1], "BF16"],
    ["logit_scale", [], "F32"],
  ];
  const model = checkpointOf([...tinyLlama(2), ...own], config);
  const binding = bindModels(linear("a", "b"), { a: model, b: model });
  expect(told(binding)).toEqual([]);
  expect(names(binding)).toEqual(expect.arrayContaining(own.map(([name]) => name)));
});

const coded = (activations: boolean): TensorShape[] => [
  ["model.layers.0.up.weight", [16, 8], "F8_E4M3"],
  ["model.layers.0.up.weight_scale", [1], "F32"],
  ...(activations ? ([["model.layers.0.up.input_scale", [1], "F32"]] satisfies TensorShape[]) : []),
];
const fp8 = (activations: boolean) =>
  checkpointOf([...coded(activations), ["model.layers.0.self_attn.k_scale", [1], "F32"]], {
    num_hidden_layers: 1,
    quantization_config: { quant_method: "modelopt", quant_algo: "FP8", kv_cache_quant_algo: "FP8" },
  });

test("scales of activations stay with fp8 codes, which cannot be used without them, and go with them", () => {
  const of = (text: string) => bindModels(text, { a: fp8(true), b: fp8(true) });
  const input = (binding: Binding) =>
    binding.tasks.filter(({ name }) => name.endsWith("input_scale")).map(({ kind, dtype }) => `${kind} ${dtype}`);
  const copied = of("merge_method: passthrough\nmodels: [{model: a}]\n");
  expect([input(copied), told(copied).filter((text) => text.includes("scale"))]).toEqual([["copy F32"], []]);
  const merged = of(linear("a", "b"));
  expect(input(merged)).toEqual(["copy F32"]);
  expect(told(merged)).toContainEqual(
    'recipe/tensor-skipped model.layers.0.up.input_scale was measured of "a" as it ran, and is copied from it: the merge is another model',
  );
  const values = of(`${linear("a", "b")}dtype: bfloat16\n`);
  expect(input(values)).toEqual([]);
  expect(told(values).filter((text) => text.includes("input_scale"))).toEqual([]);
});

test("where codes stay and the scales of their cache go, the config tells of no cache in fp8 any more", () => {
  const binding = bindModels(linear("a", "b"), { a: fp8(false), b: fp8(false) });
  expect(staleQuantization(binding.tasks, fp8(false)).edits).toEqual([
    { path: ["quantization_config", "kv_cache_quant_algo"], value: null },
  ]);
  expect(told(binding).some((text) => text.startsWith("recipe/leftover-quantization"))).toBe(true);
});

test("what ComfyUI notes of codes stays with codes, and goes where they become values", () => {
  const coded = checkpointOf(
    [
      ["layers.0.up.weight", [16, 8], "F8_E4M3"],
      ["layers.0.up.scale_weight", [1], "F32"],
      ["layers.0.up.comfy_quant", [27], "U8"],
      ["layers.0.norm.weight", [8], "BF16"],
      ["scaled_fp8", [2], "F8_E4M3"],
    ],
    { num_hidden_layers: 1 },
  );
  const values = checkpointOf(
    [
      ["layers.0.up.weight", [16, 8], "BF16"],
      ["layers.0.norm.weight", [8], "BF16"],
    ],
    { num_hidden_layers: 1 },
  );
  const notes = (binding: Binding) =>
    names(binding)
      .filter((name) => /comfy_quant|scaled_fp8/.test(name))
      .sort();
  const bound = (text: string) => bindModels(text, { coded, values });
  expect(notes(bound(linear("coded", "coded")))).toEqual(["layers.0.up.comfy_quant", "scaled_fp8"]);
  expect(notes(bound("merge_method: passthrough\nmodels: [{model: coded}]\n"))).toHaveLength(2);
  for (const text of [`${linear("coded", "values")}dtype: bfloat16\n`, linear("values", "coded")]) {
    const binding = bound(text);
    expect([binding.faults, notes(binding)]).toEqual([[], []]);
    expect(told(binding).filter((one) => /partly-used|tensor-skipped/.test(one))).toEqual([]);
  }
});
