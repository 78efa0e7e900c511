import { EVERYTHING, LANES_BYTES, put } from "../merge/engines/index.ts";
import type { Chunk } from "../merge/methods/index.ts";
import type { Scaling, TensorSource } from "../merge/work/index.ts";
import type { RangeWork } from "./range-work.ts";

const LARGEST = { F8_E4M3: 448, F8_E5M2: 57344 } as const;
/** The smallest normal number of f32: smaller scales would lose digits. */
const SMALLEST_SCALE = 2 ** -126;
/** Elements of a band that are read at once. */
const STEP_ELEMENTS = 65_536;

/** Bands whose scales are kept: the one in use, and those of tasks within tasks. */
const BANDS_MAX = 8;

/** The scales of the rows of blocks that were asked for last: neighbouring chunks mostly want the same. */
export class LastBands {
  readonly #scales = new Map<string, Float32Array>();

  /** `key`: of the quantised matrix, the same for its codes and its scales. */
  async scales(key: string, band: number, make: () => Promise<Float32Array>): Promise<Float32Array> {
    const full = `${key}/${band}`;
    const known = this.#scales.get(full);
    if (known !== undefined) return known;
    const made = await make();
    const [oldest] = this.#scales.keys();
    if (this.#scales.size >= BANDS_MAX && oldest !== undefined) this.#scales.delete(oldest);
    this.#scales.set(full, made);
    return made;
  }
}

/**
 * A task of kind codes or scales. A block's largest magnitude must be known before its first code: each row of blocks is read twice,
 * in bounded memory, whatever its size. So codes and scales depend on nothing but the values, wherever the range is cut.
 */
export async function quantiseRange(range: RangeWork, key: string, last: LastBands): Promise<void> {
  const { task } = range;
  const { base: source, scaling } = task;
  if (source === undefined || scaling === undefined) throw new Error(`${task.name} has nothing to be quantised`);
  const scalesOf = (band: number) => last.scales(key, band, () => scalesOfBand(range, source, scaling, band));
  for (const chunk of range.chunks("pieces")) {
    if (task.kind === "codes") await emitCodes(range, source, scaling, chunk, scalesOf);
    else await emitScales(range, scaling, chunk, scalesOf);
  }
}

async function emitCodes(
  range: RangeWork,
  source: TensorSource,
  { columns, blockRows, blockColumns, codes }: Scaling,
  chunk: Chunk,
  scalesOf: (band: number) => Promise<Float32Array>,
): Promise<void> {
  const { arena } = range;
  const { firstElement, elementCount } = chunk;
  const values = range.f32("quantised");
  // Scales first: finding them reads other elements of the same source.
  const bands = new Map<number, Float32Array>();
  const bandElements = blockRows * columns;
  const lastBand = Math.floor((firstElement + elementCount - 1) / bandElements);
  for (let band = Math.floor(firstElement / bandElements); band <= lastBand; band++)
    bands.set(band, await scalesOf(band));
  await range.readElements(source, firstElement, elementCount, values);
  for (let done = 0; done < elementCount; ) {
    const element = firstElement + done;
    const column = element % columns;
    const block = Math.floor(column / blockColumns);
    const count = Math.min(elementCount - done, Math.min(columns, (block + 1) * blockColumns) - column);
    const scale = bands.get(Math.floor(element / bandElements))?.[block] ?? Number.NaN;
    arena.kernels.divideWithin(values + done * 4, values + done * 4, scale, LARGEST[codes], count);
    done += count;
  }
  await range.emit(chunk, values);
}

async function emitScales(
  range: RangeWork,
  { columns, blockColumns }: Scaling,
  chunk: Chunk,
  scalesOf: (band: number) => Promise<Float32Array>,
): Promise<void> {
  const { arena } = range;
  const perBand = Math.ceil(columns / blockColumns);
  const found = new Float32Array(chunk.elementCount);
  for (let done = 0; done < chunk.elementCount; ) {
    const element = chunk.firstElement + done;
    const column = element % perBand;
    const scales = await scalesOf(Math.floor(element / perBand));
    const count = Math.min(chunk.elementCount - done, perBand - column);
    found.set(scales.subarray(column, column + count), done);
    done += count;
  }
  const place = range.f32("scales");
  put(arena, place, found);
  await range.emit(chunk, place);
}

/** One scale for each block of a band, that is of `blockRows` rows. */
async function scalesOfBand(
  range: RangeWork,
  source: TensorSource,
  { rows, columns, blockRows, blockColumns, codes }: Scaling,
  band: number,
): Promise<Float32Array> {
  const { arena } = range;
  const blocks = Math.ceil(columns / blockColumns);
  const first = band * blockRows * columns;
  const end = Math.min(rows, (band + 1) * blockRows) * columns;
  const scope = arena.scope();
  const laneBytes = blocks * LANES_BYTES;
  const lanes = arena.allocate(laneBytes);
  const unused = arena.allocate(LANES_BYTES);
  const values = arena.allocate(STEP_ELEMENTS * 4);
  arena.kernels.zero(lanes, laneBytes);
  arena.kernels.zero(unused, LANES_BYTES);
  for (let element = first; element < end; ) {
    const taken = Math.min(STEP_ELEMENTS, end - element);
    await range.readElements(source, element, taken, values);
    for (let done = 0; done < taken; ) {
      const column = (element + done) % columns;
      const block = Math.floor(column / blockColumns);
      const count = Math.min(taken - done, Math.min(columns, (block + 1) * blockColumns) - column);
      arena.kernels.magnitudes(lanes + block * LANES_BYTES, unused, values + done * 4, EVERYTHING, "linf", count);
      done += count;
    }
    element += taken;
  }
  const found = await arena.download(lanes, laneBytes);
  const view = new DataView(found.buffer, found.byteOffset, laneBytes);
  const scales = Float32Array.from({ length: blocks }, (_, block) => {
    let amax = 0;
    for (let lane = 0; lane < 8; lane++) amax = Math.max(amax, view.getFloat64(block * LANES_BYTES + lane * 8, true));
    return amax === 0 ? 1 : Math.max(SMALLEST_SCALE, Math.fround(amax / LARGEST[codes]));
  });
  scope.end();
  return scales;
}
