import type { TensorTask } from "../work/index.ts";
import type { Address, Kernels } from "./kernels.ts";

/** What a device wants its work to be like. None of it alters a bit. */
export interface DeviceLimits {
  /** Elements that are computed at once: what fits the caches of a processor, millions where each submission costs. A multiple of 8. */
  readonly pieceElements: number;
  /** Whether kernels are computed while whoever called them goes on. Then asking for a result costs a wait, and memory is not the host's. */
  readonly asynchronous: boolean;
  /** How the threshold of a tensor is found that is surveyed whole: a bracket asks again and again, histograms once a round. */
  readonly road: "bracket" | "histogram";
  /** Slices that it works on at once at its best: how many arenas a thread opens. */
  readonly arenas: number;
  /** Threads of a process that each get something by having one: of a processor all, of a graphics processor one. */
  readonly threadsMax: number;
}

/** Of a device that is the thread it is called by. */
export const processorLimits: DeviceLimits = {
  pieceElements: 32_768,
  asynchronous: false,
  road: "bracket",
  arenas: 1,
  threadsMax: Number.POSITIVE_INFINITY,
};

/** What an engine computes on: a thread of a processor, or a graphics processor. */
export interface Device {
  /** The engine's. */
  readonly name: string;
  /** Changes whenever any kernel could. */
  readonly kernelId: string;
  readonly limits: DeviceLimits;
  /** Whether it has every kernel, to the bit, for this task; else another device takes it. */
  runs(task: TensorTask): boolean;
  /** Memory for one slice. Several may be open: what is submitted in one is in no order with the others. @throws EngineError `engine/memory` */
  open(maximumBytes: number): Arena;
  close(): void;
}

/** Bytes on their way to a device. */
export interface Staging {
  /** To be filled. Where memory is shared these are the device's bytes, valid until the next `allocate`. */
  readonly bytes: Uint8Array;
  /** Filled: kernels that are called from now on see them. `bytes` may not be touched any more. */
  send(): void;
}

/** Where what is staged is the memory itself: `send` of it. */
export function alreadyThere(): void {}

/** Everything that was allocated since it was begun. */
export interface Scope {
  /** Gives it back, and what later scopes still have. Kernels that were called before still find it. */
  end(): void;
}

/**
 * Memory of a device and the kernels on it, for one slice at a time; kernels take effect in the order in which they are called. The bits
 * of every kernel are fixed by its comment; engines differ in speed only. The caller owns every buffer; kernels allocate nothing. All
 * buffers of one call are disjoint unless the kernel says otherwise.
 */
export interface Arena {
  readonly device: Device;
  readonly kernels: Kernels;
  /**
   * Bytes at a fresh address, aligned to 64, not zeroed. Consecutive allocations are staggered so that buffers used
   * together do not lie at power-of-two distances. @throws EngineError `engine/memory` beyond the arena's limit
   */
  allocate(sizeBytes: number): Address;
  /** Scopes are a stack. Memory already grown is kept. */
  scope(): Scope;
  /** Room to fill bytes in, which then go there. */
  staging(address: Address, sizeBytes: number): Staging;
  /**
   * Waits for the kernels that write these bytes. Several may be asked for before the first is awaited: that is one wait. Where memory is
   * shared the result is a view of it, valid until the next `allocate`.
   */
  download(address: Address, sizeBytes: number): Promise<Uint8Array>;
  /** Scratch that maskRanked and scaleByRank need for rows of this many elements. */
  rankScratchBytes(rowLength: number): number;
}

/** Bytes that are at hand, to where kernels find them. */
export function put(arena: Arena, address: Address, { buffer, byteOffset, byteLength }: ArrayBufferView): void {
  const staging = arena.staging(address, byteLength);
  staging.bytes.set(new Uint8Array(buffer, byteOffset, byteLength));
  staging.send();
}
