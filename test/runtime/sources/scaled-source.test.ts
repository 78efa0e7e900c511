import { expect, test } from "vitest";
import type { ScaledSource } from "../../../merge/work/index.ts";
import { elementsOf, StoredTensors } from "./stored-tensors.ts";

/** Codes [3, 3] in blocks of 2 x 2. */
function codes(): StoredTensors {
  return new StoredTensors([
    { name: "w", dtype: "F8_E4M3", shape: [3, 3], values: [1, 2, 3, 4, 5, 6, 7, 8, 9] },
    { name: "w_scale_inv", dtype: "F32", shape: [2, 2], values: [0.1, 10, 100, 1000] },
  ]);
}

const scaled = (tensors: StoredTensors): ScaledSource => ({
  kind: "scaled",
  tensor: "w",
  dtype: "F32",
  storedRowLength: 3,
  codes: tensors.source("w"),
  scales: tensors.source("w_scale_inv"),
  rows: 3,
  blockRows: 2,
  blockColumns: 2,
});
const tenth = (value: number) => Math.fround(Math.fround(0.1) * value);
const worked = [tenth(1), tenth(2), 30, tenth(4), tenth(5), 60, 700, 800, 9000];

test.each(["wasm", "reference"] as const)(
  "codes times the scale of their block, worked by hand: %s",
  async (engine) => {
    const tensors = codes();
    expect(await tensors.read(scaled(tensors), 0, 9, { engine })).toEqual(worked);
  },
);

test("every cut of the elements gives the same values", async () => {
  const tensors = codes();
  const source = scaled(tensors);
  const reader = await tensors.reader([source]);
  for (let first = 0; first < 9; first++) {
    for (let count = 0; first + count <= 9; count++) {
      expect(await elementsOf(reader, source, 3, first, count)).toEqual(worked.slice(first, first + count));
    }
  }
});

test("one scale for the tensor, or one a row, are blocks of that shape", async () => {
  const tensors = codes();
  const whole = { ...scaled(tensors), blockRows: 3, blockColumns: 3 };
  expect(await tensors.read(whole, 0, 9)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9].map(tenth));
  const perRow = { ...scaled(tensors), blockRows: 1, blockColumns: 3 };
  expect(await tensors.read(perRow, 3, 6)).toEqual([40, 50, 60, 700, 800, 900]);
});
