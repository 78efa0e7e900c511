import type { Dtype, OpaqueDtype } from "../../checkpoint/index.ts";
import type { TensorSource } from "./tensor-source.ts";

/** A parameter's value once gradients, filters and defaults are resolved. */
export type ParameterValue = number | boolean | string;
export type Parameters = Readonly<Record<string, ParameterValue>>;

/** One of the x_i of docs/spec/methods.md. */
export type ModelSource = TensorSource & {
  /** Position among the slice's sources without the base: the model index of random masks (docs/spec/random.md). */
  readonly index: number;
  /** Per-tensor parameters, all of the method's, resolved; a parameter that is unset has no key. */
  readonly parameters: Parameters;
};

/** What is to be computed for one output tensor. Plain data, the same on every machine. */
export interface TensorTask {
  /** Of the output tensor; random masks hash it. */
  readonly name: string;
  /**
   * "merge": by `method`. "copy": the bytes of `base ?? models[0]`, converted to `dtype` if that differs
   * (integer tensors, tensors that only the base has). "codes", "scales": `base` quantised to fp8 by blocks, see `scaling`.
   */
  readonly kind: "merge" | "copy" | "codes" | "scales";
  readonly method: string;
  /** Of the output. */
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** What the file calls a tensor that is copied as bytes: no numbers are made of its dtype. */
  readonly written?: { readonly dtype: OpaqueDtype; readonly shape: readonly number[] };
  /** Global parameters, resolved. */
  readonly parameters: Parameters;
  /** The base, where the method keeps it apart, or the tensor to copy. */
  readonly base?: TensorSource;
  /** The x_i, in recipe order. For methods that know no deltas a listed base is one of them. */
  readonly models: readonly ModelSource[];
  /**
   * Where the task makes one of several experts that lie one after another in one tensor of shape [count, ...shape]: the tasks of all
   * of them follow each other, and have the name of the tensor.
   */
  readonly expert?: { readonly index: number; readonly count: number };
  /** Of kinds codes and scales. */
  readonly scaling?: Scaling;
  /** Which of `models` is the recipe's base_model (slerp: v0); absent where it is kept apart or not there. */
  readonly baseIndex?: number;
}

/**
 * How values become fp8 codes and fresh scales. The matrix of values (all dimensions but the last are rows) falls into blocks, those
 * at the lower and right edge cut short. Of each block, amax = its largest magnitude (NaN passed over), and in f32
 *
 *   scale = max(amax / largest, 2^-126), or 1 where amax is 0
 *   code  = fp8 of (value / scale, held within -largest and largest), rounded to nearest even
 *
 * where largest is 448 for F8_E4M3 and 57344 for F8_E5M2. Scales are F32, row-major by blocks.
 */
export interface Scaling {
  readonly rows: number;
  readonly columns: number;
  readonly blockRows: number;
  readonly blockColumns: number;
  /** Dtype of the codes. */
  readonly codes: "F8_E4M3" | "F8_E5M2";
}

/** Of the values of a row of blocks, as f32. */
export function bandBytes({ rows, columns, blockRows }: Scaling): number {
  return Math.min(rows, blockRows) * columns * 4;
}
