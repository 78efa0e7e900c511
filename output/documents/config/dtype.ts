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

/**
 * The config with the dtype that most elements of the output have, where configs say it. `nested`: the part of the language model; where
 * all of the output has one dtype, so have all other parts that name one.
 */
export function withDtype(text: string, config: Config, nested: readonly string[] | undefined, plan: Plan): string {
  const dtype = mainDtype(plan);
  if (dtype === undefined) return text;
  const paths = (nested === undefined ? [[]] : [[], nested])
    .flatMap((path) => [
      [...path, "dtype"],
      [...path, "torch_dtype"],
    ])
    .filter((path) => has(config, path));
  const known = new Set(paths.map((path) => path.join("\0")));
  const others = floatElements(plan).size === 1 ? dtypePaths(config).filter((path) => !known.has(path.join("\0"))) : [];
  const edited = [...paths, ...others].reduce((json, path) => withJsonValue(json, path, torchNames[dtype]), text);
  // Both old and new versions of transformers read torch_dtype.
  return paths.length === 0 ? withJsonValue(edited, ["torch_dtype"], torchNames[dtype]) : edited;
}

/** Where parts of a config, for text, vision and the like, name a dtype. */
function dtypePaths(config: Config, path: readonly string[] = []): string[][] {
  if (path.length === 4) return [];
  return Object.entries(config).flatMap(([key, value]) => {
    const own = [...path, key];
    if (typeof value === "object" && value !== null && /config$/.test(key) && !/quant|compression/.test(key))
      return dtypePaths(value as Config, own);
    const isDtype =
      (key === "dtype" || key === "torch_dtype") && Object.values(torchNames).some((name) => name === value);
    return isDtype ? [own] : [];
  });
}

/** The float dtype that most elements of the output have. */
function mainDtype(plan: Plan): FloatDtype | undefined {
  const elements = floatElements(plan);
  let main: FloatDtype | undefined;
  for (const [dtype, count] of elements) {
    if (main === undefined || count > (elements.get(main) ?? 0)) main = dtype;
  }
  return main;
}

/** How many elements of the output have each dtype. */
function floatElements(plan: Plan): ReadonlyMap<FloatDtype, number> {
  const elements = new Map<FloatDtype, number>();
  const packed = new Set(plan.tasks.flatMap(({ name, dtype }) => (isFloatDtype(dtype) ? [] : [moduleOf(name), name])));
  for (const { name, dtype, shape, kind } of plan.tasks) {
    // Codes and their scales say nothing of the dtype that a model computes in, neither those of fp8 nor those of integers.
    if (kind !== "codes" && kind !== "scales" && isFloatDtype(dtype) && !packed.has(moduleOf(name)))
      elements.set(dtype, (elements.get(dtype) ?? 0) + geometryOf(shape).elementCount);
  }
  return elements;
}

function moduleOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf(".")));
}
