import type { Kernels } from "../kernels.ts";
import { widened } from "./conversion.ts";
import { readMask } from "./mask-bits.ts";
import type { Memory } from "./memory.ts";

const { fround } = Math;

export function consensusKernels(
  memory: Memory,
): Pick<
  Kernels,
  | "accumulateMasked"
  | "elect"
  | "finishElection"
  | "electWeighed"
  | "finishWeighed"
  | "keepLargest"
  | "agree"
  | "finishAgreement"
  | "addToVariance"
> {
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

    electWeighed(
      positive,
      negative,
      positiveTerms,
      negativeTerms,
      positiveWeight,
      negativeWeight,
      model,
      dtype,
      base,
      mask,
      w,
      n,
    ) {
      const models = widened(memory, model, dtype, n);
      const bases = memory.f32(base, n);
      const isKept = readMask(memory, mask, n);
      const sideOf = (sums: number, terms: number, weights: number) => ({
        sums: memory.f32(sums, n),
        terms: memory.f32(terms, n),
        weights: memory.f32(weights, n),
      });
      const up = sideOf(positive, positiveTerms, positiveWeight);
      const down = sideOf(negative, negativeTerms, negativeWeight);
      for (let k = 0; k < n; k++) {
        const d = fround(models[k]! - bases[k]!);
        if (!isKept[k] || !(d > 0 || d < 0)) continue;
        const side = d > 0 ? up : down;
        side.sums[k] = fround(side.sums[k]! + d);
        side.terms[k] = fround(side.terms[k]! + fround(fround(w) * d));
        side.weights[k] = fround(side.weights[k]! + fround(w));
      }
    },

    finishWeighed(
      out,
      base,
      positive,
      negative,
      positiveTerms,
      negativeTerms,
      positiveWeight,
      negativeWeight,
      least,
      n,
    ) {
      const results = memory.f32(out, n);
      const bases = memory.f32(base, n);
      const [up, down] = [memory.f32(positive, n), memory.f32(negative, n)];
      const plus = { terms: memory.f32(positiveTerms, n), weights: memory.f32(positiveWeight, n) };
      const minus = { terms: memory.f32(negativeTerms, n), weights: memory.f32(negativeWeight, n) };
      for (let k = 0; k < n; k++) {
        const side = fround(up[k]! + down[k]!) >= 0 ? plus : minus;
        const divisor = Math.max(side.weights[k]!, fround(least));
        results[k] = fround(bases[k]! + fround(side.terms[k]! / divisor));
      }
    },

    keepLargest(best, d, c, n) {
      const kept = memory.f32(best, n);
      const values = memory.f32(d, n);
      for (let k = 0; k < n; k++) {
        const term = fround(fround(c) * values[k]!);
        if (Math.abs(term) >= Math.abs(kept[k]!)) kept[k] = term;
      }
    },

    agree(votes, model, dtype, base, total, tau, n) {
      const counts = memory.f32(votes, n);
      const models = widened(memory, model, dtype, n);
      const bases = memory.f32(base, n);
      const totals = memory.f32(total, n);
      for (let k = 0; k < n; k++) {
        const d = fround(models[k]! - bases[k]!);
        const others = Math.abs(fround(totals[k]! - d));
        if (Math.abs(d) > fround(fround(tau) * others)) counts[k] = fround(counts[k]! + 1);
      }
    },

    finishAgreement(out, base, total, votes, least, lambda, n) {
      const results = memory.f32(out, n);
      const bases = memory.f32(base, n);
      const totals = memory.f32(total, n);
      const counts = memory.f32(votes, n);
      for (let k = 0; k < n; k++) {
        const kept = counts[k]! >= fround(least) ? totals[k]! : 0;
        results[k] = fround(bases[k]! + fround(fround(lambda) * kept));
      }
    },

    addToVariance(mean, spread, model, dtype, base, number, n) {
      const means = memory.f32(mean, n);
      const spreads = memory.f32(spread, n);
      const models = widened(memory, model, dtype, n);
      const bases = memory.f32(base, n);
      for (let k = 0; k < n; k++) {
        const d = fround(models[k]! - bases[k]!);
        const off = fround(d - means[k]!);
        means[k] = fround(means[k]! + fround(off / fround(number)));
        spreads[k] = fround(spreads[k]! + fround(off * fround(d - means[k]!)));
      }
    },
  };
}
