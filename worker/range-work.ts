import { dtypeBytes, isFloatDtype } from "../checkpoint/index.ts";
import type { Address, Engine } from "../merge/engines/index.ts";
import type { Chunk, RangeContext } from "../merge/methods/index.ts";
import { geometryOfTask, MergeError, type Seed, type TensorSource, type TensorTask } from "../merge/work/index.ts";
import type { InputFiles } from "./input-files.ts";

/** Where results go, in order. */
export interface Sink {
  /** Room on the device for the next bytes of output, at a multiple of an element's size. */
  reserve(sizeBytes: number, elementBytes: number): Promise<Address>;
  /** The reserved bytes hold results. */
  commit(sizeBytes: number): void;
}

export interface RangeSpecification {
  readonly task: TensorTask;
  readonly seed: Seed;
  readonly allowNonfinite: boolean;
  readonly firstElement: number;
  readonly elementCount: number;
  readonly cuts: readonly number[];
  readonly part: number;
  readonly spareBytes: number;
  readonly pieceElements: number;
}

/** Widest element that is read or written. */
const ELEMENT_BYTES_MAX = 8;

/** One range of one tensor while a method computes it; see RangeContext. Its buffers go when the worker releases its mark. */
export class RangeWork implements RangeContext {
  readonly engine: Engine;
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
  readonly kept = new Map<string, Address>();
  /** Whether values are looked at when they are read: in the first round only. */
  check: boolean;
  readonly #buffers = new Map<string, { readonly address: Address; readonly sizeBytes: number }>();
  readonly #files: InputFiles;
  readonly #sink: Sink | undefined;
  readonly #pieceElements: number;

  constructor(engine: Engine, files: InputFiles, sink: Sink | undefined, specification: RangeSpecification) {
    const geometry = geometryOfTask(specification.task);
    this.engine = engine;
    this.#files = files;
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
    this.chunkCapacity = Math.max(8, Math.min(geometry.blockElements, geometry.elementCount));
    this.#pieceElements = specification.pieceElements;
    this.check = !specification.allowNonfinite;
  }

  *chunks(size: "blocks" | "pieces"): Generator<Chunk> {
    const end = this.firstElement + this.elementCount;
    const piece = size === "blocks" ? this.blockElements : this.#pieceElements;
    for (let block = this.firstElement; block < end; block += this.blockElements) {
      const blockEnd = Math.min(end, block + this.blockElements);
      for (let firstElement = block; firstElement < blockEnd; firstElement += piece) {
        const elementCount = Math.min(piece, blockEnd - firstElement);
        const endsBlock = firstElement + elementCount === blockEnd;
        yield { firstElement, elementCount, startsBlock: firstElement === block, endsBlock };
      }
    }
  }

  buffer(name: string, sizeBytes: number): Address {
    const known = this.#buffers.get(name);
    if (known !== undefined && known.sizeBytes >= sizeBytes) return known.address;
    const address = this.engine.allocate(sizeBytes);
    this.#buffers.set(name, { address, sizeBytes });
    return address;
  }

  f32(name: string): Address {
    return this.buffer(`f32/${name}`, this.chunkCapacity * 4);
  }

  async read(source: TensorSource, chunk: Chunk): Promise<Address> {
    const raw = this.buffer("raw", this.chunkCapacity * ELEMENT_BYTES_MAX);
    const elementBytes = dtypeBytes[source.dtype];
    const sizeBytes = chunk.elementCount * elementBytes;
    const view = this.engine.stage(raw, sizeBytes);
    if (source.storedRowLength === this.rowLength) {
      const offsetBytes = source.offsetBytes + chunk.firstElement * elementBytes;
      await this.#files.read(source.input, source.file, offsetBytes, view);
    } else {
      await this.#readRows(source, chunk, view);
    }
    this.engine.upload(raw, sizeBytes);
    if (this.check) await this.#checkFinite(source, chunk, raw);
    return raw;
  }

  async readF32(source: TensorSource, chunk: Chunk, name: string): Promise<Address> {
    if (!isFloatDtype(source.dtype)) throw new Error(`${source.tensor} of dtype ${source.dtype} cannot be widened`);
    const raw = await this.read(source, chunk);
    const wide = this.f32(name);
    this.engine.kernels.widen(wide, raw, source.dtype, chunk.elementCount);
    return wide;
  }

  async emit(chunk: Chunk, result: Address): Promise<void> {
    const { dtype } = this.task;
    if (!isFloatDtype(dtype)) throw new Error(`${this.task.name} of dtype ${dtype} cannot be rounded to`);
    const sizeBytes = chunk.elementCount * dtypeBytes[dtype];
    const place = await this.#out().reserve(sizeBytes, dtypeBytes[dtype]);
    this.engine.kernels.narrow(place, result, dtype, chunk.elementCount);
    this.#out().commit(sizeBytes);
  }

  async emitBytes(chunk: Chunk, bytes: Address): Promise<void> {
    const sizeBytes = chunk.elementCount * dtypeBytes[this.task.dtype];
    const place = await this.#out().reserve(sizeBytes, dtypeBytes[this.task.dtype]);
    const from = await this.engine.download(bytes, sizeBytes);
    this.engine.stage(place, sizeBytes).set(from);
    this.engine.upload(place, sizeBytes);
    this.#out().commit(sizeBytes);
  }

  /** Columns are cut: one read for each (part of a) row. */
  async #readRows(source: TensorSource, chunk: Chunk, view: Uint8Array): Promise<void> {
    const elementBytes = dtypeBytes[source.dtype];
    let done = 0;
    while (done < chunk.elementCount) {
      const element = chunk.firstElement + done;
      const column = element % this.rowLength;
      const count = Math.min(this.rowLength - column, chunk.elementCount - done);
      const offsetBytes = source.offsetBytes + this.#storedIndex(source, element) * elementBytes;
      await this.#files.read(
        source.input,
        source.file,
        offsetBytes,
        view.subarray(done * elementBytes, (done + count) * elementBytes),
      );
      done += count;
    }
  }

  #storedIndex(source: TensorSource, element: number): number {
    return Math.floor(element / this.rowLength) * source.storedRowLength + (element % this.rowLength);
  }

  async #checkFinite(source: TensorSource, chunk: Chunk, raw: Address): Promise<void> {
    if (!isFloatDtype(source.dtype)) return;
    // What counts is the value that is computed with: a float64 beyond the range of float32 is infinite there.
    const widened = this.f32("nonfinite");
    const result = this.buffer("first-nonfinite", 4);
    const { kernels } = this.engine;
    if (source.dtype === "F64") {
      kernels.widen(widened, raw, source.dtype, chunk.elementCount);
      kernels.firstNonFinite(result, widened, "F32", chunk.elementCount);
    } else {
      kernels.firstNonFinite(result, raw, source.dtype, chunk.elementCount);
    }
    const bytes = await this.engine.download(result, 4);
    const index = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
    if (index === 0xffffffff) return;
    kernels.widen(widened, raw, source.dtype, chunk.elementCount);
    const wide = await this.engine.download(widened + index * 4, 4);
    const value = new DataView(wide.buffer, wide.byteOffset, 4).getFloat32(0, true);
    const element = this.#storedIndex(source, chunk.firstElement + index);
    const what = Number.isNaN(value) ? "NaN" : value > 0 ? "infinity" : "-infinity";
    throw new MergeError(
      "merge/nonfinite",
      `${this.#files.label(source.input)}: ${source.tensor} holds ${what} at element ${element}`,
      {
        hint: "Check that model, or let such values through with --allow-nonfinite. Finished slices are kept.",
      },
    );
  }

  #out(): Sink {
    if (this.#sink === undefined) throw new Error("a survey emits nothing");
    return this.#sink;
  }
}
