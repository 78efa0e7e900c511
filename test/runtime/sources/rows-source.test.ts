import { expect, test } from "vitest";
import type { RowsSource } from "../../../merge/work/index.ts";
import { elementsOf, StoredTensors } from "./stored-tensors.ts";

function embeddings(): StoredTensors {
  return new StoredTensors([
    { name: "one", dtype: "BF16", shape: [4, 2], values: [1, 2, 3, 4, 5, 6, 7, 8] },
    { name: "two", dtype: "F32", shape: [2, 2], values: [10, 20, 30, 40] },
    { name: "bias", dtype: "F32", shape: [4], values: [0.5, 1.5, 2.5, 3.5] },
  ]);
}

const gathered = (tensors: StoredTensors): RowsSource => ({
  kind: "rows",
  tensor: "embed",
  dtype: "F32",
  storedRowLength: 2,
  width: 2,
  parts: [tensors.source("one"), tensors.source("two")],
  runs: [
    { part: 0, first: 1, count: 2 },
    { part: 1, rows: [1, 0] },
    { zero: 1 },
    {
      mean: [
        [0, 0],
        [1, 1],
        [0, 3],
      ],
    },
    { padding: 2 },
  ],
});

// Rows [3 4] [5 6] [30 40] [10 20] [0 0] [(1+30+7)/3, (2+40+8)/3], then twice the mean of these six.
const mean = [Math.fround(38 / 3), Math.fround(50 / 3)] as const;
const padding = [
  Math.fround((3 + 5 + 30 + 10 + 0 + mean[0]) / 6),
  Math.fround((4 + 6 + 40 + 20 + 0 + mean[1]) / 6),
] as const;
const worked = [3, 4, 5, 6, 30, 40, 10, 20, 0, 0, ...mean, ...padding, ...padding];

test.each(["wasm", "reference"] as const)("rows of every kind, worked by hand: %s", async (engine) => {
  const tensors = embeddings();
  expect(await tensors.read(gathered(tensors), 0, 16, { engine })).toEqual(worked);
});

test("every cut of the elements gives the same values", async () => {
  const tensors = embeddings();
  const source = gathered(tensors);
  const reader = await tensors.reader([source]);
  for (let first = 0; first < 16; first++) {
    for (let count = 0; first + count <= 16; count++) {
      expect(await elementsOf(reader, source, 2, first, count)).toEqual(worked.slice(first, first + count));
    }
  }
});

test("columns may be cut", async () => {
  const tensors = embeddings();
  expect(await tensors.read(gathered(tensors), 1, 4, { rowLength: 1 })).toEqual([5, 30, 10, 0]);
});

test("a tensor with one element a token has rows of one element", async () => {
  const tensors = embeddings();
  const source = { ...gathered(tensors), parts: [tensors.source("bias")], width: 1, storedRowLength: 5 };
  const runs = [{ part: 0, rows: [3, 0] }, { part: 0, first: 1, count: 2 }, { padding: 1 }];
  expect(await tensors.read({ ...source, runs }, 0, 5)).toEqual([3.5, 0.5, 1.5, 2.5, 2]);
});
