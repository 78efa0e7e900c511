import { readFileSync } from "node:fs";
import { f32FromBf16, f32FromF16 } from "../../merge/math/index.ts";
import type { ReadTensor } from "../support/read-safetensors.ts";

/** test/golden/README.md explains the fields. */
export interface GoldenCase {
  readonly name: string;
  readonly method: string;
  readonly random_seed: number;
  /** What the merge needs on its command line: of karcher-options the models give one id to different tokens. */
  readonly options?: readonly string[];
  readonly tolerance: {
    readonly atol: number;
    readonly rtol: number;
    readonly max_outside: number;
    readonly max_not_equal?: number;
  };
  readonly tensors: Readonly<
    Record<string, readonly [dtype: string, shape: readonly number[], sum: number, norm: number]>
  >;
  readonly config: Readonly<Record<string, number>>;
  /** Number of tokens, rows of the embeddings, ids of tokens that the base lacks. */
  readonly vocabulary?: {
    readonly size: number;
    readonly rows: number;
    readonly beyond_base: Readonly<Record<string, number>>;
  };
}

export function readCase(folder: string): GoldenCase {
  return JSON.parse(readFileSync(`${folder}/case.json`, "utf8"));
}

export function numbersOf({ dtype, bytes }: ReadTensor): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (dtype) {
    case "F64":
      return Float64Array.from({ length: bytes.length / 8 }, (_, k) => view.getFloat64(8 * k, true));
    case "F32":
      return Float64Array.from({ length: bytes.length / 4 }, (_, k) => view.getFloat32(4 * k, true));
    case "BF16":
      return Float64Array.from({ length: bytes.length / 2 }, (_, k) => f32FromBf16(view.getUint16(2 * k, true)));
    case "F16":
      return Float64Array.from({ length: bytes.length / 2 }, (_, k) => f32FromF16(view.getUint16(2 * k, true)));
    default:
      throw new Error(`golden tensors of dtype ${dtype} are not known`);
  }
}

/** How many elements lie outside the case's tolerance, and how many differ at all. */
export function compareTensors(ours: ReadTensor, expected: ReadTensor, { atol, rtol }: GoldenCase["tolerance"]) {
  const a = numbersOf(ours);
  const b = numbersOf(expected);
  let outside = 0;
  let notEqual = 0;
  let first = -1;
  for (let k = 0; k < b.length; k++) {
    if (a[k] === b[k]) continue;
    notEqual++;
    if (Math.abs(a[k]! - b[k]!) <= atol + rtol * Math.abs(b[k]!)) continue;
    outside++;
    if (first < 0) first = k;
  }
  return { elements: b.length, outside, notEqual, first, was: a[first], should: b[first] };
}
