import { expect, test } from "vitest";
import type { ModelSource, Plan, StoredSource, TensorSource, TensorTask } from "../../merge/work/index.ts";
import { estimateOf } from "../../plan/index.ts";

const stored = (input: number, offsetBytes: number, dtype: StoredSource["dtype"] = "BF16"): StoredSource => ({
  input,
  file: 0,
  tensor: "w",
  dtype,
  offsetBytes,
  storedRowLength: 20,
});
const adapter = (n: number): TensorSource => ({
  kind: "adapter",
  tensor: "w",
  dtype: "F32",
  storedRowLength: 20,
  base: stored(0, 0),
  ...{ rows: 10, columns: 20, rank: 4, scale: 1, transposed: false },
  a: stored(n, 0, "F32"),
  b: stored(n, 1000, "F32"),
});

function taskOf(method: string, sources: readonly TensorSource[], base?: TensorSource): TensorTask {
  const parameters = { weight: 1, density: 0.5 };
  const models = sources.map((source, index): ModelSource => ({ ...source, index, parameters }));
  return {
    name: "w",
    kind: "merge",
    method,
    dtype: "F32",
    shape: [10, 20],
    parameters: { normalize: true, lambda: 1 },
    ...(base && { base }),
    models,
  };
}
const bytesOf = (...tasks: TensorTask[]) => {
  const { inputBytes, readBytes } = estimateOf({ tasks, slices: [], shards: [] } as unknown as Plan);
  return { inputBytes, readBytes };
};
const BASE = 10 * 20 * 2;
const FACTORS = 4 * (4 * 20 + 10 * 4);

test("adapters on one base count the base once, and their own factors each", () => {
  expect(bytesOf(taskOf("linear", [adapter(1), adapter(2), adapter(3)]))).toEqual({
    inputBytes: BASE + 3 * FACTORS,
    readBytes: BASE + 3 * FACTORS,
  });
});

test("a base that is read for itself is not read again for its adapters", () => {
  const { inputBytes, readBytes } = bytesOf(taskOf("task_arithmetic", [adapter(1), adapter(2)], stored(0, 0)));
  expect({ inputBytes, readBytes }).toEqual({ inputBytes: BASE + 2 * FACTORS, readBytes: BASE + 2 * FACTORS });
});

test("codes with scales count both", () => {
  const scaled: TensorSource = {
    kind: "scaled",
    tensor: "w",
    dtype: "F32",
    storedRowLength: 20,
    codes: stored(0, 0, "F8_E4M3"),
    scales: stored(0, 900, "F32"),
    ...{ rows: 10, blockRows: 4, blockColumns: 16 },
  };
  expect(bytesOf(taskOf("linear", [scaled])).readBytes).toBe(200 + 3 * 2 * 4);
});

test("gathered rows count the rows that are taken from each part", () => {
  const rows: TensorSource = {
    kind: "rows",
    tensor: "w",
    dtype: "F32",
    storedRowLength: 20,
    width: 20,
    parts: [stored(0, 0), stored(1, 0, "F32")],
    runs: [
      { part: 0, first: 0, count: 6 },
      { part: 1, rows: [3, 4] },
      {
        mean: [
          [0, 1],
          [1, 1],
        ],
      },
      { zero: 1 },
    ],
  };
  expect(bytesOf(taskOf("linear", [rows])).readBytes).toBe(7 * 20 * 2 + 3 * 20 * 4);
});

test("a task within a task is read as often as its method reads, for each time that it is read itself", () => {
  const inner = taskOf("slerp", [stored(0, 0), stored(1, 0)]);
  const merged: TensorSource = { kind: "merged", tensor: "w", dtype: "F32", storedRowLength: 20, task: inner };
  expect(bytesOf(taskOf("linear", [merged])).readBytes).toBe(2 * 2 * BASE);
});

test.each([
  ["fit the memory for them are read once for all rounds", 2 * BASE, 2 * BASE],
  ["do not fit are read once a round", 2 * BASE - 1, 2 * 2 * BASE],
])("inputs that %s", (_, keptBytes, read) => {
  const tasks = [taskOf("slerp", [stored(0, 0), stored(1, 0)])];
  const plan = { tasks, slices: [], shards: [] } as unknown as Plan;
  expect(estimateOf(plan, undefined, keptBytes).readBytes).toBe(read);
});

test("of more than 16 models no input is kept", () => {
  const readOf = (models: number) =>
    bytesOf(
      taskOf(
        "karcher",
        Array.from({ length: models }, (_, k) => stored(k, 0)),
      ),
    ).readBytes;
  expect(readOf(16)).toBe(16 * BASE);
  expect(readOf(17)).toBeGreaterThan(17 * BASE);
});
