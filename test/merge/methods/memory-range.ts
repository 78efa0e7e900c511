import { type Address, type Arena, type DeviceLimits, type Kernels, openDevice } from "../../../merge/engines/index.ts";
import {
  type Chunk,
  type ChunkSize,
  chunkBlocksOf,
  chunksOf,
  type RangeContext,
} from "../../../merge/methods/index.ts";
import type { ModelSource, StoredSource, TensorSource, TensorTask } from "../../../merge/work/index.ts";

const MEMORY_MAX_BYTES = 2 ** 28;

/** How a tensor is taken in: blocks may be far smaller than those of real merges, so that cuts cost little. */
export interface RangeShape {
  readonly blockElements: number;
  readonly pieceElements: number;
  readonly spareBytes: number;
  /** What the device says of itself. */
  readonly limits?: Partial<DeviceLimits>;
}

/** F32 models in memory over a base of zeros, so that deltas are the values themselves. */
export class MemoryTensor {
  readonly arena: Arena;
  readonly task: TensorTask;
  readonly elementCount: number;
  readonly models: readonly Float32Array[];
  /** How often each kernel was called. */
  readonly calls = new Map<string, number>();
  /** Chunks of models that were read, of every range. */
  readonly reads: Chunk[] = [];
  /** How often a chunk of the base was. */
  baseReads = 0;
  /** How often what the device has was waited for. */
  waits = 0;
  #underWay = 0;
  /** While it is held, chunks of it that were read. */
  held: Set<string> | undefined;

  private constructor(arena: Arena, models: readonly Float32Array[]) {
    this.arena = {
      ...bound(arena),
      kernels: this.#counting(arena.kernels),
      download: (address, sizeBytes) => this.#downloaded(arena, address, sizeBytes),
    };
    this.models = models;
    this.elementCount = models[0]!.length;
    this.task = {
      name: "tensor",
      kind: "merge",
      method: "ties",
      dtype: "F32",
      shape: [this.elementCount],
      parameters: {},
      base: sourceAt(0),
      models: models.map((_, index): ModelSource => ({ ...sourceAt(index + 1), index, parameters: {} })),
    };
  }

  static async of(models: readonly Float32Array[]): Promise<MemoryTensor> {
    return new MemoryTensor((await openDevice("wasm")).open(MEMORY_MAX_BYTES), models);
  }

  /** The parts [cuts[0], cuts[1]), ... up to `end` as one range. */
  range(cuts: readonly number[], end: number, shape: RangeShape): RangeContext {
    return new MemoryRange(this, cuts, end, shape);
  }

  /** What is asked for before the first has come is one wait. */
  async #downloaded(arena: Arena, address: Address, sizeBytes: number): Promise<Uint8Array> {
    if (this.#underWay++ === 0) this.waits++;
    const bytes = await arena.download(address, sizeBytes);
    this.#underWay--;
    return bytes;
  }

  #counting(kernels: Kernels): Kernels {
    return new Proxy(kernels, {
      get: (target, name: keyof Kernels & string) => {
        this.calls.set(name, (this.calls.get(name) ?? 0) + 1);
        return target[name];
      },
    });
  }
}

class MemoryRange implements RangeContext {
  readonly arena: Arena;
  readonly task: TensorTask;
  readonly seed = { low: 0, high: 0 };
  readonly firstElement: number;
  readonly elementCount: number;
  readonly whole: boolean;
  readonly rowLength: number;
  readonly blockElements: number;
  readonly cuts: readonly number[];
  readonly part = 0;
  readonly spareBytes: number;
  readonly chunkCapacity: number;
  readonly chunkBlocks: number;
  readonly kept = new Map<string, Address>();
  readonly #tensor: MemoryTensor;
  readonly #pieceElements: number;
  readonly #buffers = new Map<string, { readonly address: Address; readonly sizeBytes: number }>();

  constructor(tensor: MemoryTensor, cuts: readonly number[], end: number, shape: RangeShape) {
    this.#tensor = tensor;
    this.#pieceElements = shape.pieceElements;
    const { device } = tensor.arena;
    const limits = { ...device.limits, ...shape.limits };
    this.arena = { ...tensor.arena, device: Object.create(device, { limits: { value: limits } }) };
    this.task = tensor.task;
    this.firstElement = cuts[0]!;
    this.elementCount = end - this.firstElement;
    this.whole = this.elementCount === tensor.elementCount;
    this.rowLength = tensor.elementCount;
    this.blockElements = shape.blockElements;
    this.cuts = cuts;
    this.spareBytes = shape.spareBytes;
    // Samples are runs of their own, however short the blocks.
    this.chunkBlocks = chunkBlocksOf(this.elementCount, shape.blockElements, shape.pieceElements);
    this.chunkCapacity = Math.max(1024, this.chunkBlocks * shape.blockElements);
  }

  foresee(): void {}

  chunks(size: ChunkSize, blocksMax?: number): Iterable<Chunk> {
    return chunksOf(this, this.#pieceElements, size, blocksMax);
  }

  buffer(name: string, sizeBytes: number): Address {
    const known = this.#buffers.get(name);
    if (known !== undefined && known.sizeBytes >= sizeBytes) return known.address;
    const address = this.arena.allocate(sizeBytes);
    this.#buffers.set(name, { address, sizeBytes });
    return address;
  }

  checkMade(): void {}

  f32(name: string): Address {
    return this.buffer(`f32/${name}`, this.chunkCapacity * 4);
  }

  async read(source: TensorSource, chunk: Chunk): Promise<Address> {
    const { firstElement, elementCount } = chunk;
    const raw = this.buffer("raw", this.chunkCapacity * 4);
    const bytes = this.arena.staging(raw, elementCount * 4).bytes;
    const model = this.#tensor.models[(source as StoredSource).input - 1];
    if (model === undefined) {
      const place = `${firstElement}/${elementCount}`;
      if (this.#tensor.held?.has(place) !== true) this.#tensor.baseReads++;
      this.#tensor.held?.add(place);
      bytes.fill(0);
    } else {
      this.#tensor.reads.push(chunk);
      bytes.set(new Uint8Array(model.buffer, model.byteOffset + firstElement * 4, elementCount * 4));
    }
    return raw;
  }

  async readMany(): Promise<never> {
    throw new Error("nothing is merged here");
  }

  hold(): () => void {
    this.#tensor.held = new Set();
    return () => {
      this.#tensor.held = undefined;
    };
  }

  async readF32(source: TensorSource, chunk: Chunk, name: string): Promise<Address> {
    const raw = await this.read(source, chunk);
    const wide = this.f32(name);
    this.arena.kernels.widen(wide, raw, "F32", chunk.elementCount);
    return wide;
  }

  async emit(): Promise<void> {
    throw new Error("nothing is merged here");
  }

  async emitBytes(): Promise<void> {
    throw new Error("nothing is merged here");
  }
}

function sourceAt(input: number): TensorSource {
  return { input, file: 0, tensor: "tensor", dtype: "F32", offsetBytes: 0, storedRowLength: 0 };
}

/** The arena's methods, to be used apart from it. */
function bound(arena: Arena): Omit<Arena, "kernels"> {
  return {
    device: arena.device,
    allocate: (sizeBytes) => arena.allocate(sizeBytes),
    scope: () => arena.scope(),
    staging: (address, sizeBytes) => arena.staging(address, sizeBytes),
    download: (address, sizeBytes) => arena.download(address, sizeBytes),
    rankScratchBytes: (rowLength) => arena.rankScratchBytes(rowLength),
  };
}
