import { type Address, put } from "../../merge/engines/index.ts";
import { type RowRun, type RowsSource, rowsOfRun } from "../../merge/work/index.ts";
import { hostF32 } from "./host-values.ts";
import type { SourceReader } from "./source-reader.ts";

/** Elements read at once where the mean of all rows is made. */
const MEAN_STEP_ELEMENTS = 65_536;

/** Rows gathered from matrices: into (f32) = elements first .. of the gathered matrix. */
export async function readRows(
  reader: SourceReader,
  source: RowsSource,
  first: number,
  count: number,
  into: Address,
): Promise<void> {
  const { width } = source;
  const { starts } = layoutOf(reader, source);
  for (let done = 0; done < count; ) {
    const element = first + done;
    const row = Math.floor(element / width);
    const column = element % width;
    const index = runAt(starts, row);
    const run = source.runs[index];
    if (run === undefined) throw new Error(`${source.tensor} has no row ${row}`);
    const rowInRun = row - (starts[index] ?? 0);
    const place = into + done * 4;
    // Rows that lie together in a part are read together; of other rows one at a time.
    const together = "first" in run ? run.count - rowInRun : 1;
    const taken = Math.min(count - done, together * width - column);
    await readRun(reader, source, run, rowInRun, column, taken, place);
    done += taken;
  }
}

async function readRun(
  reader: SourceReader,
  source: RowsSource,
  run: RowRun,
  rowInRun: number,
  column: number,
  count: number,
  into: Address,
): Promise<void> {
  const { arena } = reader;
  const { width } = source;
  if ("zero" in run) return arena.kernels.zero(into, count * 4);
  if ("padding" in run) {
    const mean = await meanOfAll(reader, source);
    return put(arena, into, mean.subarray(column, column + count));
  }
  if ("mean" in run) {
    const rows = run.mean.map(([part, row]) => ({ part, element: row * width + column }));
    return put(arena, into, await meanOf(reader, source, rows, count));
  }
  const row = "rows" in run ? run.rows[rowInRun] : run.first + rowInRun;
  if (row === undefined) throw new Error(`${source.tensor} lacks a row of its map`);
  await reader.elementsF32(partOf(source, run.part), row * width + column, count, into);
}

async function meanOf(
  reader: SourceReader,
  source: RowsSource,
  rows: readonly { readonly part: number; readonly element: number }[],
  count: number,
): Promise<Float32Array> {
  const sums = new Float64Array(count);
  const { arena } = reader;
  for (const { part, element } of rows) {
    const scope = arena.scope();
    const place = arena.allocate(count * 4);
    await reader.elementsF32(partOf(source, part), element, count, place);
    addTo(sums, await arena.download(place, count * 4));
    scope.end();
  }
  return Float32Array.from(sums, (sum) => sum / rows.length);
}

/** The mean of all rows that are no padding; made once for the range. */
async function meanOfAll(reader: SourceReader, source: RowsSource): Promise<Float32Array> {
  const layout = layoutOf(reader, source);
  if (layout.mean !== undefined) return layout.mean;
  const { width } = source;
  const sums = new Float64Array(width);
  let rows = 0;
  const stepRows = Math.max(1, Math.floor(MEAN_STEP_ELEMENTS / width));
  for (const [index, run] of source.runs.entries()) {
    if ("padding" in run) continue;
    const start = layout.starts[index] ?? 0;
    const end = start + rowsOfRun(run);
    for (let row = start; row < end; row += stepRows) {
      const taken = Math.min(stepRows, end - row);
      const values = await hostF32(reader, source, row * width, taken * width);
      for (let r = 0; r < taken; r++) {
        for (let c = 0; c < width; c++) sums[c] = (sums[c] ?? 0) + (values[r * width + c] ?? 0);
      }
    }
    rows += end - start;
  }
  if (rows === 0) throw new Error(`${source.tensor} has padding rows only`);
  layout.mean = Float32Array.from(sums, (sum) => sum / rows);
  return layout.mean;
}

interface Layout {
  /** First row of each run. */
  readonly starts: readonly number[];
  mean?: Float32Array;
}

function layoutOf(reader: SourceReader, source: RowsSource): Layout {
  const known = reader.kept.get(source) as Layout | undefined;
  if (known !== undefined) return known;
  const starts: number[] = [];
  let row = 0;
  for (const run of source.runs) {
    starts.push(row);
    row += rowsOfRun(run);
  }
  const layout: Layout = { starts };
  reader.kept.set(source, layout);
  return layout;
}

/** The last run that begins at or before a row. */
function runAt(starts: readonly number[], row: number): number {
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= row) low = middle;
    else high = middle;
  }
  return low;
}

function partOf(source: RowsSource, part: number) {
  const matrix = source.parts[part];
  if (matrix === undefined) throw new Error(`${source.tensor} has no part ${part}`);
  return matrix;
}

function addTo(sums: Float64Array, bytes: Uint8Array): void {
  const values = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let k = 0; k < sums.length; k++) sums[k] = (sums[k] ?? 0) + values.getFloat32(k * 4, true);
}
