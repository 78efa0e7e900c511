import { describe, expect, test } from "vitest";
import type { StoredDtype } from "../../checkpoint/index.ts";
import { methodDeclarations } from "../../merge/methods/index.ts";
import { bindRecipe, parseRecipe, referencedModels } from "../../recipe/index.ts";
import { checkpointOf, type TensorShape, tinyLlama } from "./checkpoints.ts";

interface Kind {
  /** Of one linear module of [out, in] = [16, 8]. */
  readonly tensors: (module: string) => readonly TensorShape[];
  readonly config?: Record<string, unknown>;
}

const quantization = (quant_method: string, more: object = {}) => ({ quantization_config: { quant_method, ...more } });
const weight =
  (dtype: StoredDtype, shape: readonly number[], ...others: TensorShape[]): Kind["tensors"] =>
  (module) => [
    [`${module}.weight`, shape, dtype],
    ...others.map(([name, ...rest]): TensorShape => [`${module}.${name}`, ...rest]),
  ];
const parts =
  (...others: TensorShape[]): Kind["tensors"] =>
  (module) =>
    others.map(([name, ...rest]): TensorShape => [`${module}.${name}`, ...rest]);

const bnb4 = weight(
  "U8",
  [64, 1],
  ["weight.absmax", [2], "U8"],
  ["weight.quant_map", [16], "F32"],
  ["weight.nested_absmax", [1], "F32"],
  ["weight.quant_state.bitsandbytes__nf4", [30], "U8"],
);
const gptq = parts(
  ["qweight", [1, 16], "I32"],
  ["qzeros", [1, 2], "I32"],
  ["scales", [1, 16], "F16"],
  ["g_idx", [8], "I32"],
);
const awq = parts(["qweight", [8, 2], "I32"], ["qzeros", [1, 2], "I32"], ["scales", [1, 16], "F16"]);
const mlx = weight("U32", [16, 1], ["scales", [16, 1], "BF16"], ["biases", [16, 1], "BF16"]);

/** Name in the message, by what is refused. */
const kinds: Readonly<Record<string, Kind & { readonly said: RegExp }>> = {
  "bitsandbytes 4 bits": {
    tensors: bnb4,
    said: /bitsandbytes \(4 bits, nf4\)/,
    config: quantization("bitsandbytes", { load_in_4bit: true, bnb_4bit_quant_type: "nf4" }),
  },
  "bitsandbytes 4 bits, no config": { tensors: bnb4, said: /bitsandbytes/ },
  "bitsandbytes 8 bits": {
    tensors: weight("I8", [16, 8], ["SCB", [16], "F32"], ["weight_format", [], "U8"]),
    said: /bitsandbytes/,
  },
  "bitsandbytes 4 bits, two codes a byte and two bytes an element of bf16": {
    tensors: weight(
      "BF16",
      [32, 1],
      ["weight.absmax", [2], "F32"],
      ["weight.quant_map", [16], "F32"],
      ["weight.quant_state.bitsandbytes__nf4", [30], "U8"],
    ),
    said: /bitsandbytes/,
  },
  GPTQ: { tensors: gptq, said: /GPTQ \(4 bits\)/, config: quantization("gptq", { bits: 4 }) },
  "GPTQ, no config": { tensors: gptq, said: /GPTQ/ },
  "GPTQ in the text's part": {
    tensors: gptq,
    said: /GPTQ/,
    config: { text_config: quantization("gptq", { bits: 4 }) },
  },
  AWQ: { tensors: awq, said: /AWQ/, config: quantization("awq") },
  "AWQ, no config": { tensors: awq, said: /AWQ/ },
  "auto-round": { tensors: gptq, said: /GPTQ/, config: quantization("auto-round") },
  MLX: { tensors: mlx, said: /MLX \(4 bits\)/, config: { quantization: { group_size: 64, bits: 4 } } },
  "MLX, no config": { tensors: mlx, said: /MLX/ },
  MXFP4: {
    tensors: (module) => [
      [`${module}.experts.gate_up_proj_blocks`, [2, 4, 1, 16], "U8"],
      [`${module}.experts.gate_up_proj_scales`, [2, 4, 1], "U8"],
      [`${module}.experts.gate_up_proj_bias`, [2, 4], "BF16"],
    ],
    said: /MXFP4/,
  },
  HQQ: {
    tensors: parts(["W_q", [8, 8], "U8"], ["scale", [16, 1], "F16"], ["zero", [16, 1], "F16"], ["shape", [2], "I32"]),
    said: /HQQ/,
  },
  "HQQ, viewed as floating point": {
    tensors: parts(["W_q", [8, 4], "F16"], ["scale", [16, 1], "F16"], ["zero", [16, 1], "F16"]),
    said: /HQQ/,
  },
  "MXFP8, scales as bytes": {
    tensors: weight("F8_E4M3", [16, 8], ["weight_scale", [16, 1], "U8"]),
    said: /compressed-tensors \(mxfp8-quantized\)/,
    config: quantization("compressed-tensors", { format: "mxfp8-quantized" }),
  },
  "fp8 in groups along the rows": {
    tensors: weight("F8_E4M3", [16, 8], ["weight_scale", [16, 2], "F32"]),
    said: /compressed-tensors/,
    config: quantization("compressed-tensors"),
  },
  "weights that were divided by what inputs are multiplied with": {
    tensors: weight("BF16", [16, 8], ["pre_quant_scale", [8], "BF16"]),
    said: /ModelOpt/,
    config: quantization("modelopt"),
  },
  "fp8 with scales, divided by what inputs are multiplied with": {
    tensors: weight("F8_E4M3", [16, 8], ["weight_scale", [], "F32"], ["pre_quant_scale", [8], "BF16"]),
    said: /ModelOpt/,
    config: quantization("modelopt"),
  },
  "QuIP#": { tensors: parts(["Qidxs", [16, 1], "I64"], ["SU", [8], "F16"], ["SV", [16], "F16"]), said: /QuIP#/ },
  "FP-Quant": {
    tensors: parts(["qweight", [16, 4], "U8"], ["scales", [16, 1], "U8"], ["weight_global_scale", [1], "F32"]),
    said: /FP-Quant/,
    config: quantization("fp_quant"),
  },
  SINQ: {
    tensors: parts(["W_q", [8, 8], "U8"], ["scale", [16, 1], "F16"], ["scale2", [1, 8], "F16"]),
    said: /SINQ/,
    config: quantization("sinq"),
  },
  EETQ: { tensors: weight("I8", [8, 16], ["weight_scales", [16], "F16"]), said: /EETQ/ },
  AQLM: {
    tensors: parts(["codes", [16, 1, 1], "I8"], ["codebooks", [1, 256, 1, 8], "F16"], ["scales", [16, 1, 1, 1], "F16"]),
    said: /AQLM/,
  },
  SpQR: {
    tensors: parts(
      ["dense_weights", [4, 4], "I64"],
      ["row_offsets", [17], "I32"],
      ["col_vals", [3], "I32"],
      ["in_perm", [8], "I64"],
    ),
    said: /SpQR/,
  },
  VPTQ: { tensors: parts(["indices", [1, 16, 2], "I32"], ["centroids.weight", [1, 64], "F16"]), said: /VPTQ/ },
  HIGGS: {
    tensors: weight(
      "I16",
      [4, 16],
      ["scales", [16, 1], "F16"],
      ["tables", [256, 2], "F16"],
      ["tables2", [256, 2], "F32"],
    ),
    said: /HIGGS/,
  },
  EXL3: { tensors: parts(["trellis", [1, 1, 64], "I16"], ["suh", [8], "F16"], ["svh", [16], "F16"]), said: /EXL3/ },
  EXL2: {
    tensors: parts(["q_weight", [4, 16], "I32"], ["q_scale", [1, 2], "I32"], ["q_perm", [8], "I16"]),
    said: /EXL2/,
  },
  Marlin: { tensors: parts(["B", [1, 32], "I32"], ["s", [1, 16], "F16"], ["workspace", [16], "I32"]), said: /Marlin/ },
  "quanto, int8": {
    tensors: parts(["weight._data", [16, 8], "I8"], ["weight._scale", [16, 1], "F16"]),
    said: /quanto/,
  },
  "quanto, fp8": {
    tensors: parts(["weight._data", [16, 8], "F8_E4M3"], ["weight._scale", [16, 1], "F16"]),
    said: /quanto/,
  },
  "torchao, fp8": {
    tensors: parts(["_weight_qdata", [16, 8], "F8_E4M3"], ["_weight_scale", [16, 1], "F32"]),
    said: /torchao/,
  },
  torchao: {
    tensors: parts(
      ["weight_qdata", [16, 8], "I8"],
      ["weight_scale", [16, 1], "F32"],
      ["weight_zero_point", [16, 1], "I8"],
    ),
    said: /torchao/,
  },
  "compressed-tensors, 4 bits": {
    tensors: parts(["weight_packed", [16, 1], "I32"], ["weight_scale", [16, 1], "BF16"], ["weight_shape", [2], "I64"]),
    said: /compressed-tensors \(pack-quantized\)/,
    config: quantization("compressed-tensors", { format: "pack-quantized" }),
  },
  "compressed-tensors, 8 bits": {
    tensors: weight("I8", [16, 8], ["weight_scale", [16, 1], "BF16"]),
    said: /compressed-tensors/,
    config: quantization("compressed-tensors", { format: "int-quantized" }),
  },
  NVFP4: {
    tensors: weight(
      "U8",
      [16, 4],
      ["weight_scale", [16, 1], "F8_E4M3"],
      ["weight_scale_2", [], "F32"],
      ["input_scale", [], "F32"],
    ),
    said: /NVFP4/,
  },
  BitNet: {
    tensors: weight("U8", [4, 8], ["weight_scale", [1], "BF16"]),
    said: /BitNet/,
    config: quantization("bitnet"),
  },
  "MXFP4 in a dtype of its own": {
    tensors: weight("F4", [16, 32], ["weight_scale", [16, 1], "F8_E8M0"]),
    said: /"strange"/,
    config: quantization("strange"),
  },
  MXFP6: {
    tensors: weight("F6_E3M2", [16, 32], ["weight_scale", [16, 1], "F8_E8M0"]),
    said: /"strange"/,
    config: quantization("strange"),
  },
  MXFP8: {
    tensors: weight("F8_E4M3", [16, 64], ["weight_scale", [16, 2], "F8_E8M0"]),
    said: /ModelOpt/,
    config: quantization("modelopt"),
  },
  "a custom nobody knows": {
    tensors: weight("U8", [16, 4], ["strange", [16], "F32"]),
    said: /"nosuch"/,
    config: quantization("nosuch"),
  },
};

/** Two layers whose modules are packed; embedding, norms and head are not. */
function model({ tensors, config }: Kind, rest: Record<string, unknown> = {}) {
  const modules = [0, 1].flatMap((i) => ["mlp.up_proj", "self_attn.q_proj"].map((name) => `model.layers.${i}.${name}`));
  const plain = tinyLlama(0);
  const packed = modules.flatMap((module) => [...tensors(module)]);
  const norms = [0, 1].map((i): TensorShape => [`model.layers.${i}.input_layernorm.weight`, [8]]);
  return checkpointOf([...plain.slice(0, 1), ...packed, ...norms, ...plain.slice(1)], {
    num_hidden_layers: 2,
    ...config,
    ...rest,
  });
}

const full = checkpointOf(tinyLlama(2), { num_hidden_layers: 2 });

function bind(recipeText: string, models: Readonly<Record<string, ReturnType<typeof checkpointOf>>>) {
  const { recipe, faults } = parseRecipe(recipeText, "recipe.yml", {
    methods: methodDeclarations(),
    allowUnknownKeys: false,
  });
  if (recipe === undefined) throw new Error(faults.map(({ message }) => message).join("; "));
  const inputs = referencedModels(recipe).map((reference) => {
    const label = reference.text;
    return { reference, label, checkpoint: models[label] ?? full };
  });
  return bindRecipe(recipe, inputs, { methods: methodDeclarations() });
}

const linear =
  "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 1}}]";

describe.each(Object.entries(kinds))("%s", (title, kind) => {
  const packed = model(kind);

  test.each([
    ["merged with another", linear, { a: packed, b: packed }],
    ["as the base of values", `${linear.replace("linear", "task_arithmetic")}\nbase_model: c`, { c: packed }],
    ["among values", linear, { b: packed }],
    ["merged alone", "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}]", { a: packed }],
    ["scaled", "merge_method: passthrough\nmodels: [{model: a, parameters: {scale: 0.5}}]", { a: packed }],
    [
      "of an earlier document",
      `name: x\nmerge_method: passthrough\nmodels: [{model: a}]\n---\n${linear.replace("model: b", "model: x")}`,
      { a: packed },
    ],
    [
      "in a slice",
      "merge_method: slerp\nbase_model: b\nparameters: {t: 0.5}\nslices: [{sources: [{model: a, layer_range: [0, 2]}, {model: b, layer_range: [0, 2]}]}]",
      { a: packed },
    ],
    [
      "stacked on values",
      "merge_method: passthrough\nslices: [{sources: [{model: b, layer_range: [0, 1]}]}, {sources: [{model: a, layer_range: [1, 2]}]}]",
      { a: packed },
    ],
  ] as const)("is refused %s", (__, recipe, models) => {
    const { faults, tasks } = bind(recipe, models);
    expect(faults.map(({ code }) => code)).toContain("recipe/packed-weights");
    expect(faults.map(({ message }) => message).join("\n")).toMatch(kind.said);
    expect(faults.every(({ code }) => code === "recipe/packed-weights")).toBe(true);
    expect(tasks).toEqual([]);
  });

  if (title.startsWith("torchao")) {
    test("is copied whole with its files' metadata, and not taken apart", () => {
      const metadata = new Map([["tensor_names", "[]"]]);
      const whole = "merge_method: passthrough\nmodels: [{model: a}]";
      const a = { ...packed, metadata };
      expect(bind(whole, { a })).toMatchObject({ faults: [], metadata: { tensor_names: "[]" } });
      const unclear = { ...a, unclearMetadata: ["tensor_names"] };
      const slices = "merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: [0, 1]}]}]";
      const twice =
        "name: x\nmerge_method: passthrough\nmodels: [{model: a}]\n---\nmerge_method: passthrough\nmodels: [{model: x}]";
      for (const [recipe, model, said] of [
        [slices, a, /metadata as well/],
        [twice, a, /metadata as well/],
        [whole, unclear, /different things of "tensor_names"/],
      ] as const)
        expect(bind(recipe, { a: model }).faults[0]).toMatchObject({
          code: "recipe/packed-weights",
          message: expect.stringMatching(said),
        });
    });
    return;
  }

  test("is copied whole by passthrough, whatever dtype is asked for, and stacked", () => {
    const whole = bind("merge_method: passthrough\nmodels: [{model: a}]\ndtype: float32", { a: packed });
    expect(whole.faults).toEqual([]);
    const copied = new Map(whole.tasks.map(({ name, dtype, written }) => [name, written?.dtype ?? dtype]));
    for (const { name, dtype } of packed.tensors.values()) {
      const isPlain = /embed_tokens|norm|lm_head/.test(name);
      expect([name, copied.get(name)]).toEqual([name, isPlain ? "F32" : dtype]);
    }
    const slice = (first: number) => `{sources: [{model: a, layer_range: [${first}, ${first + 1}]}]}`;
    const stack = bind(`merge_method: passthrough\nslices: [${[0, 1, 0].map(slice)}]`, { a: packed });
    expect(stack.faults).toEqual([]);
    const ofLayer = (checkpoint: { keys(): Iterable<string> }, layer: number) =>
      [...checkpoint.keys()].filter((name) => name.includes(`layers.${layer}.`)).length;
    const names = new Map(stack.tasks.map(({ name }) => [name, name]));
    expect(ofLayer(names, 2)).toBe(ofLayer(packed.tensors, 0));
  });
});

test("a packed model is no base for an adapter, by no method", () => {
  const lora = checkpointOf([
    ["base_model.model.model.layers.0.mlp.up_proj.lora_A.weight", [2, 8]],
    ["base_model.model.model.layers.0.mlp.up_proj.lora_B.weight", [16, 2]],
  ]);
  for (const kind of ["bitsandbytes 4 bits", "GPTQ", "MLX"]) {
    const models = { a: model(kinds[kind]!), lora };
    for (const recipe of [
      "merge_method: passthrough\nmodels: [{model: a+lora}]",
      linear.replace("model: a", "model: a+lora"),
    ])
      expect(bind(recipe, models).faults).toMatchObject([
        { code: "recipe/packed-weights", message: expect.stringContaining("an adapter cannot be added to it") },
      ]);
  }
});

test("a packed part of a model keeps its other modules from being merged", () => {
  const config = { text_config: { num_hidden_layers: 1, ...quantization("gptq") } };
  const tower: TensorShape[] = [
    ["vision_tower.encoder.layers.0.mlp.fc1.weight", [8, 8]],
    ["vision_tower.norm.weight", [8]],
  ];
  const text = tinyLlama(1).map(([name, ...rest]): TensorShape => [`language_model.${name}`, ...rest]);
  const a = checkpointOf([...text, ...gptq("language_model.model.layers.0.mlp.down_proj"), ...tower], config);
  const recipe = `merge_method: linear
modules:
  vision_tower: {models: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 1}}]}
`;
  expect(bind(recipe, { a, b: a }).faults).toMatchObject([
    { code: "recipe/packed-weights" },
    { code: "recipe/packed-weights" },
  ]);
});

test("the message names model and tensor, the hint how to come by values", () => {
  const [fault] = bind(linear, { a: model(kinds["bitsandbytes 4 bits"]!) }).faults;
  expect(fault).toMatchObject({
    message: expect.stringMatching(/^"a" holds model\.layers\.0\.mlp\.up_proj\.weight \(U8 \[64, 1\]\)/),
    hint: expect.stringMatching(/from_pretrained\(FOLDER\)\.dequantize\(\)\.save_pretrained\(OTHER\)/),
  });
});

test("two models that are packed differently are not stacked", () => {
  const of = (bits: number) => model({ tensors: gptq, config: quantization("gptq", { bits, dataset: `${bits}` }) });
  const stack =
    "merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: [0, 1]}]}, {sources: [{model: b, layer_range: [0, 2]}]}]";
  expect(bind(stack, { a: of(4), b: of(8) }).faults).toMatchObject([
    { code: "recipe/packed-weights", message: expect.stringContaining("one config") },
  ]);
  expect(bind(stack, { a: of(4), b: of(4) }).faults).toEqual([]);
});

test("a list of layers by number holds a packed stack in place", () => {
  const kept = model({
    tensors: gptq,
    config: quantization("gptq", { modules_to_not_convert: ["model.layers.1.mlp"] }),
  });
  const slice = (first: number) => `{sources: [{model: a, layer_range: [${first}, ${first + 1}]}]}`;
  const stack = (...layers: number[]) => `merge_method: passthrough\nslices: [${layers.map(slice)}]`;
  expect(bind(stack(0, 1), { a: kept }).faults).toEqual([]);
  expect(bind(stack(0, 1, 1), { a: kept }).faults).toHaveLength(1);
  expect(bind(stack(1, 0), { a: kept }).faults).toMatchObject([{ message: expect.stringContaining("names layers") }]);
});

test("integers of no known custom are refused where they are weights, and copied where they are buffers", () => {
  const buffers: TensorShape[] = [
    ["embeddings.position_ids", [1, 64], "I64"],
    ["model.layers.0.attn.bias", [1, 1, 8, 8], "U8"],
    ["model.layers.0.attn.relative_position_index", [49, 49], "I64"],
    ["model.layers.0.bn.num_batches_tracked", [], "I64"],
    ["model.layers.0.mask", [8, 8], "BOOL"],
    ["d2t", [32], "I64"],
  ];
  const models = { a: checkpointOf([...tinyLlama(1), ...buffers]), b: checkpointOf([...tinyLlama(1), ...buffers]) };
  expect(bind(linear, models).faults).toEqual([]);
  for (const dtype of ["I8", "U8", "I32", "I64"] as const) {
    const integers = checkpointOf(tinyLlama(1, 10, dtype));
    expect(bind(linear, { a: integers, b: integers }).faults[0]).toMatchObject({ code: "recipe/dtype-mismatch" });
  }
});

test.each<[string, string, readonly number[], StoredDtype]>([
  ["in one dimension", "w", [128], "I8"],
  ["of words", "data", [64], "I32"],
  ["of signs", "sign", [16, 8], "BOOL"],
])("integers of no known name are refused where most of a model is such: %s", (_, leaf, shape, dtype) => {
  const codes = model({ tensors: parts([leaf, shape, dtype], ["factor", [16], "F32"]) });
  const [fault] = bind(linear, { a: codes, b: codes }).faults;
  expect(fault).toMatchObject({ code: "recipe/dtype-mismatch", message: expect.stringContaining(`.${leaf} (`) });
  expect(bind("merge_method: passthrough\nmodels: [{model: a}]", { a: codes }).faults).toEqual([]);
});

test.each([
  ["fp8", ["weight_scale_inv", [1, 1], "F32"]],
  ["compressed-tensors", ["weight_scale", [1], "BF16"]],
  ["fbgemm_fp8", ["weight_scale", [16, 1], "F32"]],
  ["modelopt", ["weight_scale", [], "F32"]],
  ["quark", ["weight_scale", [], "F32"]],
  ["fp8", ["scale", [1, 1], "F32"]],
  ["fp8", ["weight_scale_inv", [1, 1], "F8_E8M0"]],
] as const)("fp8 with scales stays merged, whatever its quant_method: %s, %j", (method, scale) => {
  const activation: TensorShape[] = [
    ["input_scale", [], "F32"],
    ["k_scale", [], "F32"],
  ];
  const fp8 = model({
    tensors: weight("F8_E4M3", [16, 8], scale as TensorShape, ...activation),
    config: quantization(method),
  });
  const { faults, tasks } = bind(`${linear}\ndtype: bfloat16`, { a: fp8, b: fp8 });
  expect(faults).toEqual([]);
  expect(tasks.find(({ name }) => name === "model.layers.1.mlp.up_proj.weight")).toMatchObject({
    kind: "merge",
    dtype: "BF16",
  });
});

test("scales that are powers of two are copied as they stand, and not made anew as other numbers", () => {
  const tensors = weight("F8_E4M3", [16, 8], ["weight_scale_inv", [1, 1], "F8_E8M0"]);
  const a = model({ tensors, config: quantization("fp8") });
  const copy = bind("merge_method: passthrough\nmodels: [{model: a}]", { a });
  expect(copy.faults).toEqual([]);
  expect(copy.tasks.find(({ name }) => name.endsWith("1.mlp.up_proj.weight_scale_inv"))).toMatchObject({
    ...{ kind: "copy", dtype: "U8", written: { dtype: "F8_E8M0", shape: [1, 1] } },
  });
  expect(bind(linear, { a, b: a }).faults).toMatchObject([
    { code: "recipe/packed-weights", hint: expect.stringContaining("dtype: bfloat16") },
  ]);
});

test("fp8 codes with scales of a custom that is not known are refused", () => {
  const odd = model({ tensors: weight("F8_E4M3", [16, 8], ["qscales", [16], "F32"]) });
  expect(bind(linear, { a: odd, b: odd }).faults.length).toBeGreaterThan(0);
});

test.each<[string, TensorShape, Record<string, unknown> | undefined]>([
  ["one a row", ["weight_s", [16, 1], "F32"], undefined],
  ["one for all", ["amax", [], "BF16"], undefined],
  ["of exponents", ["weight_exponent", [16, 1], "I8"], undefined],
  ["that are missing, where the config says fp8", ["bias", [16], "BF16"], quantization("fp8")],
])("fp8 codes with scales that go by no known name are refused: %s", (_, beside, config) => {
  const codes = model({ tensors: weight("F8_E4M3", [16, 8], beside), ...(config && { config }) });
  expect(bind(`${linear}\ndtype: bfloat16`, { a: codes, b: codes }).faults.length).toBeGreaterThan(0);
});

test.each<[string, TensorShape]>([
  ["a bias", ["bias", [16], "F32"]],
  ["the lengths of a weight norm", ["weight_g", [16, 1], "F32"]],
  ["a correction of the router", ["e_score_correction_bias", [16], "F32"]],
  ["what is cast alike", ["layer_gain", [16], "F8_E4M3"]],
  ["what was measured of inputs", ["input_scale", [], "F32"]],
])("plain fp8 values are merged beside %s", (_, beside) => {
  const values = model({ tensors: weight("F8_E4M3", [16, 8], beside) });
  expect(bind(`${linear}\ndtype: bfloat16`, { a: values, b: values }).faults).toEqual([]);
});
