import { describe, expect, test } from "vitest";
import { methodDeclarations } from "../../merge/methods/index.ts";
import { documentsIn } from "../../recipe/documents.ts";
import { parseRecipe, recipeTextUpTo, referencedModels } from "../../recipe/index.ts";

const options = { methods: methodDeclarations(), allowUnknownKeys: false };
const faults = (text: string) =>
  parseRecipe(text, "c.yml", options).faults.map(({ line, message }) => `${line}: ${message}`);
const linear = (model: string, name = "") => `${name === "" ? "" : `name: ${name}\n`}merge_method: linear
models:
  - model: ${model}
    parameters: {weight: 1}
`;

describe("documents of a file", () => {
  test.each([
    ["one", "a: 1\n", ["a: 1\n"]],
    ["a marker before the first", "# about\n---\na: 1\n", ["\n---\na: 1\n"]],
    ["two, the second with its place kept", "a: 1\n---\nb: 1\n", ["a: 1\n", "\n---\nb: 1\n"]],
    ["an empty one between", "a: 1\n---\n---\nb: 1\n", ["a: 1\n", "\n\n---\nb: 1\n"]],
    ["a marker within a line is text", "a: x --- y\n", ["a: x --- y\n"]],
    ["content after the marker", "--- a\n--- b\n", ["--- a\n", "\n--- b\n"]],
  ])("%s", (_, text, expected) => {
    expect(documentsIn(text).map((document) => document.text)).toEqual(expected);
  });
});

test("the last document is the recipe, and those it builds on come with it in their order", () => {
  const text = [linear("a", "one"), linear("one", "two"), linear("unrelated", "three"), linear("two")].join("---\n");
  const { recipe, faults, warnings } = parseRecipe(text, "c.yml", options);
  expect(faults).toEqual([]);
  expect(recipe?.earlier?.map(({ name }) => name)).toEqual(["one", "two"]);
  expect(recipe && referencedModels(recipe).map(({ text }) => text)).toEqual(["a"]);
  expect(warnings.map(({ line, message }) => `${line}: ${message}`)).toEqual([
    '13: no document that is merged builds on "three": it is not merged',
  ]);
});

describe("faults of a chain have their places in the file", () => {
  test.each([
    [
      "a document without a name",
      [linear("a"), linear("b")],
      "1: a document that is not the last of its file needs a name",
    ],
    [
      "a name that stands twice",
      [linear("a", "x"), linear("b", "x"), linear("x")],
      '7: two documents are called "x", the first of them in line 1',
    ],
    [
      "a document that names a later one",
      [linear("y", "x"), linear("x", "y"), linear("y")],
      '4: "y" is the document in line 7, which comes later',
    ],
    ["a document that names itself", [linear("x", "x"), linear("x")], '4: "x" is this document itself'],
    ["an unknown key in the second", [linear("a", "x"), `${linear("x")}wieght: 1\n`], '11: unknown key "wieght"'],
  ])("%s", (_, documents, fault) => {
    expect(faults(documents.join("---\n"))).toContain(fault);
  });
});

test("the text of a kept document is the file up to it", () => {
  const text = [linear("a", "one"), linear("one", "two"), linear("two")].join("---\n");
  expect(recipeTextUpTo(text, "two")).toBe([linear("a", "one"), linear("one", "two")].join("---\n"));
  expect(recipeTextUpTo(text, "three")).toBeUndefined();
});
