import type { Address, Engine, Kernels } from "../engine.ts";
import { type KernelExports, kernelsOf } from "./kernel-exports.ts";
import { loadKernelModule } from "./kernel-module.ts";
import { createMemory, StackMemory } from "./stack-memory.ts";

/**
 * The engine on WebAssembly SIMD, single-threaded: one for each worker thread. Kernels have run when their call returns.
 * @throws EngineError `engine/unavailable`, `engine/memory`
 */
export async function createWasmEngine(options: { readonly maximumBytes: number }): Promise<Engine> {
  const { module, kernelId } = loadKernelModule();
  const memory = createMemory(options.maximumBytes);
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  return new WasmEngine(exports as KernelExports, memory, options.maximumBytes, kernelId);
}

class WasmEngine implements Engine {
  readonly name = "wasm";
  readonly kernelId: string;
  readonly kernels: Kernels;
  readonly #exports: KernelExports;
  readonly #stack: StackMemory;

  constructor(exports: KernelExports, memory: WebAssembly.Memory, maximumBytes: number, kernelId: string) {
    this.kernelId = kernelId;
    this.kernels = kernelsOf(exports);
    this.#exports = exports;
    this.#stack = new StackMemory(memory, maximumBytes, exports.heapBase());
  }

  allocate(sizeBytes: number): Address {
    return this.#stack.allocate(sizeBytes);
  }

  mark(): number {
    return this.#stack.mark();
  }

  release(mark: number): void {
    this.#stack.release(mark);
  }

  stage(address: Address, sizeBytes: number): Uint8Array {
    return this.#stack.view(address, sizeBytes);
  }

  upload(): void {
    // The staged view is the memory.
  }

  async download(address: Address, sizeBytes: number): Promise<Uint8Array> {
    return this.#stack.view(address, sizeBytes);
  }

  rankScratchBytes(rowLength: number): number {
    return this.#exports.rankScratchBytes(rowLength);
  }
}
