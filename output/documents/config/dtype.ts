import { type FloatDtype, isFloatDtype } from "../../../checkpoint/index.ts";
import { geometryOf, type Plan } from "../../../merge/work/index.ts";
import { withJsonValue } from "../json-text.ts";
import { type Config, has } from "./config-part.ts";

/** As torch calls them, which is how configs name them. */
const torchNames: Readonly<Record<FloatDtype, string>> = {
  F64: "float64",
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  F8_E4M3: "float8_e4m3fn",
  F8_E5M2: "float8_e5m2",
};

/** The config with the dtype that most elements of the output have, where configs say it. `nested`: the part of the language model. */
export function withDtype(text: string, config: Config, nested: readonly string[] | undefined, plan: Plan): string {
  const dtype = mainDtype(plan);
  if (dtype === undefined) return text;
  const paths = (nested === undefined ? [[]] : [[], nested])
    .flatMap((path) => [
      [...path, "dtype"],
      [...path, "torch_dtype"],
    ])
    .filter((path) => has(config, path));
  // Both old and new versions of transformers read torch_dtype.
  if (paths.length === 0) return withJsonValue(text, ["torch_dtype"], torchNames[dtype]);
  return paths.reduce((edited, path) => withJsonValue(edited, path, torchNames[dtype]), text);
}

/** The float dtype that most elements of the output have. */
function mainDtype(plan: Plan): FloatDtype | undefined {
  const elements = new Map<FloatDtype, number>();
  const packed = new Set(plan.tasks.flatMap(({ name, dtype }) => (isFloatDtype(dtype) ? [] : [moduleOf(name), name])));
  for (const { name, dtype, shape, kind } of plan.tasks) {
    // Codes and their scales say nothing of the dtype that a model computes in, neither those of fp8 nor those of integers.
    if (kind !== "codes" && kind !== "scales" && isFloatDtype(dtype) && !packed.has(moduleOf(name)))
      elements.set(dtype, (elements.get(dtype) ?? 0) + geometryOf(shape).elementCount);
  }
  let main: FloatDtype | undefined;
  for (const [dtype, count] of elements) {
    if (main === undefined || count > (elements.get(main) ?? 0)) main = dtype;
  }
  return main;
}

function moduleOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf(".")));
}
