import { expect, test } from "vitest";
import type { RowRun } from "../../merge/work/index.ts";
import { outputVocabulary, RowGathering, type TokenRule, Vocabularies } from "../../tokenizer/index.ts";
import { bpe } from "./tokenizers.ts";

const known = new Vocabularies();
const base = known.of(bpe(["a", "b", "c", "d", "e"]), 5);
const one = known.of(
  bpe(
    ["a", "b", "c", "d", "e"],
    [],
    [
      ["<1>", 5],
      ["<both>", 6],
    ],
  ),
  7,
);
const two = known.of(bpe(["e", "d", "c", "b", "a"], [], [["<both>", 5]]), 6);
const vocabularies = [base, one, two];

function gathering(
  rules: [string, TokenRule][] = [],
  options: { base?: number; rows?: (number | undefined)[]; pad?: number } = {},
) {
  const listed = rules.map(([token]) => ({ token }));
  const order = [0, 1, 2];
  const asked = {
    extent: "union",
    pattern: 0,
    vocabularies,
    order,
    listed,
    padToMultipleOf: options.pad ?? 1,
  } as const;
  const output = outputVocabulary(asked).vocabulary;
  const tensorRows = options.rows ?? [5, 7, 6];
  return new RowGathering({ output, vocabularies, order, base: options.base, rules: new Map(rules), tensorRows });
}

/** Runs written out, one entry a row, parts named by model. */
function rowsOf(of: RowGathering, model: number): unknown[] {
  const { runs, others } = of.of(model);
  const name = (part: number) => (part === 0 ? model : others[part - 1]);
  return runs.flatMap((run: RowRun): unknown[] => {
    if ("zero" in run) return Array(run.zero).fill("zero");
    if ("padding" in run) return Array(run.padding).fill("padding");
    if ("mean" in run) return [run.mean.map(([part, row]) => [name(part), row])];
    const rows = "rows" in run ? run.rows : Array.from({ length: run.count }, (_, k) => run.first + k);
    return rows.map((row) => [name(run.part), row]);
  });
}

test("a model's own rows in the order of the output, as runs where they stand together", () => {
  // a b c d e <1> <both>
  expect(gathering().of(1)).toEqual({ runs: [{ part: 0, first: 0, count: 7 }], others: [] });
  expect(rowsOf(gathering(), 2)).toEqual([
    [2, 4],
    [2, 3],
    [2, 2],
    [2, 1],
    [2, 0],
    [1, 5],
    [2, 5],
  ]);
});

test("a token that a model lacks: the only other model's row; the mean of several", () => {
  expect(rowsOf(gathering(), 0).slice(5)).toEqual([
    [1, 5],
    [
      [1, 6],
      [2, 5],
    ],
  ]);
});

test("the base's row goes before the mean, for models that lack the token", () => {
  const withBase = gathering([], { base: 1 });
  expect(rowsOf(withBase, 0).slice(5)).toEqual([
    [1, 5],
    [1, 6],
  ]);
  expect(rowsOf(withBase, 2).slice(5)).toEqual([
    [1, 5],
    [2, 5],
  ]);
});

test("a source is for models that lack the token, with force for all", () => {
  const source = { model: 2, row: 3 };
  expect(rowsOf(gathering([["<both>", { source, force: false }]]), 0)[6]).toEqual([2, 3]);
  expect(rowsOf(gathering([["<both>", { source, force: false }]]), 1)[6]).toEqual([1, 6]);
  expect(rowsOf(gathering([["<both>", { source, force: true }]]), 1)[6]).toEqual([2, 3]);
  expect(rowsOf(gathering([["<both>", { source: "zero", force: true }]]), 2)[6]).toEqual("zero");
  // Without a source force takes what the model would get that lacks the token.
  expect(rowsOf(gathering([["<1>", { force: true }]]), 1)[5]).toEqual([1, 5]);
  expect(rowsOf(gathering([["a", { force: true }]], { base: 0 }), 2)[0]).toEqual([0, 0]);
});

test("a token that no model has is zero and is named; rows beyond the tokens are padding", () => {
  const rows = gathering([["<new>", { force: false }]], { pad: 5 });
  expect(rowsOf(rows, 1).slice(7)).toEqual(["zero", "padding", "padding"]);
  expect([...rows.nowhere]).toEqual(["<new>"]);
  expect([...gathering([["<new>", { source: "zero", force: false }]]).nowhere]).toEqual([]);
});

test("a tensor with fewer rows than the model has tokens lacks those of the others", () => {
  expect(rowsOf(gathering([], { rows: [5, 6, undefined] }), 1)).toEqual([
    [1, 0],
    [1, 1],
    [1, 2],
    [1, 3],
    [1, 4],
    [1, 5],
    "zero",
  ]);
});

test("models of one vocabulary share their runs", () => {
  const order = [0, 1, 2];
  const output = outputVocabulary({
    extent: "own",
    pattern: 0,
    vocabularies: [base, base, two],
    order,
    listed: [],
    padToMultipleOf: 1,
  }).vocabulary;
  const shared = new RowGathering({
    output,
    vocabularies: [base, base, two],
    order,
    base: undefined,
    rules: new Map(),
    tensorRows: [5, 5, 6],
  });
  expect(shared.of(0)).toBe(shared.of(1));
});
