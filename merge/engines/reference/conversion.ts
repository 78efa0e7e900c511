import type { FloatDtype } from "../../../checkpoint/index.ts";
import {
  bf16FromF32,
  e4m3FromF32,
  e5m2FromF32,
  f16FromF32,
  f32FromBf16,
  f32FromE4m3,
  f32FromE5m2,
  f32FromF16,
} from "../../math/index.ts";
import type { Address, Kernels } from "../kernels.ts";
import type { Memory } from "./memory.ts";

const NONE = 0xffffffff;

/** A fresh array of f32(model[k]) - base[k]. */
export function deltas(memory: Memory, model: Address, dtype: FloatDtype, base: Address, n: number): Float32Array {
  const bases = memory.f32(base, n);
  return widened(memory, model, dtype, n).map((value, k) => value - bases[k]!);
}

/** A fresh array of the n elements as f32: exact, but for F64, which rounds to nearest even. */
export function widened(memory: Memory, src: Address, dtype: FloatDtype, n: number): Float32Array {
  switch (dtype) {
    case "F64":
      return Float32Array.from(memory.f64(src, n));
    case "F32":
      return memory.f32(src, n).slice();
    case "F16":
      return Float32Array.from(memory.u16(src, n), f32FromF16);
    case "BF16":
      return Float32Array.from(memory.u16(src, n), f32FromBf16);
    case "F8_E4M3":
      return Float32Array.from(memory.bytes(src, n), f32FromE4m3);
    case "F8_E5M2":
      return Float32Array.from(memory.bytes(src, n), f32FromE5m2);
  }
}

export function conversionKernels(
  memory: Memory,
): Pick<Kernels, "widen" | "narrow" | "noteNonFinite" | "delta" | "zero" | "copy"> {
  return {
    widen(dst, src, dtype, n) {
      memory.f32(dst, n).set(widened(memory, src, dtype, n));
    },

    narrow(dst, src, dtype, n) {
      const values = memory.f32(src, n);
      switch (dtype) {
        case "F64":
          // Which NaN JavaScript stores in a typed array is left to it: the canonical one is written as bits.
          memory.f64(dst, n).set(values);
          values.forEach((value, k) => {
            if (Number.isNaN(value)) memory.u32(dst + 8 * k, 2).set([0, 0x7ff80000]);
          });
          return;
        case "F32":
          memory.f32(dst, n).set(values);
          values.forEach((value, k) => {
            if (Number.isNaN(value)) memory.u32(dst + 4 * k, 1)[0] = 0x7fc00000;
          });
          return;
        case "F16":
          memory.u16(dst, n).set(Uint16Array.from(values, f16FromF32));
          return;
        case "BF16":
          memory.u16(dst, n).set(Uint16Array.from(values, bf16FromF32));
          return;
        case "F8_E4M3":
          memory.bytes(dst, n).set(Uint8Array.from(values, e4m3FromF32));
          return;
        case "F8_E5M2":
          memory.bytes(dst, n).set(Uint8Array.from(values, e5m2FromF32));
      }
    },

    noteNonFinite(note, tag, src, dtype, values, n) {
      const noted = memory.u32(note, 3);
      const singles = widened(memory, src, dtype, n);
      const index = noted[0] === NONE ? singles.findIndex((value) => !Number.isFinite(value)) : -1;
      if (index === -1) return;
      const value = values === 0 ? singles[index]! : memory.f32(values + 4 * index, 1)[0]!;
      const [bits = 0] = new Uint32Array(Float32Array.of(value).buffer);
      noted.set([tag, index, Number.isNaN(value) ? 0x7fc00000 : bits]);
    },

    delta(d, model, dtype, base, n) {
      memory.f32(d, n).set(deltas(memory, model, dtype, base, n));
    },

    zero(at, sizeBytes) {
      memory.bytes(at, sizeBytes).fill(0);
    },

    copy(dst, src, sizeBytes) {
      memory.bytes(dst, sizeBytes).set(memory.bytes(src, sizeBytes));
    },
  };
}
