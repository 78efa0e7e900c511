import { expect, test } from "vitest";
import { bindRecipe, labelsFor, referencedModels } from "../../recipe/index.ts";
import { checkpointOf, type TensorShape } from "./checkpoints.ts";
import { methods, recipeOf } from "./parsing.ts";

const block = (layer: number, prefix = "model.layers"): TensorShape[] => [
  [`${prefix}.${layer}.up.weight`, [300, 200], "F8_E4M3"],
  [`${prefix}.${layer}.up.weight_scale_inv`, [3, 2], "F32"],
  [`${prefix}.${layer}.up.input_scale`, [1], "F32"],
  [`${prefix}.${layer}.norm.weight`, [200], "BF16"],
];
const plain: TensorShape[] = block(0).flatMap(([name, shape]) =>
  name.endsWith("weight") ? [[name, shape, "BF16"] satisfies TensorShape] : [],
);

function bind(text: string, models: Record<string, readonly TensorShape[]>) {
  const recipe = recipeOf(text);
  const references = referencedModels(recipe);
  const labels = labelsFor(references);
  const inputs = references.map((reference) => ({
    reference,
    label: labels.get(reference.text)!,
    checkpoint: checkpointOf(models[reference.path]!),
  }));
  return bindRecipe(recipe, inputs, { methods });
}
const described = ({ tasks }: ReturnType<typeof bind>) =>
  tasks.map(({ name, kind, dtype, shape }) => `${name.replace("model.layers.", "")} ${kind} ${dtype} [${shape}]`);
const linear = (dtype: string, ...models: string[]) =>
  `merge_method: linear\n${dtype}parameters: {weight: 1}\nmodels: [${models.map((m) => `{model: ${m}}`).join(", ")}]\n`;

test("scales are no tensors of the output where values are written", () => {
  const binding = bind(linear("dtype: bfloat16\n", "fp8", "plain"), { fp8: block(0), plain });
  expect(binding.faults).toEqual([]);
  expect(binding.notes).toEqual([]);
  expect(described(binding)).toEqual(["0.up.weight merge BF16 [300,200]", "0.norm.weight merge BF16 [200]"]);
  const [scaled, stored] = binding.tasks[0]!.models;
  expect(scaled).toMatchObject({ kind: "scaled", dtype: "F32", rows: 300, blockRows: 128, scales: { dtype: "F32" } });
  expect(stored).toMatchObject({ input: 1, dtype: "BF16" });
});

test.each(["", "out_dtype: float8_e4m3fn\n"])(
  "with %j scaled tensors get codes and scales, others keep their dtype",
  (dtype) => {
    const binding = bind(linear(dtype, "fp8", "plain"), { fp8: block(0), plain });
    expect(described(binding)).toEqual([
      "0.up.weight codes F8_E4M3 [300,200]",
      "0.up.weight_scale_inv scales F32 [3,2]",
      "0.up.input_scale copy F32 [1]",
      "0.norm.weight merge BF16 [200]",
    ]);
    const [codes, scales] = binding.tasks;
    expect(codes?.base).toMatchObject({ kind: "merged", dtype: "F32", task: { kind: "merge", dtype: "F32" } });
    expect(scales?.base).toEqual(codes?.base);
    expect(codes?.scaling).toEqual({ rows: 300, columns: 200, blockRows: 128, blockColumns: 128, codes: "F8_E4M3" });
  },
);

test("a first model without scales has an output without", () => {
  const binding = bind(linear("", "plain", "fp8"), { fp8: block(0), plain });
  expect(described(binding)).toEqual(["0.up.weight merge BF16 [300,200]", "0.norm.weight merge BF16 [200]"]);
});

test("scales follow their codes to another layer", () => {
  const text = `merge_method: passthrough
slices:
  - sources: [{model: fp8, layer_range: [1, 2], parameters: {scale: 0.5}}]
  - sources: [{model: fp8, layer_range: [0, 1]}]
`;
  const binding = bind(text, { fp8: [...block(0), ...block(1)] });
  expect(described(binding)).toEqual([
    "0.up.weight codes F8_E4M3 [300,200]",
    "0.up.weight_scale_inv scales F32 [3,2]",
    "0.up.input_scale copy F32 [1]",
    "0.norm.weight merge BF16 [200]",
    "1.up.weight copy F8_E4M3 [300,200]",
    "1.up.weight_scale_inv copy F32 [3,2]",
    "1.up.input_scale copy F32 [1]",
    "1.norm.weight merge BF16 [200]",
  ]);
  const [codes] = binding.tasks;
  expect(codes?.base).toMatchObject({ task: { models: [{ tensor: "model.layers.1.up.weight" }] } });
});

test("codes of another dtype than the output's are quantised anew, and so is a copy", () => {
  const text = "merge_method: passthrough\nout_dtype: float8_e5m2\nmodels: [{model: fp8}]\n";
  const binding = bind(text, { fp8: block(0) });
  expect(described(binding).slice(0, 2)).toEqual([
    "0.up.weight codes F8_E5M2 [300,200]",
    "0.up.weight_scale_inv scales F32 [3,2]",
  ]);
});

const ofLayers = (...own: (readonly TensorShape[])[]): TensorShape[] => [
  ...own.flat(),
  ["model.norm.weight", [200], "BF16"],
];
const plainBlock = (layer: number): TensorShape[] =>
  plain.map(([name, ...rest]) => [name.replace("layers.0", `layers.${layer}`), ...rest]);
const rowwise = (layer: number): TensorShape[] => [
  ...block(layer).filter(([name]) => !name.endsWith("scale_inv")),
  [`model.layers.${layer}.up.weight_scale`, [300, 1], "BF16"],
];
const codeModels = {
  fp8: ofLayers(block(0), block(1)),
  other: ofLayers(block(0), block(1)),
  values: ofLayers(plainBlock(0), plainBlock(1)),
  rowwise: ofLayers(rowwise(0), rowwise(1)),
  partly: ofLayers(block(0), plainBlock(1)),
  unmeasured: ofLayers(...[block(0), block(1)].map((own) => own.filter(([name]) => !name.endsWith("input_scale")))),
};

test.each<[string, string, string, boolean]>([
  ["", "fp8", "other", true],
  ["", "partly", "values", true],
  ["dtype: bfloat16\n", "fp8", "values", true],
  ["dtype: bfloat16\n", "values", "rowwise", true],
  ["", "fp8", "values", false],
  ["", "values", "fp8", false],
  ["", "fp8", "rowwise", false],
  ["out_dtype: float8_e4m3fn\n", "fp8", "values", false],
  ["", "fp8", "partly", false],
  ["", "fp8", "unmeasured", false],
  ["", "unmeasured", "fp8", false],
  ["dtype: bfloat16\n", "unmeasured", "fp8", true],
])("%j: a stack of %s and %s has one kind of codes, or is refused: %s", (dtype, first, second, isRight) => {
  const slices = [first, second].map((model) => `  - sources: [{model: ${model}, layer_range: [0, 2]}]\n`).join("");
  const { faults } = bind(`merge_method: passthrough\n${dtype}slices:\n${slices}`, codeModels);
  expect(faults.map(({ code, message }) => [code, message.slice(0, 7)])).toEqual(
    isRight ? [] : [["recipe/packed-weights", "slice 2"]],
  );
});
