import { expect, test } from "vitest";
import { type Dtype, scaledTensors, scaleNameFor } from "../../checkpoint/index.ts";
import { checkpointOf, type TensorShape } from "../recipe/checkpoints.ts";

const scaled = (tensors: readonly TensorShape[], config?: Record<string, unknown>) =>
  scaledTensors(checkpointOf(tensors, config), "model");
const gridOf = (codes: readonly number[], scales: readonly number[], config?: Record<string, unknown>) => {
  const tensors: TensorShape[] = [
    ["m.weight", codes, "F8_E4M3"],
    ["m.weight_scale", scales, "F32"],
  ];
  const { rows, columns, blockRows, blockColumns } = scaled(tensors, config).get("m.weight")!;
  return [rows, columns, blockRows, blockColumns];
};

test.each([
  ["blocks of 128 x 128, cut short at the edges", [300, 200], [3, 2], [300, 200, 128, 128]],
  ["one for the tensor, as a scalar", [300, 200], [], [300, 200, 300, 200]],
  ["one for the tensor, as a list of one", [300, 200], [1], [300, 200, 300, 200]],
  ["one a row, as a column", [300, 200], [300, 1], [300, 200, 1, 200]],
  ["one a row, as a list", [300, 200], [300], [300, 200, 1, 200]],
  ["blocks of stacked matrices", [4, 256, 200], [4, 2, 2], [1024, 200, 128, 128]],
  ["one for each stacked matrix", [4, 300, 200], [4, 1, 1], [1200, 200, 300, 200]],
  ["one for each row of stacked matrices", [4, 300, 200], [4, 300, 1], [1200, 200, 1, 200]],
])("the shapes tell of %s", (_, codes, scales, grid) => {
  expect(gridOf(codes, scales)).toEqual(grid);
});

test.each([
  [{ quantization_config: { weight_block_size: [64, 32] } }],
  [{ text_config: { quantization_config: { weight_block_size: [64, 32] } } }],
  [{ quantization_config: { config_groups: { group_0: { weights: { block_structure: [64, 32] } } } } }],
])("the config tells of other blocks: %j", (config) => {
  expect(gridOf([100, 100], [2, 4], config)).toEqual([100, 100, 64, 32]);
});

test.each<[string, readonly number[], Dtype, readonly number[], Dtype, string]>([
  ["a grid of other blocks", [300, 200], "F8_E4M3", [2, 2], "F32", "their shapes do not fit"],
  ["stacked matrices with blocks cut short between them", [4, 300, 200], "F8_E4M3", [4, 3, 2], "F32", "shapes"],
  ["integers", [300, 200], "I8", [300, 1], "F32", "I8 codes are not supported"],
  ["scales that are no floats", [300, 200], "F8_E4M3", [3, 2], "U8", "U8 scales are not supported"],
])("refuses %s, naming both tensors", (_, codes, codeDtype, scales, scaleDtype, reason) => {
  const tensors: TensorShape[] = [
    ["m.weight", codes, codeDtype],
    ["m.weight_scale_inv", scales, scaleDtype],
  ];
  expect(() => scaled(tensors)).toThrow(reason);
  expect(() => scaled(tensors)).toThrow(/"m\.weight".*"m\.weight_scale_inv"/);
  expect(() => scaled(tensors)).toThrow(expect.objectContaining({ code: "checkpoint/block-scaled" }));
});

test.each([
  ["a.weight", "a.weight_scale_inv", "b.weight", "b.weight_scale_inv"],
  ["a.experts", "a.experts_scale_inv", "b.experts", "b.experts_scale_inv"],
  ["a.weight", "a.weight_scale", "b.weight", "b.weight_scale"],
  ["a.weight", "a.scale_weight", "b.weight", "b.scale_weight"],
])("scales of another tensor are named after the custom of %s and %s", (codes, scales, name, expected) => {
  const tensors: TensorShape[] = [
    [codes, [2, 2], "F8_E4M3"],
    [scales, [1], "F32"],
  ];
  expect(scaleNameFor(scaled(tensors).get(codes)!, name)).toBe(expected);
});
