import { type Address, EVERYTHING } from "../kernels.ts";
import type { Memory } from "./memory.ts";

/** One boolean per element: what the mask keeps. */
export function readMask(memory: Memory, mask: Address, n: number): boolean[] {
  if (mask === EVERYTHING) return new Array<boolean>(n).fill(true);
  const bytes = memory.bytes(mask, Math.ceil(n / 8));
  return Array.from({ length: n }, (_, k) => (bytes[k >> 3]! & (1 << (k & 7))) !== 0);
}

/** Writes n bits; those past n in the last byte are 0. `keeps` is asked once per element, in order. */
export function writeMask(memory: Memory, mask: Address, n: number, keeps: (k: number) => boolean): void {
  const bytes = memory.bytes(mask, Math.ceil(n / 8)).fill(0);
  for (let k = 0; k < n; k++) if (keeps(k)) bytes[k >> 3]! |= 1 << (k & 7);
}
