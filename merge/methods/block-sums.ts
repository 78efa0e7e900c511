import { type Address, LANES_BYTES } from "../engines/index.ts";
import type { Steps } from "./definition.ts";
import type { RangeContext } from "./range.ts";

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
    context.arena.kernels.zero(this.#lanes, columns * LANES_BYTES);
  }

  lanes(column: number): Address {
    return this.#lanes + column * LANES_BYTES;
  }

  /** Closes the block that all columns have summed over. */
  endBlock(): void {
    for (let column = 0; column < this.#columns; column++) {
      this.#context.arena.kernels.foldLanes(
        this.#sums + (this.#blocks * this.#columns + column) * 8,
        this.lanes(column),
      );
    }
    this.#blocks++;
  }

  /** The same for lanes that hold maxima: the block's value is the largest lane. */
  async endBlockByMaximum(): Promise<void> {
    for (let column = 0; column < this.#columns; column++) {
      const lanes = float64Copy(await this.#context.arena.download(this.lanes(column), LANES_BYTES));
      this.#maxima.push(Math.max(...lanes));
    }
    this.#context.arena.kernels.zero(this.#lanes, this.#columns * LANES_BYTES);
  }

  async finish(): Promise<BlockSums> {
    if (this.#maxima.length > 0)
      return { columns: this.#columns, values: Float64Array.from(this.#maxima), of: "maxima" };
    const count = this.#blocks * this.#columns;
    const bytes = await this.#context.arena.download(this.#sums, count * 8);
    return { columns: this.#columns, values: float64Copy(bytes) };
  }
}

/** Float64 numbers of a host view, copied, whatever its alignment. */
export function float64Copy(bytes: Uint8Array): Float64Array {
  return new Float64Array(bytes.slice().buffer);
}
