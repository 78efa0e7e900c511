import { expect, test } from "vitest";
import type { Checkpoint } from "../../checkpoint/index.ts";
import { staleQuantization } from "../../recipe/index.ts";
import { bindModels } from "./binding.ts";
import { checkpointOf, type TensorShape, tinyLlama } from "./checkpoints.ts";

const gptq = { quant_method: "gptq", bits: 4 };
const linear = "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a}, {model: b}]\n";
const passthrough = "merge_method: passthrough\nmodels: [{model: a}]\n";
const config = (more: object) => ({ model_type: "llama", num_hidden_layers: 2, ...more });
const plain = (more: object = {}) => checkpointOf(tinyLlama(2), config(more));

const leftOver = ({ warnings }: { warnings: readonly { code: string; message: string }[] }) =>
  warnings.filter(({ code }) => code === "recipe/leftover-quantization").map(({ message }) => message);
const paths = (tasks: Parameters<typeof staleQuantization>[0], model: Checkpoint) =>
  staleQuantization(tasks, model).edits.map(({ path, value }) => `${path.join(".")} ${value}`);

test.each([
  [{ quantization_config: gptq }, ["quantization_config undefined"]],
  [{ compression_config: { quant_method: "compressed-tensors" } }, ["compression_config undefined"]],
  [{ text_config: { quantization_config: gptq } }, ["text_config.quantization_config undefined"]],
  [{ quantization: { bits: 4, group_size: 64 } }, ["quantization undefined"]],
  [{ quantization_config: null }, []],
  [{ quantization_config: { quant_method: "bitnet", quantization_mode: "online" } }, []],
  [
    { quantization_config: { quant_method: "modelopt", kv_cache_quant_algo: "FP8" } },
    ["quantization_config undefined"],
  ],
])("what a config tells of quantisation goes where the weights are plain: %j", (more, expected) => {
  for (const text of [linear, passthrough]) {
    const binding = bindModels(text, { a: plain(more), b: plain() });
    expect(binding.faults).toEqual([]);
    expect(paths(binding.tasks, plain(more))).toEqual(expected);
    expect(leftOver(binding)).toHaveLength(expected.length);
  }
});

test("the warning names key, model and method; a file of a quantiser beside the weights goes as well", () => {
  const a = { ...plain({ quantization_config: gptq }), companions: ["quantize_config.json", "merges.txt"] };
  const binding = bindModels(linear, { a, b: plain() });
  expect(leftOver(binding)).toEqual([
    'quantization_config in config.json, quantize_config.json of "a" say that it is quantised ("gptq"), and its weights are plain values: left out of the output',
  ]);
  expect(staleQuantization(binding.tasks, a).files).toEqual(["quantize_config.json"]);
});

test("codes that are copied keep what is said of them; codes that become values lose it without a word", () => {
  const packed = checkpointOf(
    [...tinyLlama(2), ["model.layers.0.mlp.down_proj.qweight", [8, 8], "I32"]],
    config({ quantization_config: gptq }),
  );
  expect(paths(bindModels(passthrough, { a: packed }).tasks, packed)).toEqual([]);
  const fp8: TensorShape[] = [
    ["model.layers.0.up.weight", [16, 8], "F8_E4M3"],
    ["model.layers.0.up.weight_scale", [1], "F32"],
  ];
  const coded = checkpointOf(fp8, { num_hidden_layers: 1, quantization_config: { quant_method: "fp8" } });
  const bound = (dtype: string) => bindModels(`${passthrough}${dtype}`, { a: coded });
  expect(paths(bound("").tasks, coded)).toEqual([]);
  expect(paths(bound("dtype: bfloat16\n").tasks, coded)).toEqual(["quantization_config undefined"]);
  expect([bound(""), bound("dtype: bfloat16\n")].flatMap(leftOver)).toEqual([]);
});

test("fresh scales are no powers of two, and the config does not say so; copied ones keep what is said of them", () => {
  const fp8: TensorShape[] = [
    ["model.layers.0.up.weight", [16, 8], "F8_E4M3"],
    ["model.layers.0.up.weight_scale_inv", [2, 1], "F32"],
  ];
  const quantization = { quant_method: "fp8", scale_fmt: "ue8m0", weight_block_size: [8, 8] };
  for (const [more, path] of [
    [{ quantization_config: quantization }, "quantization_config.scale_fmt"],
    [{ text_config: { quantization_config: quantization } }, "text_config.quantization_config.scale_fmt"],
  ] as const) {
    const a = checkpointOf(fp8, { num_hidden_layers: 1, quantization_config: quantization, ...more });
    const merged = bindModels(linear, { a, b: a });
    expect(paths(merged.tasks, a)).toContain(`${path} undefined`);
    expect(leftOver(merged)).toEqual([]);
    expect(paths(bindModels(passthrough, { a }).tasks, a)).toEqual([]);
  }
});
