import type { Address } from "../engines/index.ts";
import { float64Copy } from "./block-sums.ts";
import { type Chunk, summedBlocks } from "./chunks.ts";
import type { RangeContext } from "./range.ts";
import type { Steps } from "./steps.ts";

/**
 * Sums per column of a tensor (along its first dimension), the same however it was cut, in memory that does not grow with its
 * length: the sums of blocks are added pairwise along the binary tree over the numbers of the blocks, and of a range its largest
 * whole subtrees are kept. Plain data.
 */
export interface ColumnSums {
  /** Neighbouring subtrees in order of blocks: no two of them make up a larger one. */
  readonly subtrees: readonly Subtree[];
}

interface Subtree {
  /** It holds 2^level blocks, from block index * 2^level on. */
  readonly level: number;
  readonly index: number;
  readonly sums: Float64Array;
}

/** The blocks of the left range, then those of the right: a step for each subtree. */
export function* foldColumnSums(left: ColumnSums, right: ColumnSums): Steps<ColumnSums> {
  let { subtrees } = left;
  for (const subtree of right.subtrees) {
    subtrees = withSubtree(subtrees, subtree);
    yield;
  }
  return { subtrees };
}

/** The sums of a whole tensor: its subtrees from the largest on, added in order. */
export function columnTotals({ subtrees }: ColumnSums): Float64Array {
  const [first, ...others] = subtrees;
  if (first === undefined) return new Float64Array();
  return others.reduce((sum, subtree) => added(sum, subtree.sums), first.sums);
}

/** Makes column sums of a range, chunk by chunk: `rows` of them, each of `columns` for every block. */
export class ColumnSummer {
  /** Of a chunk that is summed over. */
  readonly blocksMax: number;
  readonly #context: RangeContext;
  readonly #rows: number;
  readonly #columns: number;
  readonly #address: Address;
  readonly #sizeBytes: number;
  #block: number;
  #subtrees: readonly Subtree[] = [];

  constructor(context: RangeContext, rows: number, columns: number) {
    this.#context = context;
    this.#rows = rows;
    this.#columns = columns;
    this.blocksMax = summedBlocks(context, rows * columns * 8);
    this.#sizeBytes = rows * this.blocksMax * columns * 8;
    this.#block = Math.floor(context.firstElement / context.blockElements);
    this.#address = context.buffer("column-sums", this.#sizeBytes);
    context.arena.kernels.zero(this.#address, this.#sizeBytes);
  }

  /** Where kernels add to the sums of a row, for each block of a chunk. */
  sums(row: number): Address {
    return this.#address + 8 * row * this.blocksMax * this.#columns;
  }

  async endChunk({ endsBlock, elementCount }: Chunk): Promise<void> {
    if (!endsBlock) return;
    const { arena, blockElements } = this.#context;
    const sums = float64Copy(await arena.download(this.#address, this.#sizeBytes));
    arena.kernels.zero(this.#address, this.#sizeBytes);
    const blocks = Math.ceil(elementCount / blockElements);
    for (let block = 0; block < blocks; block++) {
      const ofBlock = new Float64Array(this.#rows * this.#columns);
      for (let row = 0; row < this.#rows; row++) {
        const first = (row * this.blocksMax + block) * this.#columns;
        ofBlock.set(sums.subarray(first, first + this.#columns), row * this.#columns);
      }
      this.#subtrees = withSubtree(this.#subtrees, { level: 0, index: this.#block, sums: ofBlock });
      this.#block++;
    }
  }

  finish(): ColumnSums {
    return { subtrees: this.#subtrees };
  }
}

function withSubtree(subtrees: readonly Subtree[], next: Subtree): readonly Subtree[] {
  const left = subtrees.at(-1);
  const isSibling = left?.level === next.level && left.index % 2 === 0 && next.index === left.index + 1;
  if (left === undefined || !isSibling) return [...subtrees, next];
  const parent = { level: next.level + 1, index: left.index / 2, sums: added(left.sums, next.sums) };
  return withSubtree(subtrees.slice(0, -1), parent);
}

function added(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, k) => value + (b[k] ?? 0));
}
