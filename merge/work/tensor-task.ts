import type { Dtype } from "../../checkpoint/index.ts";
import type { TensorSource } from "./tensor-source.ts";

/** A parameter's value once gradients, filters and defaults are resolved. */
export type ParameterValue = number | boolean | string;
export type Parameters = Readonly<Record<string, ParameterValue>>;

/** One of the x_i of methods.md. */
export type ModelSource = TensorSource & {
  /** Position among the slice's sources without the base: the model index of random masks (random.md). */
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
   * (integer tensors, tensors that only the base has).
   */
  readonly kind: "merge" | "copy";
  readonly method: string;
  /** Of the output. */
  readonly dtype: Dtype;
  readonly shape: readonly number[];
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
  /** Which of `models` is the recipe's base_model (slerp: v0); absent where it is kept apart or not there. */
  readonly baseIndex?: number;
}
