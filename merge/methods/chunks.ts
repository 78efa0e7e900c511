/** A run of elements of the tensor that is computed at once: inside one block, or several whole blocks, the last of which may be short. */
export interface Chunk {
  readonly firstElement: number;
  readonly elementCount: number;
  readonly startsBlock: boolean;
  readonly endsBlock: boolean;
}

/** "blocks": whole blocks only, as many as are computed at once. "pieces": no more than are computed at once, of a block even. */
export type ChunkSize = "blocks" | "pieces";

/** What of a range says how it is taken in. */
export interface ChunkedRange {
  readonly firstElement: number;
  readonly elementCount: number;
  readonly rowLength: number;
  readonly blockElements: number;
  /** First elements of the parts, ascending. */
  readonly cuts: readonly number[];
  /** Most blocks of any chunk, and most elements. */
  readonly chunkBlocks: number;
  readonly chunkCapacity: number;
}

/** How many blocks a chunk may hold: whole ones, if any, of the pieces that a device wants. */
export function chunkBlocksOf(elements: number, blockElements: number, pieceElements: number): number {
  const blocks = Math.ceil(elements / blockElements);
  return Math.max(1, Math.min(blocks, Math.floor(pieceElements / blockElements)));
}

/** In what is summed by block, whatever it takes: then an answer that is waited for is one in so many elements at most. */
const SUMMED_ELEMENTS = 2 ** 22;
/** Else sums by block take no more memory than this. */
const SUMS_MAX_BYTES = 2 ** 28;

/** How many blocks are summed over at once where the sums of each take so many bytes. */
export function summedBlocks(
  { chunkBlocks, blockElements }: Pick<ChunkedRange, "chunkBlocks" | "blockElements">,
  bytesPerBlock: number,
): number {
  const least = Math.ceil(SUMMED_ELEMENTS / blockElements);
  return Math.min(chunkBlocks, Math.max(least, Math.floor(SUMS_MAX_BYTES / bytesPerBlock)));
}

/** The range in chunks, in order, of so many blocks at most. None crosses a cut; pieces of blocks are multiples of 8 but for the last. */
export function* chunksOf(
  range: Pick<ChunkedRange, "firstElement" | "elementCount" | "blockElements" | "cuts" | "chunkBlocks">,
  pieceElements: number,
  size: ChunkSize,
  blocksMax = range.chunkBlocks,
): Generator<Chunk> {
  const end = range.firstElement + range.elementCount;
  const span = Math.min(range.chunkBlocks, blocksMax) * range.blockElements;
  const length = size === "blocks" ? span : Math.min(span, pieceElements);
  let part = 0;
  for (let from = range.firstElement; from < end; ) {
    while ((range.cuts[part] ?? end) <= from) part++;
    const to = Math.min(end, from + span, range.cuts[part] ?? end);
    for (let firstElement = from; firstElement < to; firstElement += length) {
      const elementCount = Math.min(length, to - firstElement);
      yield {
        firstElement,
        elementCount,
        startsBlock: firstElement === from,
        endsBlock: firstElement + elementCount === to,
      };
    }
    from = to;
  }
}

/** Most rows of any chunk. */
export function rowCapacity({ chunkCapacity, rowLength }: Pick<ChunkedRange, "chunkCapacity" | "rowLength">): number {
  return Math.ceil(chunkCapacity / Math.max(1, rowLength));
}
