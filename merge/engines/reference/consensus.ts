import type { Kernels } from "../engine.ts";
import { readMask } from "./mask-bits.ts";
import type { Memory } from "./memory.ts";

const { fround } = Math;

export function consensusKernels(memory: Memory): Pick<Kernels, "accumulateMasked" | "elect" | "finishElection"> {
  return {
    accumulateMasked(acc, d, mask, c, n) {
      const sums = memory.f32(acc, n);
      const values = memory.f32(d, n);
      const isKept = readMask(memory, mask, n);
      for (let k = 0; k < n; k++) {
        const term = isKept[k] ? fround(fround(c) * values[k]!) : 0;
        sums[k] = fround(sums[k]! + term);
      }
    },

    elect(positive, negative, positiveWeight, negativeWeight, d, mask, c, w, n) {
      const values = memory.f32(d, n);
      const isKept = readMask(memory, mask, n);
      const up = {
        sums: memory.f32(positive, n),
        weights: positiveWeight === 0 ? undefined : memory.f32(positiveWeight, n),
      };
      const down = {
        sums: memory.f32(negative, n),
        weights: negativeWeight === 0 ? undefined : memory.f32(negativeWeight, n),
      };
      for (let k = 0; k < n; k++) {
        const term = fround(fround(c) * values[k]!);
        if (!isKept[k] || !(term > 0 || term < 0)) continue; // zeros and NaN agree with nobody
        const side = term > 0 ? up : down;
        side.sums[k] = fround(side.sums[k]! + term);
        if (side.weights) side.weights[k] = fround(side.weights[k]! + fround(w));
      }
    },

    finishElection(out, base, positive, negative, positiveWeight, negativeWeight, lambda, n) {
      const results = memory.f32(out, n);
      const bases = memory.f32(base, n);
      const [up, down] = [memory.f32(positive, n), memory.f32(negative, n)];
      const hasWeights = positiveWeight !== 0;
      const upWeights = hasWeights ? memory.f32(positiveWeight, n) : undefined;
      const downWeights = hasWeights ? memory.f32(negativeWeight, n) : undefined;
      for (let k = 0; k < n; k++) {
        const isPlus = fround(up[k]! + down[k]!) >= 0;
        const mixed = isPlus ? up[k]! : down[k]!;
        const weight = (isPlus ? upWeights?.[k] : downWeights?.[k]) ?? 1;
        const divisor = weight === 0 ? 1 : weight;
        results[k] = fround(bases[k]! + fround(fround(lambda) * fround(mixed / divisor)));
      }
    },
  };
}
