import { type Dtype, isFloatDtype } from "../../checkpoint/index.ts";
import type { Address, Engine } from "../../merge/engines/index.ts";
import { MergeError } from "../../merge/work/index.ts";

const NONE = 0xffffffff;

/**
 * Looks at values that were read. `first`: number of the first of them in the tensor.
 * @throws MergeError merge/nonfinite
 */
export async function checkFinite(
  engine: Engine,
  { dtype, tensor }: { readonly dtype: Dtype; readonly tensor: string },
  label: string,
  first: number,
  count: number,
  raw: Address,
): Promise<void> {
  if (!isFloatDtype(dtype)) return;
  const mark = engine.mark();
  const { kernels } = engine;
  const result = engine.allocate(4);
  let widened: Address | undefined;
  if (dtype === "F64") {
    // What counts is the value that is computed with: a float64 beyond the range of float32 is infinite there.
    widened = engine.allocate(count * 4);
    kernels.widen(widened, raw, dtype, count);
    kernels.firstNonFinite(result, widened, "F32", count);
  } else {
    kernels.firstNonFinite(result, raw, dtype, count);
  }
  const bytes = await engine.download(result, 4);
  const index = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  if (index === NONE) {
    engine.release(mark);
    return;
  }
  if (widened === undefined) {
    widened = engine.allocate(count * 4);
    kernels.widen(widened, raw, dtype, count);
  }
  const wide = await engine.download(widened + index * 4, 4);
  const value = new DataView(wide.buffer, wide.byteOffset, 4).getFloat32(0, true);
  const what = Number.isNaN(value) ? "NaN" : value > 0 ? "infinity" : "-infinity";
  throw new MergeError("merge/nonfinite", `${label}: ${tensor} holds ${what} at element ${first + index}`, {
    hint: "Check that model, or let such values through with --allow-nonfinite. Finished slices are kept.",
  });
}
