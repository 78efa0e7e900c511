import { calibrationKind } from "./calibration.ts";
import type { Checkpoint, TensorEntry } from "./checkpoint.ts";
import { packedWeights } from "./packed-weights.ts";
import { methodOf, type Quantization, quantizationParts } from "./packing-names.ts";

/** A key of a config about quantisation that does not hold for a checkpoint: taken out, or set to null. */
export interface QuantizationEdit {
  readonly path: readonly string[];
  readonly value: null | undefined;
  /** "gptq" */
  readonly method?: string | undefined;
}

type Tensor = Pick<TensorEntry, "name" | "dtype" | "shape" | "elementCount">;

/**
 * What `config` says of quantisation that is not so of a checkpoint of these `tensors`: a loader would quantise plain weights by it, or
 * look for scales of a cache. `before`: names of tensors that the config was written for.
 */
export function quantizationEdits(
  config: Checkpoint["config"],
  tensors: readonly Tensor[],
  before: ReadonlyMap<string, TensorEntry>,
): readonly QuantizationEdit[] {
  const parts = quantizationParts(config);
  if (parts.length === 0) return [];
  const names = new Set(tensors.map(({ name }) => name));
  const ofCache = (tensor: Tensor, has: (name: string) => boolean) => calibrationKind(tensor, has) === "cache";
  const hasCache = tensors.some((tensor) => ofCache(tensor, (name) => names.has(name)));
  if (!isPlain(config, tensors)) {
    const hadCache = [...before.values()].some((entry) => ofCache(entry, (name) => before.has(name)));
    return hadCache && !hasCache ? parts.flatMap(({ path, part }) => cacheKeys(path, part)) : [];
  }
  return parts
    .filter(({ part }) => !isForPlain(part, hasCache))
    .map(({ path, part }) => ({ path, value: undefined, method: methodOf(part) }));
}

/** Whether the weights are values, and none of them codes. */
export function isPlain(config: Checkpoint["config"], tensors: readonly Tensor[]): boolean {
  if (tensors.some(({ name, dtype }) => dtype.startsWith("F8_") || name.endsWith(".dqweight"))) return false;
  const entries = tensors.map((tensor): [string, TensorEntry] => [
    tensor.name,
    { ...tensor, file: 0, offsetBytes: 0, sizeBytes: 0 },
  ]);
  return packedWeights({ config, tensors: new Map(entries) }) === undefined;
}

/** What is said of plain weights and is right: that they are made codes while the model runs, or that only its cache is in fp8. */
function isForPlain(part: Quantization, hasCache: boolean): boolean {
  if (part.quantization_mode === "online") return true; // BitNet
  const { config_groups: groups, kv_cache_scheme: scheme, global_quant_config: global } = part;
  const { quant_algo: algorithm, kv_cache_quant_algo: ofCache } = part;
  const ofGroups = isObject(groups) ? Object.values(groups) : [];
  const isOfCache =
    (isObject(scheme) && ofGroups.every((group) => isObject(group) && !isObject(group.weights))) ||
    (typeof ofCache === "string" && typeof algorithm !== "string") ||
    (isObject(global) && !isObject(global.weight));
  return isOfCache && hasCache;
}

function cacheKeys(path: readonly string[], part: Quantization): QuantizationEdit[] {
  return ["kv_cache_scheme", "kv_cache_quant_algo"]
    .filter((key) => (part[key] ?? null) !== null)
    .map((key) => ({ path: [...path, key], value: null }));
}

function isObject(value: unknown): value is Quantization {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
