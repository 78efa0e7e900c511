import { type Address, put } from "../merge/engines/index.ts";
import type { Chunk } from "../merge/methods/index.ts";
import { bandBytes, type Scaling, type TensorSource } from "../merge/work/index.ts";
import type { RangeWork } from "./range-work.ts";
import { bandsOf } from "./sources/bands-of.ts";

const LARGEST = { F8_E4M3: 448, F8_E5M2: 57344 } as const;
/** The smallest normal number of f32: smaller scales would lose digits. */
const SMALLEST_SCALE = 2 ** -126;
/** Elements that are read at once where scales are found, if the device does not want more. */
const STEP_ELEMENTS = 65_536;

/** Of values that are kept while their scales are found, of as many bands as fit, one at least: much fewer go through the kernels slower. */
const WINDOW_BYTES = 2 ** 21;
/** Of scales that are kept: those of the codes that were made last mostly come next. The grid in use is kept, whatever its size. */
const GRIDS_KEPT_BYTES = 2 ** 20;

/** Scales of so many bands, which are rows of blocks: one for each block. */
type ScalesOf = (band: number, bandCount: number) => Promise<Float32Array>;

interface Grid {
  readonly scales: Float32Array;
  /** By band: 1 where its scales are known. */
  readonly known: Uint8Array;
}

/** The scales that were asked for last: neighbouring chunks mostly want the same, and a tensor of scales follows its codes. */
export class LastScales {
  /** Of the least recent use first. */
  readonly #grids = new Map<string, Grid>();
  #bytes = 0;

  /**
   * Valid until the next call. `key`: of the quantised matrix, the same for its codes and its scales. From the first band to the last one
   * that is not known all are made, in one go.
   */
  async scales(key: string, scaling: Scaling, band: number, bandCount: number, make: ScalesOf): Promise<Float32Array> {
    const { perBand, bands } = gridOf(scaling);
    const { scales, known } = this.#grid(key, bands, perBand);
    const wanted = known.subarray(band, band + bandCount);
    const from = wanted.indexOf(0);
    if (from !== -1) {
      const count = wanted.lastIndexOf(0) + 1 - from;
      scales.set(await make(band + from, count), (band + from) * perBand);
      wanted.fill(1, from, from + count);
    }
    return scales.subarray(band * perBand, (band + bandCount) * perBand);
  }

  #grid(key: string, bands: number, perBand: number): Grid {
    const found = this.#grids.get(key);
    const grid = found ?? { scales: new Float32Array(bands * perBand), known: new Uint8Array(bands) };
    this.#grids.delete(key);
    this.#grids.set(key, grid);
    if (found !== undefined) return grid;
    this.#bytes += grid.scales.byteLength;
    for (const [oldest, { scales }] of this.#grids) {
      if (oldest === key || this.#bytes <= GRIDS_KEPT_BYTES) break;
      this.#grids.delete(oldest);
      this.#bytes -= scales.byteLength;
    }
    return grid;
  }
}

function gridOf({ rows, columns, blockRows, blockColumns }: Scaling) {
  return { bands: Math.ceil(rows / blockRows), perBand: Math.ceil(columns / blockColumns) };
}

/**
 * A task of kind codes or scales. A block's largest magnitude must be known before its first code: the values of a band stay in memory
 * meanwhile where it fits `keptBytes`, else they are read twice. So codes and scales depend on nothing but the values, wherever the range
 * is cut.
 */
export async function quantiseRange(range: RangeWork, key: string, last: LastScales, keptBytes: number): Promise<void> {
  const { task } = range;
  const { base: source, scaling } = task;
  if (source === undefined || scaling === undefined) throw new Error(`${task.name} has nothing to be quantised`);
  if (task.kind === "codes" && bandBytes(scaling) <= keptBytes) return codesOfKept(range, source, scaling, key, last);
  const scalesOf = (band: number, bandCount: number) =>
    last.scales(key, scaling, band, bandCount, (first, count) => scalesOfBands(range, source, scaling, first, count));
  for (const chunk of range.chunks("pieces")) {
    if (task.kind === "codes") await emitCodes(range, source, scaling, chunk, scalesOf);
    else await emitScales(range, scaling, chunk, scalesOf);
  }
}

async function emitCodes(
  range: RangeWork,
  source: TensorSource,
  scaling: Scaling,
  chunk: Chunk,
  scalesOf: ScalesOf,
): Promise<void> {
  const { firstElement, elementCount } = chunk;
  const values = range.f32("quantised");
  const { band, bandCount } = bandsOf(scaling, firstElement, elementCount);
  // Scales first: finding them reads other elements of the same source.
  const scales = await scalesOf(band, bandCount);
  await range.readElements(source, firstElement, elementCount, values);
  divide(range, scaling, { firstElement, elementCount }, scales, values, values);
  await range.emit(chunk, values);
}

/** Neighbouring bands, their values on the device, and their scales. */
interface Window {
  readonly band: number;
  readonly firstElement: number;
  readonly endElement: number;
  readonly scales: Float32Array;
}

/** Every value is made once: window after window of whole bands, out of which the chunks are taken. */
async function codesOfKept(
  range: RangeWork,
  source: TensorSource,
  scaling: Scaling,
  key: string,
  last: LastScales,
): Promise<void> {
  const bandsMax = Math.max(1, Math.floor(WINDOW_BYTES / bandBytes(scaling)));
  const place = range.buffer("bands", bandsMax * bandBytes(scaling));
  let window: Window | undefined;
  for (const chunk of range.chunks("pieces")) {
    const values = range.f32("quantised");
    for (let done = 0; done < chunk.elementCount; ) {
      const firstElement = chunk.firstElement + done;
      if (window === undefined || firstElement >= window.endElement) {
        const { band, bandCount } = bandsOf(
          scaling,
          firstElement,
          range.firstElement + range.elementCount - firstElement,
        );
        window = await windowOf(range, source, scaling, key, last, {
          band,
          bandCount: Math.min(bandCount, bandsMax),
          place,
        });
      }
      const elementCount = Math.min(chunk.elementCount - done, window.endElement - firstElement);
      const { band, bandCount, perBand } = bandsOf(scaling, firstElement, elementCount);
      const from = (band - window.band) * perBand;
      const scales = window.scales.subarray(from, from + bandCount * perBand);
      const kept = place + (firstElement - window.firstElement) * 4;
      divide(range, scaling, { firstElement, elementCount }, scales, kept, values + done * 4);
      done += elementCount;
    }
    await range.emit(chunk, values);
  }
}

async function windowOf(
  range: RangeWork,
  source: TensorSource,
  scaling: Scaling,
  key: string,
  last: LastScales,
  { band, bandCount, place }: { readonly band: number; readonly bandCount: number; readonly place: Address },
): Promise<Window> {
  const [firstElement, endElement] = elementsOfBands(scaling, band, bandCount);
  const placeOf = (element: number) => place + (element - firstElement) * 4;
  // Those whose scales are known by now are only read.
  let [unread, read] = [firstElement, firstElement];
  const scales = await last.scales(key, scaling, band, bandCount, async (first, count) => {
    const [from, to] = elementsOfBands(scaling, first, count);
    if (from > unread) await range.readElements(source, unread, from - unread, placeOf(unread));
    [unread, read] = [to, to];
    return scalesOfBands(range, source, scaling, first, count, placeOf(from));
  });
  if (endElement > read) await range.readElements(source, unread, endElement - unread, placeOf(unread));
  return { band, firstElement, endElement, scales };
}

/** into[k] = values[k] by the scale of its block, which `scales` has from the first element's band on. */
function divide(
  { arena }: RangeWork,
  scaling: Scaling,
  { firstElement, elementCount }: Pick<Chunk, "firstElement" | "elementCount">,
  scales: Float32Array,
  values: Address,
  into: Address,
): void {
  const { columns, blockRows, blockColumns, codes } = scaling;
  const { row, column } = bandsOf(scaling, firstElement, elementCount);
  const scope = arena.scope();
  const table = arena.allocate(scales.byteLength);
  put(arena, table, scales);
  arena.kernels.divideBlocks(
    into,
    values,
    table,
    LARGEST[codes],
    row,
    column,
    columns,
    blockRows,
    blockColumns,
    elementCount,
  );
  scope.end();
}

async function emitScales(
  range: RangeWork,
  scaling: Scaling,
  { firstElement, elementCount, ...ends }: Chunk,
  scalesOf: ScalesOf,
): Promise<void> {
  const { arena } = range;
  const { perBand } = gridOf(scaling);
  const band = Math.floor(firstElement / perBand);
  const end = Math.ceil((firstElement + elementCount) / perBand);
  const scales = await scalesOf(band, end - band);
  const place = range.f32("scales");
  const offset = firstElement - band * perBand;
  put(arena, place, scales.subarray(offset, offset + elementCount));
  await range.emit({ firstElement, elementCount, ...ends }, place);
}

/** One scale for each block of these bands, that is of `blockRows` rows each. One wait for all of them. `keep`: where their values stay. */
async function scalesOfBands(
  range: RangeWork,
  source: TensorSource,
  scaling: Scaling,
  band: number,
  bandCount: number,
  keep?: Address,
): Promise<Float32Array> {
  const { arena } = range;
  const { columns, blockRows, blockColumns, codes } = scaling;
  const { perBand } = gridOf(scaling);
  const [first, end] = elementsOfBands(scaling, band, bandCount);
  const step = Math.min(end - first, Math.max(STEP_ELEMENTS, arena.device.limits.pieceElements));
  const scope = arena.scope();
  const sizeBytes = bandCount * perBand * 4;
  const maxima = arena.allocate(sizeBytes);
  const passing = keep === undefined ? arena.allocate(step * 4) : 0;
  arena.kernels.zero(maxima, sizeBytes);
  for (let element = first; element < end; element += step) {
    const count = Math.min(step, end - element);
    const values = keep === undefined ? passing : keep + (element - first) * 4;
    await range.readElements(source, element, count, values);
    const at = bandsOf(scaling, element, count);
    const ofBand = maxima + (at.band - band) * perBand * 4;
    arena.kernels.blockMaxima(ofBand, values, at.row, at.column, columns, blockRows, blockColumns, count);
  }
  const found = (await arena.download(maxima, sizeBytes)).slice();
  scope.end();
  const scaleOf = (amax: number) => (amax === 0 ? 1 : Math.max(SMALLEST_SCALE, Math.fround(amax / LARGEST[codes])));
  return new Float32Array(found.buffer, 0, bandCount * perBand).map(scaleOf);
}

/** From the first element of a band to the end of the last one, which the matrix may cut short. */
function elementsOfBands({ rows, columns, blockRows }: Scaling, band: number, bandCount: number): [number, number] {
  return [band * blockRows * columns, Math.min(rows, (band + bandCount) * blockRows) * columns];
}
