import { type Dtype, type FloatDtype, isFloatDtype } from "../../checkpoint/index.ts";
import type { Address, Arena } from "../../merge/engines/index.ts";
import { MergeError } from "../../merge/work/index.ts";

const NONE = 0xffffffff;

/** The largest number that a format holds, for messages. */
const LARGEST: Readonly<Record<FloatDtype, string>> = {
  F64: "3.4e38, as for float32, in which it is computed",
  F32: "3.4e38",
  F16: "65504",
  BF16: "3.39e38",
  F8_E4M3: "448",
  F8_E5M2: "57344",
};

/**
 * Looks at values that were read. `first`: number of the first of them in the tensor.
 * @throws MergeError merge/nonfinite
 */
export async function checkFinite(
  arena: Arena,
  { dtype, tensor }: { readonly dtype: Dtype; readonly tensor: string },
  label: string,
  first: number,
  count: number,
  raw: Address,
): Promise<void> {
  if (!isFloatDtype(dtype)) return;
  const scope = arena.scope();
  const { kernels } = arena;
  let widened: Address | undefined;
  if (dtype === "F64") {
    // What counts is the value that is computed with: a float64 beyond the range of float32 is infinite there.
    widened = arena.allocate(count * 4);
    kernels.widen(widened, raw, dtype, count);
  }
  const index = await firstNonFinite(arena, widened ?? raw, widened === undefined ? dtype : "F32", count);
  if (index === undefined) {
    scope.end();
    return;
  }
  if (widened === undefined) {
    widened = arena.allocate(count * 4);
    kernels.widen(widened, raw, dtype, count);
  }
  const what = nameOf(await f32At(arena, widened + index * 4));
  throw new MergeError("merge/nonfinite", `${label}: ${tensor} holds ${what} at element ${first + index}`, {
    hint: "Check that model, or let such values through with --allow-nonfinite. Finished slices are kept.",
  });
}

/**
 * Looks at results once they are rounded: inputs are finite, and what is computed of them, or its rounding, may not be. `values`: f32
 * before rounding, or the same as `rounded`, what will be written. `first`: number of the first of them in the tensor.
 * @throws MergeError merge/nonfinite
 */
export async function checkInRange(
  arena: Arena,
  { dtype, name }: { readonly dtype: FloatDtype; readonly name: string },
  first: number,
  count: number,
  values: Address,
  rounded: Address,
): Promise<void> {
  const index = await firstNonFinite(arena, rounded, dtype, count);
  if (index === undefined) return;
  const value = values === rounded ? Number.NaN : await f32At(arena, values + index * 4);
  const element = `element ${first + index}`;
  const message = Number.isFinite(value)
    ? `the output's ${name} would hold ${value} at ${element}, which is beyond what ${dtype} can hold (${LARGEST[dtype]})`
    : `the output's ${name} would hold ${values === rounded ? "infinity or NaN" : nameOf(value)} at ${element}: what is computed there is beyond float32 (${LARGEST.F32}), or not defined`;
  throw new MergeError("merge/nonfinite", message, {
    hint: "Use a dtype with a larger range (out_dtype: bfloat16 or float32), lower the weights, or let such values through with --allow-nonfinite. Finished slices are kept.",
  });
}

/**
 * Looks at f32 values that were made of finite inputs on the way to a result that they decide about. `what`: for the message.
 * @throws MergeError merge/nonfinite
 */
export async function checkMade(
  arena: Arena,
  what: string,
  first: number,
  count: number,
  values: Address,
): Promise<void> {
  const index = await firstNonFinite(arena, values, "F32", count);
  if (index === undefined) return;
  const message = `${what} is beyond float32 (${LARGEST.F32}) at element ${first + index}, though the models are finite`;
  throw new MergeError("merge/nonfinite", message, {
    hint: "Check the models: no trained weights are so large. --allow-nonfinite lets such values through. Finished slices are kept.",
  });
}

/** Which of the values is the first that is infinite or NaN; undefined: none. */
async function firstNonFinite(
  arena: Arena,
  values: Address,
  dtype: FloatDtype,
  count: number,
): Promise<number | undefined> {
  const scope = arena.scope();
  const result = arena.allocate(4);
  arena.kernels.firstNonFinite(result, values, dtype, count);
  const bytes = await arena.download(result, 4);
  const index = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  scope.end();
  return index === NONE ? undefined : index;
}

async function f32At(arena: Arena, address: Address): Promise<number> {
  const bytes = await arena.download(address, 4);
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);
}

function nameOf(value: number): string {
  return Number.isNaN(value) ? "NaN" : value > 0 ? "infinity" : "-infinity";
}
