import { type Address, LANES_BYTES } from "../engines/index.ts";
import type { Chunk } from "./chunks.ts";
import type { RangeContext } from "./range.ts";
import type { Steps } from "./steps.ts";

/**
 * Sums over a range as docs/spec/methods.md wants them: one float64 number per block and column, so that the sum of a whole tensor is the
 * same however it was cut. Plain data.
 */
export interface BlockSums {
  /** Sums that are made side by side (one per model, one per pair, ...). */
  readonly columns: number;
  /** Row-major [blocks, columns]; of ranges that were folded, their total in place of their blocks. */
  readonly values: Float64Array;
  /** What the values are: sums where it is not said. */
  readonly of?: "maxima";
}

/** Numbers that are added in one step of a fold: some milliseconds. */
const STEP_NUMBERS = 2 ** 20;

/** The total of all that came before, and the blocks of the next range onto it, one after another: the same sums as at the end. */
export function* foldBlockSums(left: BlockSums, right: BlockSums): Steps<BlockSums> {
  if (left.columns !== right.columns) throw new Error(`${right.columns} columns to be added to ${left.columns}`);
  const values = new Float64Array(left.columns);
  let undone = 0;
  for (const { values: rows } of [left, right]) {
    for (let at = 0; at < rows.length; at += left.columns) {
      addRow(values, rows, at, left.of);
      undone += left.columns;
      if (undone < STEP_NUMBERS) continue;
      undone = 0;
      yield;
    }
  }
  return { ...left, values };
}

/** Blocks added in order, starting from 0, or the largest of them: one total per column. */
export function totals(sums: BlockSums): number[] {
  const result = new Float64Array(sums.columns);
  for (let at = 0; at < sums.values.length; at += sums.columns) addRow(result, sums.values, at, sums.of);
  return Array.from(result);
}

function addRow(totals: Float64Array, rows: Float64Array, at: number, of: BlockSums["of"]): void {
  for (let column = 0; column < totals.length; column++) {
    const [total, value] = [totals[column] ?? 0, rows[at + column] ?? 0];
    totals[column] = of === "maxima" ? Math.max(total, value) : total + value;
  }
}

/**
 * Lanes on the device for a set of columns: of each column one for each block of the chunk that is summed over. What a chunk leaves open
 * the next one goes on with.
 */
export class BlockLanes {
  readonly columns: number;
  readonly #context: RangeContext;
  readonly #address: Address;
  readonly #of: "sums" | "maxima";

  /** Of chunks of so many blocks. */
  constructor(
    context: RangeContext,
    columns: number,
    name: string,
    of: "sums" | "maxima" = "sums",
    blocks = context.chunkBlocks,
  ) {
    const sizeBytes = blocks * columns * LANES_BYTES;
    this.columns = columns;
    this.#context = context;
    this.#of = of;
    this.#address = context.buffer(`${name}/lanes`, sizeBytes);
    context.arena.kernels.zero(this.#address, sizeBytes);
  }

  of(column: number, chunk: Chunk): Address {
    return this.#address + column * blocksOf(this.#context, chunk) * LANES_BYTES;
  }

  /** One float64 number of each block and column of a chunk that ends one, [columns, blocks]; lanes are empty then. Their bytes. */
  fold(into: Address, chunk: Chunk): number {
    const count = this.columns * blocksOf(this.#context, chunk);
    const { kernels } = this.#context.arena;
    if (this.#of === "maxima") kernels.foldMaxima(into, this.#address, count);
    else kernels.foldLanes(into, this.#address, count);
    return count * 8;
  }
}

function blocksOf({ blockElements }: RangeContext, { elementCount }: Chunk): number {
  return Math.ceil(elementCount / blockElements);
}

/** Block after block from column after column, of one chunk. */
export function byBlock(sums: Float64Array, columns: number): Float64Array {
  const blocks = sums.length / columns;
  if (blocks === 1) return sums;
  return sums.map((_, at) => sums[(at % columns) * blocks + Math.floor(at / columns)] ?? 0);
}

/** Lanes for a set of columns, and the sums of the blocks that are done, which are asked for at the end of the range. */
export class BlockSummer {
  readonly #context: RangeContext;
  readonly #lanes: BlockLanes;
  readonly #of: "sums" | "maxima";
  readonly #sums: Address;
  /** Where on the device the sums of each chunk end. */
  readonly #ends: number[] = [];

  /** `of`: what the kernels leave in the lanes. */
  constructor(context: RangeContext, columns: number, name = "block-sums", of: "sums" | "maxima" = "sums") {
    const blocks = Math.ceil(context.elementCount / context.blockElements);
    this.#context = context;
    this.#of = of;
    this.#lanes = new BlockLanes(context, columns, name, of);
    this.#sums = context.buffer(`${name}/sums`, Math.max(1, blocks * columns) * 8);
  }

  /** Of the chunk's blocks, one after another. */
  lanes(column: number, chunk: Chunk): Address {
    return this.#lanes.of(column, chunk);
  }

  /** All columns have summed over the chunk. */
  endChunk(chunk: Chunk): void {
    if (!chunk.endsBlock) return;
    const end = this.#ends.at(-1) ?? 0;
    this.#ends.push(end + this.#lanes.fold(this.#sums + end, chunk));
  }

  async finish(): Promise<BlockSums> {
    const { columns } = this.#lanes;
    const values = float64Copy(await this.#context.arena.download(this.#sums, this.#ends.at(-1) ?? 0));
    for (const [k, end] of this.#ends.entries()) {
      const first = (this.#ends[k - 1] ?? 0) / 8;
      values.set(byBlock(values.subarray(first, end / 8), columns), first);
    }
    return { columns, values, ...(this.#of === "maxima" ? { of: this.#of } : {}) };
  }
}

/** Float64 numbers of a host view, copied, whatever its alignment. */
export function float64Copy(bytes: Uint8Array): Float64Array {
  return new Float64Array(bytes.slice().buffer);
}
