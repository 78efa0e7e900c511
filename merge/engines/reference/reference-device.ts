import { type Arena, alreadyThere, type Device, processorLimits, type Scope, type Staging } from "../device.ts";
import type { Address, Kernels } from "../kernels.ts";
import { blockKernels } from "./blocks.ts";
import { changeKernels } from "./changes.ts";
import { columnKernels } from "./columns.ts";
import { combinationKernels } from "./combination.ts";
import { combineKernels } from "./combine.ts";
import { consensusKernels } from "./consensus.ts";
import { conversionKernels } from "./conversion.ts";
import { divergenceKernels } from "./divergence.ts";
import { maskKernels } from "./masks.ts";
import { Memory } from "./memory.ts";
import { orderKernels } from "./order.ts";
import { sumKernels } from "./sums.ts";

/** Raised by hand with every change to a kernel. */
const VERSION = 6;

/**
 * What the others are measured against: plain TypeScript, one element at a time, one rounding per operation.
 * An f32 operation is the f64 operation on f32 operands, rounded by Math.fround: for + - * / that is the correctly rounded
 * f32 result, as f64 has more than twice the digits plus two (Figueroa 1995).
 */
export class ReferenceDevice implements Device {
  readonly name = "reference";
  readonly kernelId = `reference/${VERSION}`;
  readonly limits = processorLimits;

  runs(): boolean {
    return true;
  }

  open(maximumBytes: number): Arena {
    return new ReferenceArena(this, maximumBytes);
  }

  close(): void {
    // Memory goes with the arenas.
  }
}

class ReferenceArena implements Arena {
  readonly device: Device;
  readonly kernels: Kernels;
  private readonly memory: Memory;

  constructor(device: Device, maximumBytes: number) {
    this.device = device;
    const memory = new Memory(maximumBytes);
    this.memory = memory;
    this.kernels = {
      ...conversionKernels(memory),
      ...combinationKernels(memory),
      ...sumKernels(memory),
      ...orderKernels(memory),
      ...maskKernels(memory),
      ...consensusKernels(memory),
      ...combineKernels(memory),
      ...changeKernels(memory),
      ...columnKernels(memory),
      ...blockKernels(memory),
      ...divergenceKernels(memory),
    };
  }

  allocate(sizeBytes: number): Address {
    return this.memory.allocate(sizeBytes);
  }

  scope(): Scope {
    const mark = this.memory.mark();
    return { end: () => this.memory.release(mark) };
  }

  staging(address: Address, sizeBytes: number): Staging {
    return { bytes: this.memory.bytes(address, sizeBytes), send: alreadyThere };
  }

  async download(address: Address, sizeBytes: number): Promise<Uint8Array> {
    return this.memory.bytes(address, sizeBytes);
  }

  /** Ranks come from sorting a copy. */
  rankScratchBytes(): number {
    return 0;
  }
}
