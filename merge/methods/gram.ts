import { type Address, LANES_BYTES } from "../engines/index.ts";
import { BlockLanes, type BlockSums, byBlock, float64Copy, totals } from "./block-sums.ts";
import { type Chunk, summedBlocks } from "./chunks.ts";
import { maybeBase, readVector } from "./combination.ts";
import type { RangeContext } from "./range.ts";

/**
 * Models whose pieces are held widened at once. Every further model streams past them, once for each such group: memory does not
 * grow with the number of models, but for the matrix itself.
 */
const GROUP_MODELS = 8;

/** How often model `j` is read for the Gram matrix: once for its own group, once for each before it. */
export function gramReadsOf(j: number): number {
  return Math.floor(j / GROUP_MODELS) + 1;
}

/** Dots of all pairs of models, or of their deltas where there is a base apart: float64 block sums, a column per pair i <= j. */
export async function surveyGram(context: RangeContext): Promise<BlockSums> {
  const { models } = context.task;
  const sums = new PairSums(context, models.length);
  for (const chunk of context.chunks("pieces", sums.blocksMax)) {
    const base = await maybeBase(context, chunk);
    for (let first = 0; first < models.length; first += GROUP_MODELS) {
      const group: Address[] = [];
      for (const [j, model] of models.entries()) {
        if (j < first) continue;
        const isHeld = j < first + GROUP_MODELS;
        const x = await readVector(context, model, chunk, base, isHeld ? `gram/${j - first}` : "gram/passing");
        if (isHeld) group.push(x);
        addDots(context, group, x, chunk, (i) => sums.lanes(first + i, j, chunk));
      }
    }
    await sums.endChunk(chunk);
  }
  return sums.finish();
}

/** The dots of x with each row, four rows in one call where there are as many. `lanes(i)`: of row i. */
function addDots(
  { arena: { kernels }, blockElements }: RangeContext,
  rows: readonly Address[],
  x: Address,
  { elementCount: n }: Chunk,
  lanes: (i: number) => Address,
): void {
  let i = 0;
  for (; i + 4 <= rows.length; i += 4) {
    const [a = 0, b = 0, c = 0, d = 0] = rows.slice(i, i + 4);
    kernels.dotFour(lanes(i), lanes(i + 1), lanes(i + 2), lanes(i + 3), a, b, c, d, x, blockElements, n);
  }
  for (const [k, row] of rows.slice(i).entries()) kernels.dot(lanes(i + k), row, x, blockElements, n);
}

/** The matrix from the block sums of the whole tensor. */
export function gramOf(whole: BlockSums, count: number): (i: number, j: number) => number {
  const dots = totals(whole);
  return (i, j) => dots[pairColumn(Math.min(i, j), Math.max(i, j), count)] ?? 0;
}

/** Row after row of the upper triangle, diagonal included. */
function pairColumn(i: number, j: number, count: number): number {
  return i * count - (i * (i - 1)) / 2 + (j - i);
}

/**
 * Lanes for all pairs. Their sums are as many as the square of the models: they are fetched as chunks end, and of a range that is the whole
 * tensor added at once, in the order of the blocks.
 */
class PairSums {
  /** Of a chunk that is summed over. */
  readonly blocksMax: number;
  readonly #context: RangeContext;
  readonly #count: number;
  readonly #columns: number;
  readonly #lanes: BlockLanes;
  readonly #sums: Address;
  /** Row after row of sums, or only their totals. */
  readonly #blocks: Float64Array[] = [];

  constructor(context: RangeContext, count: number) {
    this.#context = context;
    this.#count = count;
    this.#columns = (count * (count + 1)) / 2;
    this.blocksMax = summedBlocks(context, this.#columns * (LANES_BYTES + 8));
    this.#lanes = new BlockLanes(context, this.#columns, "gram", "sums", this.blocksMax);
    this.#sums = context.buffer("gram/sums", this.blocksMax * this.#columns * 8);
  }

  lanes(i: number, j: number, chunk: Chunk): Address {
    return this.#lanes.of(pairColumn(i, j, this.#count), chunk);
  }

  async endChunk(chunk: Chunk): Promise<void> {
    if (!chunk.endsBlock) return;
    const { arena, whole } = this.#context;
    const sizeBytes = this.#lanes.fold(this.#sums, chunk);
    const sums = byBlock(float64Copy(await arena.download(this.#sums, sizeBytes)), this.#columns);
    for (let at = 0; at < sums.length; at += this.#columns) {
      const block = sums.subarray(at, at + this.#columns);
      const [total] = this.#blocks;
      if (whole && total !== undefined) for (const [k, sum] of block.entries()) total[k] = (total[k] ?? 0) + sum;
      else this.#blocks.push(block);
    }
  }

  finish(): BlockSums {
    const values = new Float64Array(this.#blocks.length * this.#columns);
    for (const [k, block] of this.#blocks.entries()) values.set(block, k * this.#columns);
    return { columns: this.#columns, values };
  }
}
