import type { TensorEntry } from "./checkpoint.ts";
import { isFloatDtype } from "./dtype.ts";

/** What a number that was measured of a model while it ran is about: its cache of keys and values, or what goes into and out of modules. */
export type CalibrationKind = "cache" | "activations";

/** vLLM, compressed-tensors, Quark, ModelOpt. `k_proj.output_scale` is that of the keys. */
const ofCache =
  /(?:^|\.)(?:[qkv]|kv|attn|prob|softmax|prob_output)_(?:scale|zero_point)$|(?:^|\.)(?:[qkv]|kv|qkv)_proj\.output_(?:scale|zero_point)$|(?:^|\.)\w+_bmm_quantizer\._(?:amax|scale)$/;
const ofActivations =
  /^(?<module>.*)[._](?:input_scale|scale_input|input_activation_scale|activation_scale|output_scale|scale_output|(?:input|output)_zero_point)$|^(?<quantised>.*)\.(?:input|output)_quantizer\._(?:amax|scale)$/;
/** ComfyUI's words on how codes are written: of one weight, as JSON in bytes; of a whole file. */
const formatNote = /^(?:(?<module>.*)\.comfy_quant|(?:.*\.)?scaled_fp8)$/;
const attention = /attn|attention|(?:^|\.)(?:[qkv]|kv|qkv)_proj\.|kv_cache/i;

/**
 * Whether a tensor is a fact about a model as it was calibrated, and no weight of it: named like one, one number (or one a head, or an
 * expert), beside what it was measured of. `has`: whether the model holds a tensor of that name.
 */
export function calibrationKind(
  { name, dtype, shape, elementCount }: Pick<TensorEntry, "name" | "dtype" | "shape" | "elementCount">,
  has: (name: string) => boolean,
): CalibrationKind | undefined {
  if (isFormatNote(name))
    return scaledModule(name).length === 0 || scaledModule(name).some(has) ? "activations" : undefined;
  const isOne = elementCount === 1;
  if (!isOne && elementCount !== Math.max(0, ...shape)) return undefined;
  if (!isFloatDtype(dtype) && !name.endsWith("zero_point")) return undefined;
  if (ofCache.test(name)) return attention.test(name) && (isOne || shape.at(-1) === 1) ? "cache" : undefined;
  return scaledModule(name).some(has) ? "activations" : undefined;
}

/** The names that the weight has whose activations a tensor would be about: none where it is not named like that. */
export function scaledModule(name: string): readonly string[] {
  const { module, quantised } = ofActivations.exec(name)?.groups ?? {};
  const stem = module ?? quantised ?? formatNote.exec(name)?.groups?.module;
  return stem === undefined || stem === "" ? [] : [`${stem}.weight`, `${stem}.weight_packed`, stem];
}

/** Whether a tensor says how fp8 codes are written, and nothing else: it goes where they become values. */
export function isFormatNote(name: string): boolean {
  return formatNote.test(name);
}
