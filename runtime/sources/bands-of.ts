interface Blocks {
  readonly columns: number;
  readonly blockRows: number;
  readonly blockColumns: number;
}

/**
 * Which rows of blocks (bands) elements of a matrix lie in, and where they begin in the first of these, as kernels want to know it.
 * `count` is at least 1.
 */
export function bandsOf({ columns, blockRows, blockColumns }: Blocks, first: number, count: number) {
  const firstRow = Math.floor(first / columns);
  const band = Math.floor(firstRow / blockRows);
  const lastBand = Math.floor(Math.floor((first + count - 1) / columns) / blockRows);
  return {
    band,
    bandCount: lastBand - band + 1,
    perBand: Math.ceil(columns / blockColumns),
    row: firstRow - band * blockRows,
    column: first - firstRow * columns,
  };
}
