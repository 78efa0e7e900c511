import { put } from "../merge/engines/index.ts";
import type { Chunk } from "../merge/methods/index.ts";
import type { Scaling, TensorSource } from "../merge/work/index.ts";
import type { RangeWork } from "./range-work.ts";
import { bandsOf } from "./sources/bands-of.ts";

const LARGEST = { F8_E4M3: 448, F8_E5M2: 57344 } as const;
/** The smallest normal number of f32: smaller scales would lose digits. */
const SMALLEST_SCALE = 2 ** -126;
/** Elements that are read at once where scales are found, if the device does not want more. */
const STEP_ELEMENTS = 65_536;

/** Bands whose scales are kept: the one in use, and those of tasks within tasks. */
const BANDS_MAX = 8;

/** Scales of so many bands, which are rows of blocks: one for each block. */
type ScalesOf = (band: number, bandCount: number) => Promise<Float32Array>;

/** The scales of the bands that were asked for last: neighbouring chunks mostly want the same. */
export class LastBands {
  readonly #scales = new Map<string, Float32Array>();

  /** `key`: of the quantised matrix, the same for its codes and its scales. What is not known is made in one go. */
  async scales(key: string, band: number, bandCount: number, make: ScalesOf): Promise<Float32Array> {
    const bands = Array.from({ length: bandCount }, (_, k) => this.#scales.get(`${key}/${band + k}`));
    const from = bands.indexOf(undefined);
    if (from !== -1) {
      const count = bands.lastIndexOf(undefined) + 1 - from;
      const made = await make(band + from, count);
      const perBand = made.length / count;
      for (let k = 0; k < count; k++) {
        const scales = made.slice(k * perBand, (k + 1) * perBand);
        bands[from + k] = scales;
        this.#keep(`${key}/${band + from + k}`, scales);
      }
    }
    return joined(bands.filter((scales) => scales !== undefined));
  }

  #keep(key: string, scales: Float32Array): void {
    const [oldest] = this.#scales.keys();
    if (this.#scales.size >= BANDS_MAX && oldest !== undefined) this.#scales.delete(oldest);
    this.#scales.set(key, scales);
  }
}

function joined(bands: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(bands.reduce((sum, { length }) => sum + length, 0));
  let filled = 0;
  for (const scales of bands) {
    all.set(scales, filled);
    filled += scales.length;
  }
  return all;
}

/**
 * A task of kind codes or scales. A block's largest magnitude must be known before its first code: each band is read twice, in bounded
 * memory, whatever its size. So codes and scales depend on nothing but the values, wherever the range is cut.
 */
export async function quantiseRange(range: RangeWork, key: string, last: LastBands): Promise<void> {
  const { task } = range;
  const { base: source, scaling } = task;
  if (source === undefined || scaling === undefined) throw new Error(`${task.name} has nothing to be quantised`);
  const scalesOf = (band: number, bandCount: number) =>
    last.scales(key, band, bandCount, (first, count) => scalesOfBands(range, source, scaling, first, count));
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
  const { arena } = range;
  const { firstElement, elementCount } = chunk;
  const { columns, blockRows, blockColumns } = scaling;
  const values = range.f32("quantised");
  const { band, bandCount, row, column } = bandsOf(scaling, firstElement, elementCount);
  // Scales first: finding them reads other elements of the same source.
  const scales = await scalesOf(band, bandCount);
  await range.readElements(source, firstElement, elementCount, values);
  const scope = arena.scope();
  const table = arena.allocate(scales.byteLength);
  put(arena, table, scales);
  const limit = LARGEST[scaling.codes];
  arena.kernels.divideBlocks(values, values, table, limit, row, column, columns, blockRows, blockColumns, elementCount);
  scope.end();
  await range.emit(chunk, values);
}

async function emitScales(
  range: RangeWork,
  { columns, blockColumns }: Scaling,
  { firstElement, elementCount, ...ends }: Chunk,
  scalesOf: ScalesOf,
): Promise<void> {
  const { arena } = range;
  const perBand = Math.ceil(columns / blockColumns);
  const band = Math.floor(firstElement / perBand);
  const end = Math.ceil((firstElement + elementCount) / perBand);
  const scales = await scalesOf(band, end - band);
  const place = range.f32("scales");
  const offset = firstElement - band * perBand;
  put(arena, place, scales.subarray(offset, offset + elementCount));
  await range.emit({ firstElement, elementCount, ...ends }, place);
}

/** One scale for each block of these bands, that is of `blockRows` rows each. One wait for all of them. */
async function scalesOfBands(
  range: RangeWork,
  source: TensorSource,
  scaling: Scaling,
  band: number,
  bandCount: number,
): Promise<Float32Array> {
  const { arena } = range;
  const { rows, columns, blockRows, blockColumns, codes } = scaling;
  const perBand = Math.ceil(columns / blockColumns);
  const first = band * blockRows * columns;
  const end = Math.min(rows, (band + bandCount) * blockRows) * columns;
  const step = Math.min(end - first, Math.max(STEP_ELEMENTS, arena.device.limits.pieceElements));
  const scope = arena.scope();
  const sizeBytes = bandCount * perBand * 4;
  const maxima = arena.allocate(sizeBytes);
  const values = arena.allocate(step * 4);
  arena.kernels.zero(maxima, sizeBytes);
  for (let element = first; element < end; element += step) {
    const count = Math.min(step, end - element);
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
