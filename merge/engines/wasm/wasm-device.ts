import { type Arena, alreadyThere, type Device, processorLimits, type Scope, type Staging } from "../device.ts";
import type { Address, Kernels } from "../kernels.ts";
import { type KernelExports, kernelsOf } from "./kernel-exports.ts";
import { loadKernelModule } from "./kernel-module.ts";
import { createMemory, StackMemory } from "./stack-memory.ts";

/** A thread of a processor, with WebAssembly SIMD. Kernels have run when their call returns. @throws EngineError `engine/unavailable` */
export class WasmDevice implements Device {
  readonly name = "wasm";
  readonly kernelId: string;
  /** With four accumulators a piece fills the second-level cache of common processors. */
  readonly limits = processorLimits;
  readonly #module: WebAssembly.Module;

  constructor() {
    const { module, kernelId } = loadKernelModule();
    this.#module = module;
    this.kernelId = kernelId;
  }

  runs(): boolean {
    return true;
  }

  open(maximumBytes: number): Arena {
    const memory = createMemory(maximumBytes);
    const { exports } = new WebAssembly.Instance(this.#module, { env: { memory } });
    return new WasmArena(this, exports as KernelExports, memory, maximumBytes);
  }

  close(): void {
    // Memory goes with the arenas.
  }
}

class WasmArena implements Arena {
  readonly device: Device;
  readonly kernels: Kernels;
  readonly #exports: KernelExports;
  readonly #stack: StackMemory;

  constructor(device: Device, exports: KernelExports, memory: WebAssembly.Memory, maximumBytes: number) {
    this.device = device;
    this.kernels = kernelsOf(exports);
    this.#exports = exports;
    this.#stack = new StackMemory(memory, maximumBytes, exports.heapBase());
  }

  allocate(sizeBytes: number): Address {
    return this.#stack.allocate(sizeBytes);
  }

  scope(): Scope {
    const mark = this.#stack.mark();
    return { end: () => this.#stack.release(mark) };
  }

  staging(address: Address, sizeBytes: number): Staging {
    return { bytes: this.#stack.view(address, sizeBytes), send: alreadyThere };
  }

  async download(address: Address, sizeBytes: number): Promise<Uint8Array> {
    return this.#stack.view(address, sizeBytes);
  }

  rankScratchBytes(rowLength: number): number {
    return this.#exports.rankScratchBytes(rowLength);
  }
}
