import { type Address, LANES_BYTES } from "../engines/index.ts";
import type { RangeContext } from "./range.ts";

/**
 * Sums over a range as methods.md wants them: one float64 number per block and column, so that the sum of a whole tensor is the
 * same however it was cut. Plain data.
 */
export interface BlockSums {
  /** Sums that are made side by side (one per model, one per pair, ...). */
  readonly columns: number;
  /** Row-major [blocks, columns]. */
  readonly values: Float64Array;
}

/** The blocks of the left range, then those of the right. */
export function joinBlockSums(left: BlockSums, right: BlockSums): BlockSums {
  const values = new Float64Array(left.values.length + right.values.length);
  values.set(left.values);
  values.set(right.values, left.values.length);
  return { columns: left.columns, values };
}

/** Blocks added in order, starting from 0: one total per column. */
export function totals(sums: BlockSums): number[] {
  const result = new Array<number>(sums.columns).fill(0);
  for (let at = 0; at < sums.values.length; at += sums.columns) {
    for (let column = 0; column < sums.columns; column++) {
      result[column] = (result[column] ?? 0) + (sums.values[at + column] ?? 0);
    }
  }
  return result;
}

/** Lanes on the device for a set of columns, and where finished blocks go. */
export class BlockSummer {
  readonly #context: RangeContext;
  readonly #columns: number;
  readonly #lanes: Address;
  readonly #sums: Address;
  readonly #maxima: number[] = [];
  #blocks = 0;

  constructor(context: RangeContext, columns: number, name = "block-sums") {
    const blocks = Math.ceil(context.elementCount / context.blockElements);
    this.#context = context;
    this.#columns = columns;
    this.#lanes = context.buffer(`${name}/lanes`, columns * LANES_BYTES);
    this.#sums = context.buffer(`${name}/sums`, Math.max(1, blocks * columns) * 8);
    context.engine.kernels.zero(this.#lanes, columns * LANES_BYTES);
  }

  lanes(column: number): Address {
    return this.#lanes + column * LANES_BYTES;
  }

  /** Closes the block that all columns have summed over. */
  endBlock(): void {
    for (let column = 0; column < this.#columns; column++) {
      this.#context.engine.kernels.foldLanes(
        this.#sums + (this.#blocks * this.#columns + column) * 8,
        this.lanes(column),
      );
    }
    this.#blocks++;
  }

  /** The same for lanes that hold maxima: the block's value is the largest lane. */
  async endBlockByMaximum(): Promise<void> {
    for (let column = 0; column < this.#columns; column++) {
      const lanes = float64Copy(await this.#context.engine.download(this.lanes(column), LANES_BYTES));
      this.#maxima.push(Math.max(...lanes));
    }
    this.#context.engine.kernels.zero(this.#lanes, this.#columns * LANES_BYTES);
  }

  async finish(): Promise<BlockSums> {
    if (this.#maxima.length > 0) return { columns: this.#columns, values: Float64Array.from(this.#maxima) };
    const count = this.#blocks * this.#columns;
    const bytes = await this.#context.engine.download(this.#sums, count * 8);
    return { columns: this.#columns, values: float64Copy(bytes) };
  }
}

/** Float64 numbers of a host view, copied, whatever its alignment. */
export function float64Copy(bytes: Uint8Array): Float64Array {
  return new Float64Array(bytes.slice().buffer);
}
