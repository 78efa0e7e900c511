import { dtypeBytes, type FloatDtype, isFloatDtype } from "../checkpoint/index.ts";
import type { Address, Arena } from "../merge/engines/index.ts";
import {
  type Chunk,
  type ChunkSize,
  chunkBlocksOf,
  chunksOf,
  type ManyRead,
  type RangeContext,
} from "../merge/methods/index.ts";
import { geometryOfTask, type Seed, sourcesOf, type TensorSource, type TensorTask } from "../merge/work/index.ts";
import type { FiniteWatch } from "./finite-watch.ts";
import type { InputFiles } from "./input-files.ts";
import { KeptInputs, strideOf } from "./sources/kept-inputs.ts";
import type { LastProduct } from "./sources/product-source.ts";
import type { Wanted } from "./sources/reads-ahead.ts";
import { type MergedBlocks, SourceReader } from "./sources/source-reader.ts";

/** Where results go, in order. */
export interface Sink {
  /** Room on the device for the next bytes of output, at a multiple of an element's size. */
  reserve(sizeBytes: number, elementBytes: number): Promise<Address>;
  /** The reserved bytes hold results. */
  commit(sizeBytes: number): void;
}

/** What ranges are computed with, one after another. */
export interface RangeMeans {
  readonly arena: Arena;
  readonly files: InputFiles;
  readonly watch: FiniteWatch;
}

export interface RangeSpecification {
  readonly task: TensorTask;
  readonly seed: Seed;
  readonly allowNonfinite: boolean;
  readonly firstElement: number;
  readonly elementCount: number;
  readonly cuts: readonly number[];
  readonly part: number;
  /** Whether all sources stay in memory once they are read: only what lies in files as it is wanted. */
  readonly keepsInputs: boolean;
  readonly spareBytes: number;
  readonly heldBytes: number;
  readonly pieceElements: number;
  readonly mergedBlocks: MergedBlocks;
  readonly products: LastProduct;
}

/** Widest element that is read or written. */
const ELEMENT_BYTES_MAX = 8;

/** One range of one tensor while a method computes it; see RangeContext. Its buffers go when the worker ends its scope. */
export class RangeWork implements RangeContext {
  readonly arena: Arena;
  readonly task: TensorTask;
  readonly seed: Seed;
  readonly firstElement: number;
  readonly elementCount: number;
  readonly whole: boolean;
  readonly rowLength: number;
  readonly blockElements: number;
  readonly cuts: readonly number[];
  readonly part: number;
  readonly spareBytes: number;
  readonly chunkCapacity: number;
  readonly chunkBlocks: number;
  readonly kept = new Map<string, Address>();
  /** Whether values are looked at when they are read: in the first round only. */
  check: boolean;
  readonly #buffers = new Map<string, { readonly address: Address; readonly sizeBytes: number }>();
  readonly #watch: FiniteWatch;
  readonly #reader: SourceReader;
  readonly #inputs: KeptInputs | undefined;
  /** Where sources are read to that are read for a chunk together. */
  readonly #slots = new Map<TensorSource, Address>();
  readonly #sink: Sink | undefined;
  readonly #pieceElements: number;
  /** The one after the chunk that was asked for last. */
  #nextChunk: Chunk | undefined;
  readonly #allowNonfinite: boolean;
  /** Whether bytes that are copied may have been computed on the way: read as they are stored, they were looked at then. */
  readonly #isDerived: boolean;

  constructor(means: RangeMeans, sink: Sink | undefined, specification: RangeSpecification) {
    const geometry = geometryOfTask(specification.task);
    this.arena = means.arena;
    this.#watch = means.watch;
    const { base } = specification.task;
    this.#reader = new SourceReader(means, sourcesOf(specification.task), {
      ...(base === undefined ? {} : { base }),
      heldBytes: specification.heldBytes,
      keptBytes: specification.spareBytes,
      mergedBlocks: specification.mergedBlocks,
      products: specification.products,
    });
    this.#sink = sink;
    this.task = specification.task;
    this.seed = specification.seed;
    this.firstElement = specification.firstElement;
    this.elementCount = specification.elementCount;
    this.whole = specification.elementCount === geometry.elementCount;
    this.rowLength = geometry.rowLength;
    this.blockElements = geometry.blockElements;
    this.cuts = specification.cuts;
    this.part = specification.part;
    this.spareBytes = specification.spareBytes;
    const { elementCount, pieceElements } = specification;
    this.chunkBlocks = chunkBlocksOf(elementCount, geometry.blockElements, pieceElements);
    this.chunkCapacity = Math.max(8, Math.min(this.chunkBlocks * geometry.blockElements, geometry.elementCount));
    this.#pieceElements = specification.pieceElements;
    this.#allowNonfinite = specification.allowNonfinite;
    this.#isDerived = sourcesOf(specification.task).some(({ kind }) => kind !== undefined);
    this.check = !specification.allowNonfinite;
    this.#inputs = specification.keepsInputs
      ? new KeptInputs(this.arena, sourcesOf(specification.task), specification)
      : undefined;
  }

  *chunks(size: ChunkSize, blocksMax?: number): Generator<Chunk> {
    this.#slots.clear(); // another round may read in another way
    let chunk: Chunk | undefined;
    for (const next of chunksOf(this, this.#pieceElements, size, blocksMax)) {
      this.#nextChunk = next;
      if (chunk !== undefined) yield chunk;
      chunk = next;
    }
    this.#nextChunk = undefined;
    if (chunk !== undefined) yield chunk;
  }

  buffer(name: string, sizeBytes: number): Address {
    const known = this.#buffers.get(name);
    if (known !== undefined && known.sizeBytes >= sizeBytes) return known.address;
    const address = this.arena.allocate(sizeBytes);
    this.#buffers.set(name, { address, sizeBytes });
    return address;
  }

  f32(name: string): Address {
    return this.buffer(`f32/${name}`, this.chunkCapacity * 4);
  }

  read(source: TensorSource, chunk: Chunk): Promise<Address> {
    return this.#readTo(source, chunk, () => this.buffer("raw", this.chunkCapacity * ELEMENT_BYTES_MAX));
  }

  async readMany(sources: readonly TensorSource[], chunk: Chunk): Promise<ManyRead> {
    const [first] = sources;
    if (first === undefined) throw new Error("no sources to be read");
    const strideBytes = strideOf(this.chunkCapacity * dtypeBytes[first.dtype]);
    const slot = (k: number) => this.buffer(`many/${first.dtype}`, sources.length * strideBytes) + k * strideBytes;
    for (const [k, source] of sources.entries()) await this.#readTo(source, chunk, () => slot(k));
    return this.#inputs === undefined
      ? { address: slot(0), strideBytes }
      : this.#inputs.manyOf(first, chunk.firstElement);
  }

  /** Where the elements are then: kept from before or from now on, or at the place that is given. */
  async #readTo(source: TensorSource, chunk: Chunk, placeOf: () => Address): Promise<Address> {
    const { firstElement, elementCount } = chunk;
    const kept = this.#inputs?.placeOf(source, firstElement, elementCount);
    if (kept !== undefined && kept.missing === undefined) return kept.address;
    const { first, count, into } = kept?.missing ?? { first: firstElement, count: elementCount, into: placeOf() };
    this.#reader.check = this.check;
    await this.#reader.read(source, this.rowLength, first, count, into);
    if (kept === undefined) this.#slots.set(source, into);
    else this.#inputs?.wasRead(source, { first, count });
    this.#reader.wasRead(source, this.rowLength, chunk, this.#nextChunk, this.#placeOf);
    return kept?.address ?? into;
  }

  /** Where what is read ahead will be wanted, as far as that is known. */
  readonly #placeOf = ({ source, first, count }: Wanted): Address | undefined => {
    const kept = this.#inputs?.placeOf(source, first, count);
    if (kept === undefined) return this.#slots.get(source);
    return kept.missing?.count === count ? kept.missing.into : undefined;
  };

  /** Elements by their positions in the source's own rows, widened to f32, wherever they lie. */
  async readElements(source: TensorSource, first: number, count: number, into: Address): Promise<void> {
    this.#reader.check = this.check;
    await this.#reader.elementsF32(source, first, count, into);
  }

  foresee(sources: readonly TensorSource[], chunks: readonly Chunk[]): void {
    this.#reader.foresee(
      sources.filter(({ storedRowLength }) => storedRowLength === this.rowLength),
      chunks,
    );
  }

  checkMade(values: Address, { firstElement, elementCount }: Chunk, what: string): void {
    if (!this.#allowNonfinite) this.#watch.made(`${what} in ${this.task.name}`, firstElement, elementCount, values);
  }

  hold(): () => void {
    return this.#reader.hold();
  }

  async readF32(source: TensorSource, chunk: Chunk, name: string): Promise<Address> {
    if (!isFloatDtype(source.dtype)) throw new Error(`${source.tensor} of dtype ${source.dtype} cannot be widened`);
    const raw = await this.read(source, chunk);
    const wide = this.f32(name);
    this.arena.kernels.widen(wide, raw, source.dtype, chunk.elementCount);
    return wide;
  }

  async emit(chunk: Chunk, result: Address): Promise<void> {
    const { dtype } = this.task;
    if (!isFloatDtype(dtype)) throw new Error(`${this.task.name} of dtype ${dtype} cannot be rounded to`);
    const sizeBytes = chunk.elementCount * dtypeBytes[dtype];
    const place = await this.#out().reserve(sizeBytes, dtypeBytes[dtype]);
    this.arena.kernels.narrow(place, result, dtype, chunk.elementCount);
    this.#check(dtype, chunk, result, place);
    this.#out().commit(sizeBytes);
  }

  async emitBytes(chunk: Chunk, bytes: Address): Promise<void> {
    const sizeBytes = chunk.elementCount * dtypeBytes[this.task.dtype];
    const place = await this.#out().reserve(sizeBytes, dtypeBytes[this.task.dtype]);
    if (this.#isDerived && isFloatDtype(this.task.dtype)) this.#check(this.task.dtype, chunk, bytes, bytes);
    this.arena.kernels.copy(place, bytes, sizeBytes);
    this.#out().commit(sizeBytes);
  }

  /** Looks at what is about to leave, in the caches still: no part of the processor time that could be measured. */
  #check(dtype: FloatDtype, { firstElement, elementCount }: Chunk, values: Address, rounded: Address): void {
    if (this.#allowNonfinite) return;
    this.#watch.inRange({ dtype, name: this.task.name }, firstElement, elementCount, values, rounded);
  }

  #out(): Sink {
    if (this.#sink === undefined) throw new Error("a survey emits nothing");
    return this.#sink;
  }
}
