import { expect, test } from "vitest";
import {
  lowRankProduct,
  type Matrix,
  multiplied,
  orthogonalised,
  singularValues,
  transposed,
} from "../../../merge/math/index.ts";
import { randomSource } from "../engines/awkward-values.ts";

function matrix(rows: number, columns: number, values: readonly number[]): Matrix {
  return { rows, columns, values: Float64Array.from(values) };
}

function random(rows: number, columns: number, seed: number): Matrix {
  const next = randomSource(seed);
  return matrix(
    rows,
    columns,
    Array.from({ length: rows * columns }, () => (next() % 2001) / 1000 - 1),
  );
}

const distance = (a: Matrix, b: Matrix) =>
  a.values.reduce((most, value, k) => Math.max(most, Math.abs(value - b.values[k]!)), 0);
const gram = (a: Matrix) => multiplied(transposed(a), a);
const identity = (n: number) =>
  matrix(
    n,
    n,
    Array.from({ length: n * n }, (_, k) => (k % (n + 1) === 0 ? 1 : 0)),
  );

test.each([
  [5, 3],
  [3, 5],
  [1, 4],
  [4, 1],
  [40, 17],
])("a %i x %i matrix is q r: q has orthonormal columns, r is zero below the diagonal", (rows, columns) => {
  const a = random(rows, columns, rows * 100 + columns);
  const { q, r } = orthogonalised(a);
  expect(distance(multiplied(q, r), a)).toBeLessThan(1e-14);
  expect(distance(gram(q), identity(q.columns))).toBeLessThan(1e-14);
  for (let i = 0; i < r.rows; i++)
    for (let j = 0; j < Math.min(i, r.columns); j++) expect(r.values[i * columns + j]).toBe(0);
});

test("singular values of [[3, 0], [4, 5]] are those worked out by hand", () => {
  const { left, values, right } = singularValues(matrix(2, 2, [3, 0, 4, 5]));
  // A^T A = [[25, 20], [20, 25]]: 45 and 5, vectors (1, 1) and (1, -1).
  expect(values[0]).toBeCloseTo(Math.sqrt(45), 14);
  expect(values[1]).toBeCloseTo(Math.sqrt(5), 14);
  expect(Math.abs(right.values[0]! - right.values[2]!)).toBeLessThan(1e-15);
  expect(Math.abs(left.values[0]! * 3 - left.values[2]!)).toBeLessThan(1e-15);
});

test.each([
  [7, 4],
  [4, 7],
  [30, 30],
])("a %i x %i matrix is left, values, right; values fall", (rows, columns) => {
  const a = random(rows, columns, rows + columns);
  const { left, values, right } = singularValues(a);
  const scaled = { ...left, values: left.values.map((value, k) => value * values[k % left.columns]!) };
  expect(distance(multiplied(scaled, transposed(right)), a)).toBeLessThan(1e-13);
  expect([...values]).toEqual([...values].sort((a, b) => b - a));
  expect(distance(gram(left), identity(left.columns))).toBeLessThan(1e-13);
});

test("equal columns give a singular value of 0, and nothing that is no number", () => {
  const { left, values } = singularValues(matrix(3, 2, [1, 1, 2, 2, 3, 3]));
  expect(values[0]).toBeCloseTo(Math.sqrt(28), 14);
  expect(values[1]! < 1e-15).toBe(true);
  expect(left.values.every(Number.isFinite)).toBe(true);
  const zero = singularValues(matrix(3, 2, [0, 0, 0, 0, 0, 0]));
  expect([...zero.values, ...zero.left.values]).toEqual(Array(8).fill(0));
});

test("the product of low rank is the sum of the largest singular triples, largest elements of left vectors positive", () => {
  const b = random(20, 6, 1);
  const a = random(6, 15, 2);
  const whole = multiplied(b, a);
  const { values } = singularValues(whole);
  for (const rank of [1, 3, 6]) {
    const { left, right } = lowRankProduct(b, a, rank);
    const rest = multiplied(left, right).values.map((value, k) => value - whole.values[k]!);
    // Eckart and Young: what is left over has the norm of the singular values left out.
    const norm = Math.sqrt(rest.reduce((sum, value) => sum + value * value, 0));
    const expected = Math.sqrt(values.slice(rank).reduce((sum, value) => sum + value * value, 0));
    expect(Math.abs(norm - expected)).toBeLessThan(1e-12);
    for (let k = 0; k < rank; k++) {
      const column = Array.from({ length: 20 }, (_, i) => left.values[i * rank + k]!);
      expect(column.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0)).toBeGreaterThan(0);
      // Both halves carry the root of the singular value.
      expect(column.reduce((sum, value) => sum + value * value, 0)).toBeCloseTo(values[k]!, 12);
    }
  }
});

test("a rank beyond what there is fills up with zeros", () => {
  const { left, right } = lowRankProduct(matrix(2, 1, [3, 4]), matrix(1, 2, [0, 5]), 3);
  expect([...left.values].map(Math.abs).filter((value) => value > 1e-15)).toHaveLength(2);
  expect(distance(multiplied(left, right), matrix(2, 2, [0, 15, 0, 20]))).toBeLessThan(1e-14);
});
