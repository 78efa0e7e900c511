import { expect, test } from "vitest";
import type { AdapterSource, NormedSource } from "../../../merge/work/index.ts";
import { elementsOf, StoredTensors } from "./stored-tensors.ts";

const { fround } = Math;

/** A weight [3, 2] = [out, in] with an adapter of rank 2. */
function small(): StoredTensors {
  return new StoredTensors([
    { name: "w", dtype: "BF16", shape: [3, 2], values: [1, 2, 3, 4, 5, 6] },
    { name: "wT", dtype: "F32", shape: [2, 3], values: [1, 3, 5, 2, 4, 6] },
    { name: "a", dtype: "F32", shape: [2, 2], values: [1, 10, 100, 1000] },
    { name: "b", dtype: "F16", shape: [3, 2], values: [1, 2, 0, 1, -1, 0.5] },
  ]);
}

const adapter = (tensors: StoredTensors, transposed = false): AdapterSource => ({
  kind: "adapter",
  tensor: "w",
  dtype: "F32",
  storedRowLength: transposed ? 3 : 2,
  base: tensors.source(transposed ? "wT" : "w"),
  rows: transposed ? 2 : 3,
  columns: transposed ? 3 : 2,
  rank: 2,
  scale: 0.5,
  a: tensors.source("a"),
  b: tensors.source("b"),
  transposed,
});

// B A: rows [1*1 + 2*100, 1*10 + 2*1000], [100, 1000], [-1 + 50, -10 + 500]; times 0.5, added to W.
const worked = [1 + 100.5, 2 + 1005, 3 + 50, 4 + 500, 5 + 24.5, 6 + 245];

test.each(["wasm", "reference"] as const)("a weight with an adapter, worked by hand: %s", async (engine) => {
  const tensors = small();
  expect(await tensors.read(adapter(tensors), 0, 6, { engine })).toEqual(worked);
});

test("fan_in_fan_out adds the transposed product to a weight stored as [in, out]", async () => {
  const tensors = small();
  const [w00, w01, w10, w11, w20, w21] = worked;
  expect(await tensors.read(adapter(tensors, true), 0, 6)).toEqual([w00, w10, w20, w01, w11, w21]);
});

test("every cut of the elements gives the same values, with factors kept and without", async () => {
  const tensors = small();
  for (const transposed of [false, true]) {
    const source = adapter(tensors, transposed);
    const whole = await tensors.read(source, 0, 6);
    for (const keptBytes of [0, 1e6]) {
      const reader = await tensors.reader([source], "wasm", keptBytes);
      for (let first = 0; first < 6; first++) {
        for (let count = 0; first + count <= 6; count++) {
          const part = await elementsOf(reader, source, source.storedRowLength, first, count);
          expect(part).toEqual(whole.slice(first, first + count));
        }
      }
    }
  }
});

test("the sum over the rank is float64 in order of rank, and is rounded once, after scale and base", async () => {
  // In float32, or rounded before the base is added, 2^30 + 1 - 2^30 loses the 1; in another order it would stay, too.
  const tensors = new StoredTensors([
    { name: "w", dtype: "F32", shape: [1, 1], values: [2 ** -20] },
    { name: "a", dtype: "F32", shape: [3, 1], values: [2 ** 30, 1, -(2 ** 30)] },
    { name: "b", dtype: "F32", shape: [1, 3], values: [1, 1, 1] },
    { name: "a2", dtype: "F32", shape: [3, 1], values: [2 ** 60, 1, -(2 ** 60)] },
  ]);
  const source: AdapterSource = {
    ...adapter(small()),
    base: tensors.source("w"),
    storedRowLength: 1,
    rows: 1,
    columns: 1,
  };
  const one = { ...source, rank: 3, a: tensors.source("a"), b: tensors.source("b") };
  expect(await tensors.read(one, 0, 1)).toEqual([fround(2 ** -20 + 0.5)]);
  // Beyond float64's digits the order shows: (2^60 + 1) - 2^60 is 0.
  expect(await tensors.read({ ...one, a: tensors.source("a2") }, 0, 1)).toEqual([2 ** -20]);
});

test("adapters on one base read each chunk of it once", async () => {
  const numbers = [0, 1, 2];
  const tensors = new StoredTensors([
    { name: "w", dtype: "BF16", shape: [3, 2], values: [1, 2, 3, 4, 5, 6] },
    ...numbers.flatMap((n) => [
      { name: `a${n}`, dtype: "F32" as const, shape: [1, 2], values: [1, n] },
      { name: `b${n}`, dtype: "F32" as const, shape: [3, 1], values: [1, 2, n] },
    ]),
  ]);
  const like = { ...adapter(small()), base: tensors.source("w"), rank: 1 };
  const sources = numbers.map((n) => ({ ...like, a: tensors.source(`a${n}`), b: tensors.source(`b${n}`) }));
  const reader = await tensors.reader(sources, "wasm", 1e6);
  for (const [first, count] of [
    [0, 4],
    [4, 2],
  ] as const) {
    for (const source of sources) await elementsOf(reader, source, 2, first, count);
  }
  // W in bf16 once, every factor once.
  expect(reader.files.bytesRead).toBe(6 * 2 + 3 * (2 * 4 + 3 * 4));
});

test("a factor with a value that is no number is found, and named", async () => {
  const tensors = new StoredTensors([
    { name: "w", dtype: "F32", shape: [1, 2], values: [1, 2] },
    { name: "lora_A", dtype: "F32", shape: [1, 2], values: [1, Number.NaN] },
    { name: "lora_B", dtype: "F32", shape: [1, 1], values: [0] },
  ]);
  const source: AdapterSource = { ...adapter(small()), base: tensors.source("w"), rows: 1, rank: 1 };
  const broken = { ...source, a: tensors.source("lora_A"), b: tensors.source("lora_B") };
  await expect(tensors.read(broken, 0, 2)).rejects.toThrow("model: lora_A holds NaN at element 1");
});

test("a tensor that several models share is read once a chunk, though no adapter changes it", async () => {
  const tensors = small();
  const sources = [tensors.source("wT"), { ...tensors.source("wT") }, tensors.source("a")];
  const reader = await tensors.reader(sources);
  for (const source of sources) await elementsOf(reader, source, source.storedRowLength, 0, 4);
  expect(reader.files.bytesRead).toBe(4 * 4 + 4 * 4);
});

test.each(["wasm", "reference"] as const)("every row gets its length, wherever a range is cut: %s", async (engine) => {
  const tensors = new StoredTensors([
    { name: "w", dtype: "F32", shape: [3, 2], values: [3, 3, 1, 1, 0, 0] },
    { name: "a", dtype: "F32", shape: [1, 2], values: [0, 1] },
    { name: "b", dtype: "F32", shape: [3, 1], values: [1, 0, 2] },
    { name: "m", dtype: "BF16", shape: [3], values: [10, 2, 3] },
  ]);
  const plain = { ...adapter(small()), base: tensors.source("w"), rank: 1, scale: 1 };
  const source: NormedSource = {
    kind: "normed",
    tensor: "w",
    dtype: "F32",
    storedRowLength: 2,
    values: { ...plain, a: tensors.source("a"), b: tensors.source("b") },
    magnitudes: tensors.source("m"),
    rows: 3,
  };
  // Rows [3 4], [1 1] and [0 2], made 10, 2 and 3 long.
  const normed = [6, 8, fround(2 / Math.sqrt(2)), fround(2 / Math.sqrt(2)), 0, 3];
  const reader = await tensors.reader([source], engine);
  for (let first = 0; first < 6; first++) {
    for (let count = 0; first + count <= 6; count++) {
      expect(await elementsOf(reader, source, 2, first, count)).toEqual(normed.slice(first, first + count));
    }
  }
});
