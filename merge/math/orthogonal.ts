/** A matrix of float64, row-major. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float64Array;
}

/**
 * a = q r by Householder reflections: q [rows, k] with orthonormal columns, r [k, columns] upper trapezoidal, k = min(rows, columns).
 * Float64, one operation after another: the same bits everywhere.
 */
export function orthogonalised(a: Matrix): { readonly q: Matrix; readonly r: Matrix } {
  const { rows, columns } = a;
  const k = Math.min(rows, columns);
  // Columns lie together: every step runs down columns. Below the diagonal v is left, in place of the zeros of r.
  const work = transposed(a).values;
  const diagonal = new Float64Array(k);
  const scales = new Float64Array(k);
  for (let j = 0; j < k; j++) {
    const pivot = j * rows;
    const norm = Math.sqrt(product(work, pivot, work, pivot, j, rows));
    if (norm === 0) continue;
    const head = work[pivot + j]!;
    diagonal[j] = head > 0 ? -norm : norm;
    work[pivot + j] = head - diagonal[j]!;
    // H = I - scale v v^T, scale = 2 / |v|^2
    scales[j] = 1 / (norm * (norm + Math.abs(head)));
    for (let other = j + 1; other < columns; other++) reflect(work, other * rows, work, pivot, scales[j]!, j, rows);
  }
  const r = zeros(k, columns);
  for (let i = 0; i < k; i++) {
    r.values[i * columns + i] = diagonal[i]!;
    for (let j = i + 1; j < columns; j++) r.values[i * columns + j] = work[j * rows + i]!;
  }
  // q = H0 H1 ... applied to the first k columns of the identity, last reflection first.
  const q = zeros(k, rows);
  for (let column = 0; column < k; column++) {
    q.values[column * rows + column] = 1;
    for (let j = Math.min(column, k - 1); j >= 0; j--) {
      reflect(q.values, column * rows, work, j * rows, scales[j]!, j, rows);
    }
  }
  return { q: transposed(q), r };
}

/** x -= scale (v x) v over rows from .. end, both beginning at their offsets. */
function reflect(
  x: Float64Array,
  xAt: number,
  v: Float64Array,
  vAt: number,
  scale: number,
  from: number,
  end: number,
): void {
  const factor = scale * product(v, vAt, x, xAt, from, end);
  if (factor === 0) return;
  for (let i = from; i < end; i++) x[xAt + i]! -= factor * v[vAt + i]!;
}

function product(a: Float64Array, aAt: number, b: Float64Array, bAt: number, from: number, end: number): number {
  let sum = 0;
  for (let i = from; i < end; i++) sum += a[aAt + i]! * b[bAt + i]!;
  return sum;
}

export function zeros(rows: number, columns: number): Matrix {
  return { rows, columns, values: new Float64Array(rows * columns) };
}

export function transposed({ rows, columns, values }: Matrix): Matrix {
  const result = zeros(columns, rows);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) result.values[c * rows + r] = values[r * columns + c]!;
  }
  return result;
}

/** a b, each element summed in order. */
export function multiplied(a: Matrix, b: Matrix): Matrix {
  const result = zeros(a.rows, b.columns);
  for (let i = 0; i < a.rows; i++) {
    for (let k = 0; k < a.columns; k++) {
      const factor = a.values[i * a.columns + k]!;
      for (let j = 0; j < b.columns; j++) result.values[i * b.columns + j]! += factor * b.values[k * b.columns + j]!;
    }
  }
  return result;
}
