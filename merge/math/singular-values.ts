import { type Matrix, multiplied, orthogonalised, transposed, zeros } from "./orthogonal.ts";

/** a = left diag(values) right^T: values descending, left [rows, k] and right [columns, k] by columns, k = min(rows, columns). */
export interface SingularValues {
  readonly left: Matrix;
  readonly values: Float64Array;
  readonly right: Matrix;
}

/** Columns whose cosine is below this count as orthogonal. */
const ORTHOGONAL = 1e-15;
/** Convergence is quadratic: a dozen sweeps are many. */
const SWEEPS_MAX = 60;

/**
 * By one-sided Jacobi rotations of columns, in a fixed order: float64, the same bits everywhere, and small singular values are as exact
 * as large ones. For small matrices. Vectors of singular values that are 0 are 0.
 */
export function singularValues(a: Matrix): SingularValues {
  if (a.rows < a.columns) {
    const { left, values, right } = singularValues(transposed(a));
    return { left: right, values, right: left };
  }
  const { rows, columns } = a;
  // Rows of these are columns of the matrices.
  const work = transposed(a).values;
  const turned = zeros(columns, columns).values;
  for (let j = 0; j < columns; j++) turned[j * columns + j] = 1;
  for (let sweep = 0; sweep < SWEEPS_MAX; sweep++) {
    let rotations = 0;
    for (let p = 0; p < columns - 1; p++) {
      for (let q = p + 1; q < columns; q++) if (rotate(work, turned, p, q, rows, columns)) rotations++;
    }
    if (rotations === 0) break;
  }
  return sorted(work, turned, rows, columns);
}

/** Makes columns p and q orthogonal; false if they were. */
function rotate(
  work: Float64Array,
  turned: Float64Array,
  p: number,
  q: number,
  rows: number,
  columns: number,
): boolean {
  let pp = 0;
  let qq = 0;
  let pq = 0;
  for (let i = 0; i < rows; i++) {
    const x = work[p * rows + i]!;
    const y = work[q * rows + i]!;
    pp += x * x;
    qq += y * y;
    pq += x * y;
  }
  if (pq === 0 || Math.abs(pq) <= ORTHOGONAL * Math.sqrt(pp * qq)) return false;
  const zeta = (qq - pp) / (2 * pq);
  const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
  const cosine = 1 / Math.sqrt(1 + tangent * tangent);
  const sine = cosine * tangent;
  turn(work, p * rows, q * rows, rows, cosine, sine);
  turn(turned, p * columns, q * columns, columns, cosine, sine);
  return true;
}

function turn(values: Float64Array, p: number, q: number, count: number, cosine: number, sine: number): void {
  for (let i = 0; i < count; i++) {
    const x = values[p + i]!;
    const y = values[q + i]!;
    values[p + i] = cosine * x - sine * y;
    values[q + i] = sine * x + cosine * y;
  }
}

function sorted(work: Float64Array, turned: Float64Array, rows: number, columns: number): SingularValues {
  const norms = Float64Array.from({ length: columns }, (_, j) => {
    let sum = 0;
    for (let i = 0; i < rows; i++) sum += work[j * rows + i]! * work[j * rows + i]!;
    return Math.sqrt(sum);
  });
  const order = Array.from(norms.keys()).sort((a, b) => norms[b]! - norms[a]! || a - b);
  const left = zeros(rows, columns);
  const right = zeros(columns, columns);
  for (const [k, j] of order.entries()) {
    const norm = norms[j]!;
    for (let i = 0; i < rows; i++) left.values[i * columns + k] = norm === 0 ? 0 : work[j * rows + i]! / norm;
    for (let i = 0; i < columns; i++) right.values[i * columns + k] = turned[j * columns + i]!;
  }
  return { left, values: Float64Array.from(order, (j) => norms[j]!), right };
}

/**
 * The best product of rank `rank` for b a, where b is [rows, n] and a is [n, columns]: left [rows, rank] and right [rank, columns], each
 * with the square root of the singular value in it. The element of largest magnitude (of equals the first) of every left vector is
 * positive. `rank` beyond what there is: columns and rows of zeros.
 */
export function lowRankProduct(b: Matrix, a: Matrix, rank: number): { readonly left: Matrix; readonly right: Matrix } {
  const outer = orthogonalised(b);
  const inner = orthogonalised(transposed(a));
  const core = singularValues(multiplied(outer.r, transposed(inner.r)));
  const leftVectors = multiplied(outer.q, core.left);
  const rightVectors = multiplied(inner.q, core.right);
  const left = zeros(b.rows, rank);
  const right = zeros(rank, a.columns);
  for (let k = 0; k < Math.min(rank, core.values.length); k++) {
    const root = Math.sqrt(core.values[k]!) * signOf(leftVectors, k);
    for (let i = 0; i < b.rows; i++)
      left.values[i * rank + k] = root * leftVectors.values[i * leftVectors.columns + k]!;
    for (let i = 0; i < a.columns; i++) {
      right.values[k * a.columns + i] = root * rightVectors.values[i * rightVectors.columns + k]!;
    }
  }
  return { left, right };
}

function signOf({ rows, columns, values }: Matrix, column: number): number {
  let largest = 0;
  for (let i = 0; i < rows; i++) {
    const value = values[i * columns + column]!;
    if (Math.abs(value) > Math.abs(largest)) largest = value;
  }
  return largest < 0 ? -1 : 1;
}
