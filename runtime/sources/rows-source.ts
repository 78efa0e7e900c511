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
    return put(arena, into, await meanOf(reader, source, run.mean, column, count));
  }
  const row = "rows" in run ? run.rows[rowInRun] : run.first + rowInRun;
  if (row === undefined) throw new Error(`${source.tensor} lacks a row of its map`);
  await reader.elementsF32(partOf(source, run.part), row * width + column, count, into);
}

async function meanOf(
  reader: SourceReader,
  source: RowsSource,
  rows: readonly (readonly [part: number, row: number])[],
  column: number,
  count: number,
): Promise<Float32Array> {
  const sums = new Float64Array(count);
  for (const [part, row] of rows) {
    addTo(sums, await hostF32(reader, partOf(source, part), row * source.width + column, count));
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
  const stepElements = Math.max(MEAN_STEP_ELEMENTS, reader.arena.device.limits.pieceElements);
  const stepRows = Math.max(1, Math.floor(stepElements / width));
  for (const [index, run] of source.runs.entries()) {
    if ("padding" in run) continue;
    const start = layout.starts[index] ?? 0;
    const count = rowsOfRun(run);
    for (let row = 0; row < count; row += stepRows) {
      const values = await hostRows(reader, source, run, start, row, Math.min(stepRows, count - row));
      for (let at = 0; at < values.length; at += width) addTo(sums, values.subarray(at, at + width));
    }
    rows += count;
  }
  if (rows === 0) throw new Error(`${source.tensor} has padding rows only`);
  layout.mean = Float32Array.from(sums, (sum) => sum / rows);
  return layout.mean;
}

/** Rows of a run, `rowInRun` and so many more, on the host; the run begins with row `start`. Of zeros none: they add nothing. */
async function hostRows(
  reader: SourceReader,
  source: RowsSource,
  run: RowRun,
  start: number,
  rowInRun: number,
  count: number,
): Promise<Float32Array> {
  const { width } = source;
  if ("zero" in run) return new Float32Array();
  if ("mean" in run) return meanOf(reader, source, run.mean, 0, width);
  if ("part" in run && partOf(source, run.part).kind === undefined) {
    const part = partOf(source, run.part);
    if ("first" in run) return hostF32(reader, part, (run.first + rowInRun) * width, count * width);
    const values = new Float32Array(count * width);
    for (const [k, row] of run.rows.slice(rowInRun, rowInRun + count).entries()) {
      values.set(await hostF32(reader, part, row * width, width), k * width);
    }
    return values;
  }
  return hostF32(reader, source, (start + rowInRun) * width, count * width);
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

function addTo(sums: Float64Array, values: Float32Array): void {
  for (let k = 0; k < sums.length; k++) sums[k] = (sums[k] ?? 0) + (values[k] ?? 0);
}
