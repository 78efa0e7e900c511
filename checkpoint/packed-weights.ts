import { isComputed, isEmbeddingLike } from "./architecture.ts";
import { scaledModule } from "./calibration.ts";
import type { Checkpoint, TensorEntry } from "./checkpoint.ts";
import { isFloatDtype, isOpaqueDtype, type StoredDtype } from "./dtype.ts";
import { methodOf, packingNames, quantizationOf } from "./packing-names.ts";
import { inputFactors, isFolded, scaledTensors } from "./scaled-fp8.ts";

/** Weights that are stored as codes, which mean nothing without what stands beside them. */
export interface PackedWeights {
  /** Who packs like that: "bitsandbytes, 4 bits". */
  readonly kind: string;
  /** How to come by values, as sentences. */
  readonly hint: string;
  /** Whether config or names say who packed; bare integers are called after their dtype. */
  readonly isNamed: boolean;
  /** How codes are to be read stands in the files' metadata, too: a copy without it cannot be loaded. */
  readonly needsMetadata: boolean;
  /** The first tensor of codes, and how many there are. */
  readonly codes: TensorEntry;
  readonly codesCount: number;
  /** Names of codes and of all that belongs to them: zeros, scales, tables, states. */
  readonly members: ReadonlySet<string>;
}

/** `scaled`: of codes that stand for their values already, whose scales are not among the tensors. */
type Entries = Pick<Checkpoint, "config"> & {
  readonly tensors: ReadonlyMap<string, TensorEntry & { readonly scaled?: unknown }>;
};

/** What such a tensor is called, after the last dot, whoever made it. */
const codeName =
  /^(?:(?:q|w|packed_|q_|int_|quantized_|_)?weights?(?:_packed|_q|_qdata|_int|_data)?|qdata|_data|w_q|trellis|dense_weights|codes?|int_data|qidxs)$/i;
/** Nothing but codes is called so, in floating point, too: some keep the bits of several codes in one element of it. */
const onlyCodesName = /^(?:W_q|qweight|weight_packed|_?weight_qdata|Qidxs)$/;
const weightName = /(?:^|_)(?:weights?|kernel|embeddings?|proj|blocks|packed|codes|qdata)(?:_\d+)?$/i;

/** Integers of two and more dimensions that models hold and that are no weights: masks, positions, tables of indices. */
const bufferName =
  /(?:^|[._])(?:ids?|idx|index|indices|mask|masks|bias|positions?|buckets?|tables?|lengths?|counts?|offsets?|map|maps|lut|perm|tokens?|coords?|indptr|shapes?|tracked|d2t|t2d|tid2eid|steps?|version|size|sizes)$/i;

const small: ReadonlySet<StoredDtype> = new Set<StoredDtype>(["I8", "U8", "I16", "U16", "I32", "U32"]);

/**
 * What of a checkpoint is packed, known from names, dtypes and shapes; the config only says who did it. fp8 codes with scales that are
 * understood (see scaledTensors) are values and not packed; with scales that are not, they are.
 */
export function packedWeights(checkpoint: Entries): PackedWeights | undefined {
  const { tensors } = checkpoint;
  if (![...tensors.values()].some((entry) => mayBeCodes(entry))) return undefined;
  const siblings = siblingsIn(tensors);
  const scaled = scaledTensors(checkpoint, "", { packed: "leave" });
  const scales = new Set([...scaled.values()].map((tensor) => tensor.scales.name));
  // Where the config says how codes were made, fp8 without scales are codes whose scales are missing.
  const isStated = quantizationOf(checkpoint.config).some((part) => methodOf(part) !== undefined);
  const isCodes = (entry: TensorEntry & { readonly scaled?: unknown }): boolean => {
    if (scales.has(entry.name) || entry.scaled !== undefined) return false;
    const [module, leaf] = split(entry.name);
    const around = siblings.get(module) ?? new Set<string>();
    if (isFloatDtype(entry.dtype)) {
      if (entry.elementCount === 0) return false;
      if (isFolded(entry.name, tensors)) return true;
      if (scaled.has(entry.name)) return false;
      // bitsandbytes calls what belongs to a weight as if that were a module.
      const isOfStates = ["absmax", "quant_map"].some((part) => siblings.get(entry.name)?.has(part) === true);
      if (isOfStates || onlyCodesName.test(leaf)) return true;
      if (!isFp8(entry.dtype)) return false;
      return hasOtherScales(leaf, around) || (isWeightLeaf(leaf) && (isStated || hasCompanion(entry, around, tensors)));
    }
    return isPackedInteger(entry, leaf, around);
  };
  const known = [...tensors.values()].filter(isCodes);
  const packed = known.length > 0 ? known : prevailingIntegers(checkpoint);
  const [first] = packed;
  if (first === undefined) return undefined;
  const codes = packed.find(({ name }) => codeName.test(split(name)[1])) ?? first;
  const members = membersOf(packed, tensors, (name) => [name, ...scaledModule(name)].some((one) => scaled.has(one)));
  return { ...packingNames(checkpoint.config, [...members], codes), codes, codesCount: packed.length, members };
}

/** What a config says of packing, in a form in which two can be compared; undefined where it says nothing. */
export function statedPacking(config: Checkpoint["config"]): string | undefined {
  const stated = quantizationOf(config);
  const history = ["dataset", "model_name_or_path", "tokenizer", "meta"];
  if (stated.length === 0) return undefined;
  return JSON.stringify(stated, (key, value) => (history.includes(key) ? undefined : value));
}

function isPackedInteger({ dtype, shape, elementCount }: TensorEntry, leaf: string, around: ReadonlySet<string>) {
  // Angles of a rotation as complex numbers are computed, and copied.
  if (isOpaqueDtype(dtype)) return elementCount > 0 && !(dtype === "C64" && /freqs|rotary|rope/i.test(leaf));
  if (dtype === "BOOL" || shape.length === 0 || elementCount === 0) return false;
  if (codeName.test(leaf) || isMarlin(leaf, around)) return true;
  // VPTQ and AQLM say where a vector stands in a book of them.
  if (/indices$/i.test(leaf)) return [...around].some((name) => /^(?:res_)?(?:centroids|codebooks)/.test(name));
  if (shape.length < 2 || bufferName.test(leaf)) return false;
  return small.has(dtype) || weightName.test(leaf);
}

/** What is no float, whatever its name and shape, where that is most of a model: no buffers are. */
function prevailingIntegers({ tensors, config }: Entries): readonly TensorEntry[] {
  let floats = 0;
  const integers: TensorEntry[] = [];
  for (const entry of tensors.values()) {
    const { name, dtype, shape, elementCount } = entry;
    if (isFloatDtype(dtype)) floats += isEmbeddingLike(name) ? 0 : elementCount;
    else if (elementCount > 0 && !bufferName.test(split(name)[1]) && !isComputed(name, shape, config))
      integers.push(entry);
  }
  const elements = integers.reduce((sum, { elementCount }) => sum + elementCount, 0);
  return elements > floats ? integers : [];
}

/** Codes B and scales s in one module. */
function isMarlin(leaf: string, around: ReadonlySet<string>): boolean {
  return leaf === "B" && around.has("s");
}

function mayBeCodes({ name, dtype }: TensorEntry): boolean {
  if (isFp8(dtype) || !isFloatDtype(dtype)) return true;
  const leaf = split(name)[1];
  return onlyCodesName.test(leaf) || inputFactors.includes(leaf);
}

function isFp8(dtype: StoredDtype): boolean {
  return dtype === "F8_E4M3" || dtype === "F8_E5M2";
}

/** Scales of weights beside fp8 codes; those of activations and of the cache for keys and values are no part of them. */
function hasOtherScales(leaf: string, around: ReadonlySet<string>): boolean {
  const isScale = (name: string) =>
    /scale/i.test(name) &&
    !/(?:^|_)(?:input|output|act|activation|activations|[kqv]|kv|attn|prob)_scale|scale_(?:input|output)/i.test(name);
  if (isWeightLeaf(leaf)) return [...around].some(isScale);
  return [...around].some((name) => name !== leaf && name.startsWith(leaf) && isScale(name));
}

function isWeightLeaf(leaf: string): boolean {
  return /^(?:_?weight|qdata|_data|kernel)/.test(leaf);
}

/**
 * Whether a module has, beside its fp8 weight and a bias, numbers of larger range and fewer of them: scales, whatever they are called. The
 * length of rows under a weight norm is none.
 */
function hasCompanion(codes: TensorEntry, around: ReadonlySet<string>, tensors: Entries["tensors"]): boolean {
  const [module, leaf] = split(codes.name);
  return [...around].some((name) => {
    if (name === leaf || /bias|^weight_[gv]$|^original\d$/.test(name) || scaledModule(`${module}.${name}`).length > 0)
      return false;
    const other = tensors.get(`${module}.${name}`);
    return other !== undefined && !isFp8(other.dtype) && other.elementCount < codes.elementCount;
  });
}

/** Every tensor under the modules that hold codes; of experts that share a module, those that are named after the codes. */
function membersOf(
  packed: readonly TensorEntry[],
  tensors: ReadonlyMap<string, TensorEntry>,
  isOther: (name: string) => boolean,
): ReadonlySet<string> {
  const modules = new Set<string>();
  const stems: string[] = [];
  for (const { name } of packed) {
    const [module, leaf] = split(name);
    if (codeName.test(leaf) || leaf === "B" || /indices$/i.test(leaf)) modules.add(module);
    else stems.push(name.replace(/_(?:blocks|packed|qdata|codes)$/, ""));
  }
  const members = new Set(packed.map(({ name }) => name));
  const sorted = stems.sort();
  for (const name of tensors.keys()) {
    if (isOther(name)) continue;
    for (let dot = name.lastIndexOf("."); dot >= 0 && !members.has(name); dot = name.lastIndexOf(".", dot - 1)) {
      if (modules.has(name.slice(0, dot))) members.add(name);
      if (dot === 0) break;
    }
    if (!members.has(name) && (modules.has("") || startsWithAny(name, sorted))) members.add(name);
  }
  return members;
}

/** `stems`: sorted. Whether the name goes on after one of them with "_" or ".". */
function startsWithAny(name: string, stems: readonly string[]): boolean {
  let low = 0;
  let high = stems.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((stems[middle] ?? "") <= name) low = middle + 1;
    else high = middle;
  }
  const stem = stems[low - 1];
  return stem !== undefined && name.startsWith(stem) && /^[._]/.test(name.slice(stem.length));
}

function siblingsIn(tensors: ReadonlyMap<string, TensorEntry>): ReadonlyMap<string, ReadonlySet<string>> {
  const siblings = new Map<string, Set<string>>();
  for (const name of tensors.keys()) {
    const [module, leaf] = split(name);
    const known = siblings.get(module);
    if (known === undefined) siblings.set(module, new Set([leaf]));
    else known.add(leaf);
    // `centroids.weight` beside `indices`: the module's own children count, too.
    const [parent, child] = split(module);
    if (/^(?:res_)?centroids$/.test(child)) siblings.set(parent, (siblings.get(parent) ?? new Set()).add(child));
  }
  return siblings;
}

/** Module and what the tensor is called in it. */
function split(name: string): readonly [module: string, leaf: string] {
  const dot = name.lastIndexOf(".");
  return [name.slice(0, Math.max(0, dot)), name.slice(dot + 1)];
}
