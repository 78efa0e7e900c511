import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { methodDeclarations } from "../../merge/methods/index.ts";
import { migrationOf } from "../../recipe/index.ts";

const cases = join(import.meta.dirname, "../golden/cases");
const methods = methodDeclarations();
const of = (text: string) => migrationOf(text, "r.yml", methods);
const about = (text: string) => of(text).differences.map(({ kind, line, subject }) => `${line} ${kind}: ${subject}`);

const plain = `merge_method: task_arithmetic
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
  const { differences } = of(`dtype: bfloat16
merge_method: breadcrumbs
base_model: base
models:
  - model: a
    parameters:
      weight: 1
      density: 0.9
      gamma: 0
`);
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
  expect(differences).toMatchObject([{ kind: "ignored-there", line: 7 }]);
  expect(differences[0]?.mergekit).toMatch(/without a word/);
});

describe("what mergekit cannot run", () => {
  test.each([
    [
      "a base that linear does not list",
      "merge_method: linear\nbase_model: b\nmodels:\n  - model: a\n    parameters: {weight: 1}\n",
      "2 fails-there: base_model: b",
    ],
    [
      "a single condition outside of a list",
      plain.replace("weight: 1", "weight: {filter: mlp, value: 1}"),
      "6 fails-there: weight with one condition outside of a list",
    ],
    [
      "a model twice in one slice",
      "merge_method: linear\nslices:\n  - sources:\n      - {model: a, layer_range: [0, 1], parameters: {weight: 1}}\n      - {model: a, layer_range: [1, 2], parameters: {weight: 1}}\n",
      "5 fails-there: a twice in one slice",
    ],
    [
      "a list of words",
      `${plain.replace("task_arithmetic", "dare_linear")}      density: 0.5\nparameters:\n  rescale_mode: [l1, l2]\n`,
      "9 fails-there: rescale_mode as a list of words",
    ],
  ])("%s", (_, text, line) => {
    expect(about(text)).toContain(line);
  });
});

test("a listed base, density and other values are no difference", () => {
  expect(about("merge_method: linear\nbase_model: a\nmodels:\n  - model: a\n    parameters: {weight: 1}\n")).toEqual(
    [],
  );
  expect(about(plain.replace("weight: 1", "weight: [0, 0.5, 1]"))).toEqual([]);
});

test("masks that depend on chance or rank are named, and lints keep their place", () => {
  const text = plain.replace("task_arithmetic", "della");
  expect(about(text)).toEqual([
    "1 defect: merge_method: della",
    "1 arithmetic: merge_method: della",
    expect.stringMatching(/^4 lint: no density/),
  ]);
});

test("text that is no YAML is refused with its place", () => {
  const { accepted, differences } = of("merge_method: [\n");
  expect(accepted).toBe(false);
  expect(differences[0]).toMatchObject({ kind: "refused-here" });
});

test.each(readdirSync(cases))("the golden recipe %s is looked through without harm", (name) => {
  const text = readFileSync(join(cases, name, "recipe.yml"), "utf8");
  for (const { subject, here, mergekit } of of(text).differences) expect([subject, here, mergekit]).not.toContain("");
});
