import type { Kernels } from "../kernels.ts";
import type { Memory } from "./memory.ts";

const { fround } = Math;

export function changeKernels(
  memory: Memory,
): Pick<Kernels, "accumulateChanged" | "countChanged" | "countUnique" | "finishChanged"> {
  return {
    accumulateChanged(sum, count, label, d, epsilon, value, n) {
      const values = memory.f32(d, n);
      const counts = memory.f32(count, n);
      const sums = sum === 0 ? undefined : memory.f32(sum, n);
      const labels = label === 0 ? undefined : memory.f32(label, n);
      for (let k = 0; k < n; k++) {
        const isChanged = Math.abs(values[k]!) > fround(epsilon);
        if (sums) sums[k] = fround(sums[k]! + (isChanged ? values[k]! : 0));
        if (!isChanged) continue;
        counts[k]!++;
        if (labels) labels[k] = value;
      }
    },

    countChanged(tally, d, epsilon, n) {
      const values = memory.f32(d, n);
      memory.u32(tally, 1)[0]! += values.filter((value) => Math.abs(value) > fround(epsilon)).length;
    },

    countUnique(tallies, count, label, n) {
      const counts = memory.f32(count, n);
      const labels = memory.f32(label, n);
      const most = labels.reduce((most, label, k) => (counts[k] === 1 ? Math.max(most, label) : most), -1);
      const tally = memory.u32(tallies, most + 1);
      for (let k = 0; k < n; k++) if (counts[k] === 1) tally[labels[k]!]!++;
    },

    finishChanged(out, base, sum, count, factor, n) {
      const results = memory.f32(out, n);
      const bases = memory.f32(base, n);
      const sums = memory.f32(sum, n);
      const counts = memory.f32(count, n);
      const factors = factor === 0 ? undefined : memory.f32(factor, n);
      for (let k = 0; k < n; k++) {
        const scaled =
          factors && counts[k] === 1 ? fround(factors[k]! * sums[k]!) : fround(sums[k]! / Math.max(counts[k]!, 1));
        results[k] = fround(bases[k]! + scaled);
      }
    },
  };
}
