/** Checkpoints made up from a seed, for merges that must give the same bits on every road. */
import { join } from "node:path";
import type { FloatDtype } from "../../checkpoint/index.ts";
import { codings, f32Of, randomSource } from "../merge/engines/awkward-values.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

export interface GeneratedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Of the base, then of the models; used again from the start where there are more models. */
  readonly dtypes: readonly FloatDtype[];
  /** A style of awkward-values.ts. */
  readonly style: string;
  /**
   * steps: the base plus few distinct multiples of a power of two, mostly 0, 1 and 2 of them: ties abound, signs cancel.
   * own: drawn like the base, from another seed. same: equal to the base. first-same: the first model alone equals it.
   */
  readonly models: "steps" | "own" | "same" | "first-same";
}

export const MODEL_NAMES = ["one", "two", "three"] as const;

/** The folders `base`, `one`, `two` and `three`, or of other names, in `folder`, each a single file. */
export function writeModels(
  folder: string,
  seed: number,
  tensors: readonly GeneratedTensor[],
  names: readonly string[] = MODEL_NAMES,
): void {
  for (const [model, name] of ["base", ...names].entries()) {
    writeSafetensors(
      join(folder, name, "model.safetensors"),
      tensors.map((tensor, k) => {
        const dtype = tensor.dtypes[model % tensor.dtypes.length]!;
        const bytes = stored(valuesOf(tensor, seed + 1000 * k, model), dtype);
        return { name: tensor.name, dtype, shape: tensor.shape, bytes };
      }),
    );
  }
}

export function elementCountOf({ shape }: { readonly shape: readonly number[] }): number {
  return shape.reduce((product, size) => product * size, 1);
}

function valuesOf(tensor: GeneratedTensor, seed: number, model: number): Float32Array {
  const { style, models } = tensor;
  const count = elementCountOf(tensor);
  const base = f32Of({ style, equal: false, seed }, count);
  if (model === 0 || models === "same" || (models === "first-same" && model === 1)) return base;
  if (models === "own") return f32Of({ style, equal: false, seed: seed + model }, count);
  const next = randomSource(seed + 77 * model);
  return base.map((value) => value + STEPS[next() % STEPS.length]! * STEP);
}

/** Kept exactly by bf16 beside the quantised style's values. */
const STEP = 2 ** -11;
const STEPS = [0, 0, 0, 1, 1, -1, -1, -1, 2, 2, -2, 3, -5, 8];

/** Little-endian bytes of the values in the dtype, each rounded once; F64 gets bits that f32 does not have. */
function stored(values: Float32Array, dtype: FloatDtype): Uint8Array {
  if (dtype === "F32") return bytesOf(values);
  if (dtype === "F64") return bytesOf(Float64Array.from(values, (value, k) => value * (1 + (k % 3) * 2 ** -26)));
  const { encode, array } = codings[dtype];
  return bytesOf(array(Array.from(values, encode)));
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
