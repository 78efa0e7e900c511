import { dtypeBytes, isFloatDtype } from "../../checkpoint/index.ts";
import { type Address, type Arena, put, type Staging } from "../../merge/engines/index.ts";
import type { Chunk } from "../../merge/methods/index.ts";
import { type MergedSource, type StoredSource, storedIn, type TensorSource } from "../../merge/work/index.ts";
import type { FiniteWatch } from "../finite-watch.ts";
import type { InputFiles } from "../input-files.ts";
import { extentOf } from "../wanted-extents.ts";
import { readAdapter } from "./adapter-source.ts";
import { readColumns } from "./columns-source.ts";
import { readMerged } from "./merged-source.ts";
import { readNormed } from "./normed-source.ts";
import { type LastProduct, readProduct } from "./product-source.ts";
import { ReadsAhead, type Wanted } from "./reads-ahead.ts";
import { readRows } from "./rows-source.ts";
import { readScaled } from "./scaled-source.ts";
import { SharedReads } from "./shared-reads.ts";

/** Told of bytes that were read, as the host has them; they are copied where they are wanted again. */
export type Keep = (bytes: Uint8Array) => void;

/** What inner tasks merge, in whole blocks (by number) and their dtype. `check`: whether values are looked at. */
export interface MergedBlocks {
  /** Into memory of the host, of a block's size or more; waits for it. */
  block(source: MergedSource, block: number, check: boolean, into: Uint8Array): Promise<void>;
  /** Into memory of the device, where it is once what is called then is computed. */
  blocks(source: MergedSource, first: number, count: number, check: boolean, into: Address): Promise<void>;
}

/** Bytes on their way from a file to a place on the device. */
interface Reading {
  readonly place: Address;
  readonly staging: Staging;
  readonly read: Promise<void>;
}

export interface ReaderOptions {
  /** Bytes on the host that small factors (adapters) may take so that they are read once and not once a chunk. */
  readonly keptBytes: number;
  /** Bytes on the host that what is held (RangeContext.hold) may take. */
  readonly heldBytes: number;
  /** The task's base, of which chunks are held. */
  readonly base?: TensorSource;
  readonly mergedBlocks: MergedBlocks;
  readonly products: LastProduct;
}

/**
 * Reads the elements of any source while one range of one task is computed. Derived sources are made here, from ranges of rows, in
 * memory that does not exceed a few chunks and `keptBytes`. Elements depend on nothing but source and position: not on what was
 * asked for before, nor on how a range is cut.
 */
export class SourceReader {
  readonly arena: Arena;
  readonly files: InputFiles;
  readonly watch: FiniteWatch;
  readonly options: ReaderOptions;
  /** Whether stored values are looked at when they are read. */
  check = false;
  /** What readers of one kind of source keep for the range, by source. */
  readonly kept = new WeakMap<object, unknown>();
  keptBytes = 0;
  /** Where what is read ahead will be wanted. */
  #placeOf: (wanted: Wanted) => Address | undefined = () => undefined;
  readonly #shared: SharedReads;
  /** Where the device computes by itself, so that the next read is under way while this one's elements are computed with. */
  readonly #ahead: ReadsAhead<Reading> | undefined;

  constructor(
    { arena, files, watch }: { readonly arena: Arena; readonly files: InputFiles; readonly watch: FiniteWatch },
    sources: readonly TensorSource[],
    options: ReaderOptions,
  ) {
    this.arena = arena;
    this.files = files;
    this.watch = watch;
    this.options = options;
    const { base } = options;
    this.#shared = new SharedReads(
      sources.map((source) => [...storedIn(source)]),
      base === undefined ? [] : heldOf(base),
    );
    const { asynchronous } = arena.device.limits;
    this.#ahead = asynchronous
      ? new ReadsAhead(sources, (wanted) => this.#begin(wanted, this.#placeOf(wanted) ?? 0))
      : undefined;
  }

  /** A task's source was read for a chunk, as `next` will be. `placeOf`: where what comes next will be wanted; undefined: nowhere yet. */
  wasRead(
    source: TensorSource,
    rowLength: number,
    chunk: Chunk,
    next: Chunk | undefined,
    placeOf: (wanted: Wanted) => Address | undefined,
  ): void {
    if (this.#ahead === undefined) return;
    this.#placeOf = placeOf;
    this.#ahead.wasRead(
      source,
      stretchOf(chunk),
      next === undefined ? undefined : stretchOf(next),
      (wanted) =>
        wanted.source.storedRowLength === rowLength &&
        placeOf(wanted) !== undefined &&
        this.#shared.find(wanted.source, wanted.first, wanted.count) === undefined,
    );
  }

  /** See RangeContext. Of rows that are whole; of what is derived, where it lies on a base, of that. */
  foresee(sources: readonly TensorSource[], chunks: readonly Chunk[]): void {
    const stored = sources
      .map((source) => (source.kind === "adapter" ? source.base : source))
      .filter((source): source is StoredSource => source.kind === undefined);
    const extents = stored.flatMap((source) =>
      chunks
        .filter(({ firstElement, elementCount }) => this.#shared.find(source, firstElement, elementCount) === undefined)
        .map(({ firstElement, elementCount }) => extentOf(source, firstElement, elementCount)),
    );
    this.files.foresee(extents);
  }

  /** See RangeContext. */
  hold(): () => void {
    return this.#shared.hold(this.options.heldBytes);
  }

  /**
   * Elements of a task's tensor whose rows are `rowLength` long: into[k] = element firstElement + k, of the source's dtype.
   * @throws MergeError merge/nonfinite, merge/input-changed; StorageError
   */
  read(source: TensorSource, rowLength: number, firstElement: number, count: number, into: Address): Promise<void> {
    if (source.storedRowLength === rowLength) return this.elements(source, firstElement, count, into);
    return this.#rows(source, rowLength, firstElement, count, into);
  }

  /** Of a source whose columns are cut: one read for each (part of a) row. */
  async #rows(source: TensorSource, rowLength: number, firstElement: number, count: number, into: Address) {
    const elementBytes = dtypeBytes[source.dtype];
    for (let done = 0; done < count; ) {
      const element = firstElement + done;
      const column = element % rowLength;
      const run = Math.min(rowLength - column, count - done);
      const first = Math.floor(element / rowLength) * source.storedRowLength + column;
      await this.elements(source, first, run, into + done * elementBytes);
      done += run;
    }
  }

  /** As `read`, by positions in the source's own rows. */
  elements(source: TensorSource, first: number, count: number, into: Address): Promise<void> {
    switch (source.kind) {
      case "adapter":
        return this.#checked(readAdapter(this, source, first, count, into), source, first, count, into);
      case "normed":
        return this.#checked(readNormed(this, source, first, count, into), source, first, count, into);
      case "scaled":
        return this.#checked(readScaled(this, source, first, count, into), source, first, count, into);
      case "rows":
        return readRows(this, source, first, count, into);
      case "columns":
        return readColumns(this, source, first, count, into);
      case "product":
        return readProduct(this, source, first, count, into);
      default:
        return this.#elementsOf(source, first, count, into);
    }
  }

  /** As `elements`, widened to f32. */
  async elementsF32(source: TensorSource, first: number, count: number, into: Address): Promise<void> {
    if (source.dtype === "F32") return this.elements(source, first, count, into);
    if (!isFloatDtype(source.dtype)) throw new Error(`${source.tensor} of dtype ${source.dtype} cannot be widened`);
    const scope = this.arena.scope();
    const raw = this.arena.allocate(count * dtypeBytes[source.dtype]);
    await this.elements(source, first, count, raw);
    this.arena.kernels.widen(into, raw, source.dtype, count);
    scope.end();
  }

  /** Elements of a stored source on the host, as the file has them; not looked at. Not to be altered. */
  async bytesOf(source: StoredSource, first: number, count: number): Promise<Uint8Array> {
    const known = this.#shared.find(source, first, count);
    if (known !== undefined) return known;
    const elementBytes = dtypeBytes[source.dtype];
    const bytes = new Uint8Array(count * elementBytes);
    await this.files.read(source.input, source.file, source.offsetBytes + first * elementBytes, bytes);
    this.#shared.keep(source, first, count, bytes);
    return bytes;
  }

  /** Finite factors, or codes and scales, may have a product beyond float32. */
  async #checked(made: Promise<void>, source: TensorSource, first: number, count: number, into: Address) {
    await made;
    if (!this.check) return;
    const [stored] = storedIn(source);
    const label = stored === undefined ? "the output" : this.files.label(stored.input);
    this.watch.read(source, label, first, count, into);
  }

  /** What is kept of it; else it is read, and kept where it is wanted again. */
  async #elementsOf(source: StoredSource | MergedSource, first: number, count: number, into: Address): Promise<void> {
    if (this.watch.isFull) await this.watch.check();
    const known = this.#shared.find(source, first, count);
    if (known !== undefined) put(this.arena, into, known);
    else if (source.kind === undefined) await this.#stored(source, first, count, into);
    else await readMerged(this, source, first, count, into, (bytes) => this.#shared.keep(source, first, count, bytes));
  }

  async #stored(source: StoredSource, first: number, count: number, into: Address): Promise<void> {
    const wanted = { source, first, count };
    const ahead = this.#ahead?.take(wanted);
    const { place, staging, read } = ahead?.place === into ? ahead : this.#begin(wanted, into);
    await read;
    this.#shared.keep(source, first, count, staging.bytes);
    staging.send();
    if (this.check) this.watch.read(source, this.files.label(source.input), first, count, place);
  }

  #begin({ source, first, count }: Wanted, place: Address): Reading {
    const elementBytes = dtypeBytes[source.dtype];
    const staging = this.arena.staging(place, count * elementBytes);
    const offsetBytes = source.offsetBytes + first * elementBytes;
    const read = this.files.read(source.input, source.file, offsetBytes, staging.bytes);
    read.catch(() => undefined); // whoever takes it hears of it; what nobody takes is not missed
    return { place, staging, read };
  }
}

/** What of a base is held: what is read from files for it; of what is merged on the way the result. */
function heldOf(base: TensorSource): (StoredSource | MergedSource)[] {
  return base.kind === "merged" ? [base] : [...storedIn(base)];
}

function stretchOf({ firstElement, elementCount }: Chunk) {
  return { first: firstElement, count: elementCount };
}
