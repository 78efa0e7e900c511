import { expect, test } from "vitest";
import { parse, summaryOf } from "./parsing.ts";

function warningsOf(text: string): string[] {
  const { faults, warnings } = parse(text);
  expect(faults).toEqual([]);
  return summaryOf(warnings);
}

test("a density left out of a method that prunes is pointed out once, at the first model that lacks it", () => {
  const text = (parameters: string) => `merge_method: ties
base_model: base
models:
  - {model: a, parameters: {weight: 1, density: 0.5}}
  - {model: b, parameters: {weight: 1}}
  - {model: c, parameters: {weight: 1}}
${parameters}`;
  expect(warningsOf(text(""))).toEqual([
    'prunes-nothing 5:5 no density for "b" and 1 more of the models: ties prunes nothing there',
  ]);
  expect(warningsOf(text("parameters: {density: 1}\n"))).toEqual([]);
});

test("shares to drop are as good as a density, and methods that prune nothing need none", () => {
  const models = "base_model: base\nmodels: [{model: a, parameters: {weight: 1";
  expect(warningsOf(`merge_method: breadcrumbs\n${models}, drop_smallest: 0.3}}]\n`)).toEqual([]);
  expect(warningsOf(`merge_method: task_arithmetic\n${models}}}]\n`)).toEqual([]);
});

test("weights of both signs are pointed out where they are normalized, by default or by the recipe", () => {
  const text = (method: string, normalize: string) => `merge_method: ${method}
base_model: base
models:
  - {model: a, parameters: {weight: 1}}
  - {model: b, parameters: {weight: [0.5, -0.2]}}
parameters: {${normalize}}
`;
  const signs = (lines: string[]) => lines.filter((line) => line.startsWith("opposed-weights"));
  expect(signs(warningsOf(text("ties", "")))).toEqual([expect.stringContaining("opposed-weights 5:29")]);
  expect(signs(warningsOf(text("ties", "normalize: false")))).toEqual([]);
  expect(signs(warningsOf(text("task_arithmetic", "")))).toEqual([]);
  expect(signs(warningsOf(text("task_arithmetic", "normalize: true")))).toHaveLength(1);
});

test("weights of one sign are nothing to warn of", () => {
  const text =
    "merge_method: linear\nmodels:\n  - {model: a, parameters: {weight: -1}}\n  - {model: b, parameters: {weight: 0}}\n";
  expect(warningsOf(text)).toEqual([]);
});

test("gamma above one half is pointed out wherever it stands", () => {
  const text = (gamma: number) => `merge_method: breadcrumbs
base_model: base
models: [{model: a, parameters: {weight: 1, density: 0.5}}]
parameters:
  gamma: [{filter: mlp, value: ${gamma}}, {value: 0.01}]
`;
  expect(warningsOf(text(0.9))).toEqual([expect.stringMatching(/^large-gamma 5:3 gamma is 0.9: .* 1 - gamma \(0.1\)/)]);
  expect(warningsOf(text(0.5))).toEqual([]);
});

test("the base listed among the models of a delta method is pointed out, in slices only if it stands there twice", () => {
  const listed =
    "merge_method: task_arithmetic\nbase_model: base\nparameters: {weight: 1}\nmodels:\n  - model: a\n  - model: base\n";
  expect(warningsOf(listed)).toEqual([expect.stringMatching(/^base-listed 6:5 "base" is the base_model: its entry/)]);
  const slices = (more: string) => `merge_method: task_arithmetic
base_model: base
parameters: {weight: 1}
slices:
  - sources:
      - {model: base, layer_range: [0, 2]}
      - {model: a, layer_range: [0, 2]}
${more}`;
  expect(warningsOf(slices(""))).toEqual([]);
  expect(warningsOf(slices("      - {model: base, layer_range: [2, 4]}\n"))).toEqual([
    expect.stringMatching(/^base-listed 8:9 "base" is the base_model: as one of the models its delta is zero/),
  ]);
});

test("a base_model that takes no part is pointed out", () => {
  const text = "merge_method: linear\nbase_model: base\nmodels: [{model: a, parameters: {weight: 1}}]\n";
  expect(warningsOf(text)).toEqual([expect.stringMatching(/^no-effect 1:1 base_model "base" is not among the models/)]);
});

test("linear with a base that is not listed and a weight for all is refused: the base could be meant as well", () => {
  const text = (models: string) =>
    `merge_method: linear\nbase_model: base\nparameters: {weight: 1}\nmodels: [${models}]\n`;
  expect(parse(text("{model: a}")).faults).toMatchObject([{ code: "recipe/base-unlisted", line: 3 }]);
  expect(parse(text("{model: a}, {model: base}")).faults).toEqual([]);
});
