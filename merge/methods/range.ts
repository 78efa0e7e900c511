import type { Address, Arena } from "../engines/index.ts";
import type { Seed, TensorSource, TensorTask } from "../work/index.ts";
import type { Chunk, ChunkSize } from "./chunks.ts";

/** Bytes of several sources. */
export interface ManyRead {
  /** Of the first. */
  readonly address: Address;
  /** From each to the next. */
  readonly strideBytes: number;
}

/**
 * What a worker lends a method while it computes one range (whole blocks) of one tensor.
 * Buffers live until the range is done; asking again for a name gives the same buffer.
 */
export interface RangeContext {
  readonly arena: Arena;
  readonly task: TensorTask;
  readonly seed: Seed;
  readonly firstElement: number;
  readonly elementCount: number;
  /** Whether this range is the whole tensor. */
  readonly whole: boolean;
  /** Length of the last dimension, and elements of a block (docs/spec/methods.md). */
  readonly rowLength: number;
  readonly blockElements: number;
  /**
   * First elements of the parts in which this range will be merged, ascending, the first one being `firstElement`.
   * A survey reports ties per part.
   */
  readonly cuts: readonly number[];
  /** Which of all parts of the tensor this range is; of a survey, which of them it begins with. */
  readonly part: number;
  /** Bytes that optional working memory (collected samples, kept masks) may take. */
  readonly spareBytes: number;
  /** Most elements of any chunk: what buffers that hold a chunk must have room for. */
  readonly chunkCapacity: number;
  /** Most blocks of any chunk: 1 where chunks lie inside of blocks. */
  readonly chunkBlocks: number;
  /** The range in chunks, in order, of so many blocks at most. None crosses a cut. */
  chunks(size: ChunkSize, blocksMax?: number): Iterable<Chunk>;
  buffer(name: string, sizeBytes: number): Address;
  /** A buffer of f32 for one chunk. */
  f32(name: string): Address;
  /** Bytes of a source for a chunk, as stored; valid until the next read. Values are checked when bytes are seen first. */
  read(source: TensorSource, chunk: Chunk): Promise<Address>;
  /**
   * As `read` for several sources of one dtype: their bytes lie equally far apart, in order. Neighbours among the models of the task, and the
   * same ones for each chunk.
   */
  readMany(sources: readonly TensorSource[], chunk: Chunk): Promise<ManyRead>;
  /** What is read next, here and there: of each of these sources these chunks. Where they are far, they are asked for at once. */
  foresee(sources: readonly TensorSource[], chunks: readonly Chunk[]): void;
  /**
   * From now on what is read of the base, and of stored tensors that several sources are made of, is kept as it was read, as far as there
   * is memory: whoever passes over the same chunks again reads no file for them. Ends with the call of what it returns.
   */
  hold(): () => void;
  /** The chunk widened to f32, in a buffer of that name. */
  readF32(source: TensorSource, chunk: Chunk, name: string): Promise<Address>;
  /**
   * Stops the merge where one of these f32 values, made on the way, is infinite or NaN: finite inputs may have squares beyond float32.
   * `what`: of what they are made, "the variance of the models".
   */
  checkMade(values: Address, chunk: Chunk, what: string): void;
  /** Rounds f32 results to the output's dtype and hands them on. */
  emit(chunk: Chunk, result: Address): Promise<void>;
  /** Hands bytes on that already have the output's dtype. */
  emitBytes(chunk: Chunk, bytes: Address): Promise<void>;
  /** Values that a survey leaves for the merge of the same range in the same worker, if that is where it happens. */
  readonly kept: Map<string, Address>;
}
