import type { FloatDtype } from "../checkpoint/index.ts";
import { described, type ReadingContext } from "./context.ts";
import { didYouMean, maybeMeant } from "./suggestion.ts";
import type { YamlNode } from "./yaml.ts";

/** The names of torch, as mergekit takes them, with or without "torch." before them. */
const dtypes: ReadonlyMap<string, FloatDtype> = new Map([
  ["float32", "F32"],
  ["float16", "F16"],
  ["bfloat16", "BF16"],
  ["float64", "F64"],
  ["float8_e4m3fn", "F8_E4M3"],
  ["float8_e5m2", "F8_E5M2"],
]);

const nicknames: ReadonlyMap<string, string> = new Map([
  ["f32", "float32"],
  ["fp32", "float32"],
  ["float", "float32"],
  ["f16", "float16"],
  ["fp16", "float16"],
  ["half", "float16"],
  ["bf16", "bfloat16"],
  ["f64", "float64"],
  ["fp64", "float64"],
  ["double", "float64"],
  ["fp8", "float8_e4m3fn"],
  ["float8", "float8_e4m3fn"],
  ["f8_e4m3", "float8_e4m3fn"],
  ["f8_e5m2", "float8_e5m2"],
]);

/** The value of `dtype` or `out_dtype`; undefined where it is faulty, which is then reported. */
export function maybeDtype(node: YamlNode, { findings }: ReadingContext): FloatDtype | undefined {
  const known = [...dtypes.keys()].join(", ");
  if (node.kind !== "scalar" || typeof node.value !== "string") {
    const message = `${described(node)} stands where a dtype is expected`;
    findings.fault("recipe/wrong-type", node.place, message, `Known: ${known}.`);
    return undefined;
  }
  const name = node.value.replace(/^torch\./, "");
  const dtype = dtypes.get(name);
  if (dtype === undefined) {
    const meant = nicknames.get(name.toLowerCase()) ?? maybeMeant(name, dtypes.keys());
    const hint = `Known: ${known}. Without the key, every tensor keeps the dtype of the base or first model.`;
    findings.fault("recipe/wrong-value", node.place, `unknown dtype "${node.value}"${didYouMean(meant)}`, hint);
  }
  return dtype;
}
