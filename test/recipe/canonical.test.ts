import { expect, test } from "vitest";
import { canonicalRecipe, labelsFor, referencedModels } from "../../recipe/index.ts";
import { recipeOf } from "./parsing.ts";

function canonical(text: string): string {
  const recipe = recipeOf(text);
  return JSON.stringify(canonicalRecipe(recipe, labelsFor(referencedModels(recipe))));
}

const plain = `merge_method: ties
base_model: /data/models/base
dtype: bfloat16
models:
  - model: /data/models/a
    parameters:
      weight: 0.5
      density: [{filter: mlp, value: [0.1, 0.9]}, {value: 1}]
parameters:
  normalize: true
  rescale_mode: l2
`;

test("texts that mean the same give the same: key order, quotes, comments, aliases, paths", () => {
  const other = `# the same
parameters: {"rescale_mode": 'l2', normalize: yes}
models:
  - parameters:
      density:
        - {value: [1.0e-1, "0.9"], filter: "mlp"}
        - {filter: "*", value: 1.0}
      "weight": &half 5.0e-1
    model: ../elsewhere/a
dtype: torch.bfloat16
base_model: {model: {path: ../elsewhere/base}}
merge_method: "ties"
`;
  expect(canonical(other)).toBe(canonical(plain));
});

test("no path is in it", () => {
  expect(canonical(plain)).not.toContain("data");
});

test.each([
  ["a value", "weight: 0.5", "weight: 0.25"],
  ["a filter", "filter: mlp", "filter: attn"],
  ["the method", "ties", "dare_ties"],
  ["the dtype", "bfloat16", "float16"],
  ["where a dtype stands", "dtype:", "out_dtype:"],
  ["a model", "models/a", "models/b"],
  ["the base", "models/base", "models/other"],
  ["a global parameter", "normalize: true", "normalize: false"],
])("%s makes a difference", (_, from, to) => {
  expect(canonical(plain.replace(from, to))).not.toBe(canonical(plain));
});

test("layer ranges make a difference", () => {
  const stack = (end: number) =>
    `merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: [0, ${end}]}]}]\n`;
  expect(canonical(stack(2))).not.toBe(canonical(stack(3)));
});
