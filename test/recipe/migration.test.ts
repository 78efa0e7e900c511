import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { methodDeclarations } from "../../merge/methods/index.ts";
import { migrationOf, type PeerVersion, peerVersions } from "../../recipe/index.ts";

const cases = join(import.meta.dirname, "../golden/cases");
const methods = methodDeclarations();
const of = (text: string, from: PeerVersion = "0.1.5") => migrationOf(text, "r.yml", methods, from);
const about = (text: string, from?: PeerVersion) =>
  of(text, from).differences.map(({ kind, line, subject }) => `${line} ${kind}: ${subject}`);

const plain = `out_dtype: float32
merge_method: task_arithmetic
base_model: base
models:
  - model: a
    parameters:
      weight: 1
`;

test("a recipe that behaves the same has no lines", () => {
  expect(of(plain)).toEqual({ differences: [], accepted: true });
});

test("lines come in the order of the text, each with what happens here and there", () => {
  const { differences } = of(
    `dtype: bfloat16
merge_method: breadcrumbs
base_model: base
models:
  - model: a
    parameters:
      weight: 1
      density: 0.9
      gamma: 0
`,
    "0.1.4",
  );
  expect(differences.map(({ line, kind }) => [line, kind])).toEqual([
    [1, "arithmetic"],
    [2, "arithmetic"],
    [9, "defect"],
  ]);
  expect(differences[2]).toMatchObject({ here: "no outliers are removed", subject: "gamma: 0" });
  expect(differences[2]?.mergekit).toMatch(/no effect at all/);
});

test("a key that mergekit ignores is refused here, and the recipe with it", () => {
  const { differences, accepted } = of(`${plain}      densty: 0.5\n`);
  expect(accepted).toBe(false);
  expect(differences).toMatchObject([{ kind: "ignored-there", line: 8 }]);
  expect(differences[0]?.mergekit).toMatch(/without a word/);
});

describe("what mergekit 0.1.4 cannot run", () => {
  test.each([
    [
      "a base that linear does not list",
      "out_dtype: float32\nmerge_method: linear\nbase_model: b\nmodels:\n  - model: a\n    parameters: {weight: 1}\n",
      "3 fails-there: base_model: b",
    ],
    [
      "a single condition outside of a list",
      plain.replace("weight: 1", "weight: {filter: mlp, value: 1}"),
      "7 fails-there: weight with one condition outside of a list",
    ],
    [
      "a model twice in one slice",
      "out_dtype: float32\nmerge_method: linear\nslices:\n  - sources:\n      - {model: a, layer_range: [0, 1], parameters: {weight: 1}}\n      - {model: a, layer_range: [1, 2], parameters: {weight: 1}}\n",
      "6 fails-there: a twice in one slice",
    ],
    [
      "a list of words",
      `${plain.replace("task_arithmetic", "dare_linear")}      density: 0.5\nparameters:\n  rescale_mode: [l1, l2]\n`,
      "10 fails-there: rescale_mode as a list of words",
    ],
  ])("%s", (_, text, line) => {
    expect(about(text, "0.1.4")).toContain(line);
  });
});

describe("what release 0.1.5 changed", () => {
  const breadcrumbs = (more: string) => `${plain.replace("task_arithmetic", "breadcrumbs")}${more}`;
  test.each([
    ["gamma 0 has an effect", breadcrumbs("      gamma: 0\n      density: 0.9\n"), /gamma/],
    ["a single condition is a list of one", plain.replace("weight: 1", "weight: {filter: mlp, value: 1}"), /condition/],
    ["words may stand in lists", breadcrumbs("      density: 0.9\nparameters:\n  rescale_mode: [l1, l2]\n"), /words/],
    [
      "karcher counts its iterations",
      "out_dtype: float32\nmerge_method: karcher\nparameters: {max_iter: 5}\nmodels: [{model: a}, {model: b}]\n",
      /max_iter/,
    ],
    [
      "model_stock stays at the base",
      "out_dtype: float32\nmerge_method: model_stock\nbase_model: base\nmodels: [{model: a}, {model: b}]\n",
      /model_stock/,
    ],
  ])("%s", (_, text, subject) => {
    expect(about(text, "0.1.4").filter((line) => subject.test(line)).length).toBe(
      1 + about(text).filter((line) => subject.test(line)).length,
    );
  });

  test("without dtype it promotes, and here the base's stays", () => {
    const text = plain.replace("out_dtype: float32\n", "");
    expect(about(text)).toEqual(["1 arithmetic: no dtype"]);
    expect(about(text, "0.1.4")).toEqual([]);
    expect(about(plain)).toEqual([]);
  });

  test("linear takes in a base that is not listed, where the recipe has one weight for all: refused here", () => {
    const text =
      "dtype: float32\nmerge_method: linear\nbase_model: b\nparameters: {weight: 1}\nmodels: [{model: a}, {model: c}]\n";
    expect(about(text)).toContain("3 refused-here: base_model: b");
    expect(of(text).accepted).toBe(false);
    expect(about(text, "0.1.4")).toContain("3 fails-there: base_model: b");
  });

  test("linear and slerp round inputs and result only", () => {
    const text = (method: string) =>
      plain.replace("out_dtype: float32", "dtype: bfloat16").replace("task_arithmetic", method);
    const there = (method: string, from: PeerVersion) =>
      of(text(method), from).differences.find(({ line }) => line === 1)?.mergekit;
    expect(there("slerp", "0.1.5")).toMatch(/^inputs are rounded/);
    expect(there("slerp", "0.1.4")).toMatch(/^every step/);
    expect(there("task_arithmetic", "0.1.5")).toMatch(/^every step/);
  });
});

test("a listed base, density and other values are no difference", () => {
  expect(
    about(
      "out_dtype: float32\nmerge_method: linear\nbase_model: a\nmodels:\n  - model: a\n    parameters: {weight: 1}\n",
    ),
  ).toEqual([]);
  expect(about(plain.replace("weight: 1", "weight: [0, 0.5, 1]"))).toEqual([]);
});

test("masks that depend on chance or rank are named, and lints keep their place", () => {
  const text = plain.replace("task_arithmetic", "della");
  expect(about(text)).toEqual([
    "2 defect: merge_method: della",
    "2 arithmetic: merge_method: della",
    expect.stringMatching(/^5 lint: no density/),
  ]);
});

test("text that is no YAML is refused with its place", () => {
  const { accepted, differences } = of("merge_method: [\n");
  expect(accepted).toBe(false);
  expect(differences[0]).toMatchObject({ kind: "refused-here" });
});

test.each(readdirSync(cases))("the golden recipe %s is looked through without harm", (name) => {
  const text = readFileSync(join(cases, name, "recipe.yml"), "utf8");
  for (const from of peerVersions) {
    for (const { subject, here, mergekit } of of(text, from).differences)
      expect([subject, here, mergekit]).not.toContain("");
  }
});
