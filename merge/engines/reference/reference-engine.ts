import type { Address, Engine, Kernels } from "../engine.ts";
import { changeKernels } from "./changes.ts";
import { columnKernels } from "./columns.ts";
import { combinationKernels } from "./combination.ts";
import { consensusKernels } from "./consensus.ts";
import { conversionKernels } from "./conversion.ts";
import { divergenceKernels } from "./divergence.ts";
import { maskKernels } from "./masks.ts";
import { Memory } from "./memory.ts";
import { orderKernels } from "./order.ts";
import { sumKernels } from "./sums.ts";

/** Raised by hand with every change to a kernel. */
const VERSION = 2;

/**
 * The engine that the others are measured against: plain TypeScript, one element at a time, one rounding per operation.
 * An f32 operation is the f64 operation on f32 operands, rounded by Math.fround: for + - * / that is the correctly rounded
 * f32 result, as f64 has more than twice the digits plus two (Figueroa 1995).
 */
export async function createReferenceEngine(options: { readonly maximumBytes: number }): Promise<Engine> {
  return new ReferenceEngine(options.maximumBytes);
}

class ReferenceEngine implements Engine {
  readonly name = "reference";
  readonly kernelId = `reference/${VERSION}`;
  readonly kernels: Kernels;
  private readonly memory: Memory;

  constructor(maximumBytes: number) {
    const memory = new Memory(maximumBytes);
    this.memory = memory;
    this.kernels = {
      ...conversionKernels(memory),
      ...combinationKernels(memory),
      ...sumKernels(memory),
      ...orderKernels(memory),
      ...maskKernels(memory),
      ...consensusKernels(memory),
      ...changeKernels(memory),
      ...columnKernels(memory),
      ...divergenceKernels(memory),
    };
  }

  allocate(sizeBytes: number): Address {
    return this.memory.allocate(sizeBytes);
  }

  mark(): number {
    return this.memory.mark();
  }

  release(mark: number): void {
    this.memory.release(mark);
  }

  stage(address: Address, sizeBytes: number): Uint8Array {
    return this.memory.bytes(address, sizeBytes);
  }

  upload(): void {
    // The staged view is the memory.
  }

  async download(address: Address, sizeBytes: number): Promise<Uint8Array> {
    return this.memory.bytes(address, sizeBytes);
  }

  /** Ranks come from sorting a copy. */
  rankScratchBytes(): number {
    return 0;
  }
}
