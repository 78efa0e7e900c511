import { expect, test } from "vitest";
import { labelsFor, type ModelReference, referencedModels } from "../../recipe/index.ts";
import { recipeOf } from "./parsing.ts";

function modelOf(yaml: string): ModelReference | undefined {
  return recipeOf(`merge_method: passthrough\nmodels: [{model: ${yaml}}]\n`).layerRanges[0]?.sources[0]?.model;
}

test.each([
  ["dir/a", { text: "dir/a", path: "dir/a" }],
  ["owner/name@main", { text: "owner/name@main", path: "owner/name", revision: "main" }],
  ["{model: owner/name@main}", { text: "owner/name@main", path: "owner/name", revision: "main" }],
  [
    "{model: {path: owner/name, revision: 1234567}}",
    { text: "owner/name@1234567", path: "owner/name", revision: "1234567" },
  ],
  ["{model: {path: a+b@c}}", { text: '{"path":"a+b@c"}', path: "a+b@c" }],
  ...[
    "a@1+owner/lora@2",
    "{model: a@1, lora: owner/lora@2}",
    "{model: a@1, lora: {path: owner/lora, revision: 2}}",
  ].map(
    (yaml) =>
      [
        yaml,
        {
          text: "a@1+owner/lora@2",
          path: "a",
          revision: "1",
          adapter: { text: "+owner/lora@2", path: "owner/lora", revision: "2", isAdapter: true },
        },
      ] as const,
  ),
] as const)("%s names its path and revision", (yaml, expected) => {
  expect(modelOf(yaml)).toEqual(expected);
});

test("models are listed once, the base first, then in the order of the recipe", () => {
  const recipe = recipeOf(`merge_method: passthrough
base_model: z
slices:
  - sources: [{model: b@1, layer_range: [0, 1]}]
  - sources: [{model: a, layer_range: [0, 1]}]
    base_model: y
  - sources: [{model: {model: {path: b, revision: 1}}, layer_range: [1, 2]}]
  - sources: [{model: b, layer_range: [1, 2]}]
`);
  expect(referencedModels(recipe).map(({ text }) => text)).toEqual(["z", "b@1", "a", "y", "b"]);
});

test("labels are the last part of the path, numbered where two models share it", () => {
  const references = ["/data/x/tiny", "other/tiny@main", "./tiny/", "tiny#2", ".."].map((text) => {
    const [path = "", revision] = text.split("@");
    return { text, path, ...(revision && { revision }) };
  });
  expect([...labelsFor(references).values()]).toEqual(["tiny", "tiny#2", "tiny#3", "tiny#2#2", "model"]);
});
