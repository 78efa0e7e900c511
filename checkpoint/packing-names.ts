import type { Checkpoint, TensorEntry } from "./checkpoint.ts";
import { quoted } from "./errors.ts";

/** A custom of packing weights: what configs and tensors call it, and how values are had. */
interface Packing {
  readonly kind: string;
  /** Names that `quant_method` has for it. */
  readonly methods: RegExp;
  /** Where the config does not say: whether names of tensors tell. */
  readonly tells?: (has: (pattern: RegExp) => boolean, codes: TensorEntry) => boolean;
  /** How its values are had, besides from the model that was packed. */
  readonly values?: string;
  /** Files say in their metadata, by the names of tensors, how the codes are to be read. */
  readonly needsMetadata?: true;
}

const load = (how: string) =>
  `transformers makes values of it: AutoModelForCausalLM.from_pretrained(FOLDER${how}).save_pretrained(OTHER).`;

/** Those whose names tell more come first. */
const packings: readonly Packing[] = [
  {
    kind: "bitsandbytes",
    methods: /^(?:bitsandbytes|bnb)/,
    tells: (has) => has(/\.(?:quant_state\.bitsandbytes\w*|absmax|quant_map|SCB)$/),
    values: load("").replace(".save_pretrained", ".dequantize().save_pretrained"),
  },
  { kind: "AWQ", methods: /^awq$/, tells: (has) => has(/\.qweight$/) && has(/\.qzeros$/) && !has(/\.g_idx$/) },
  { kind: "FP-Quant", methods: /^fp_quant$/, tells: (has) => has(/\.dqweight$/) },
  { kind: "SVDQuant", methods: /^(?:svdquant|nunchaku)/, tells: (has) => has(/\.qweight$/) && has(/\.wscales$/) },
  { kind: "BitBLAS", methods: /^bitblas$/ },
  { kind: "GPTQ", methods: /^(?:gptq|intel\/auto-round|auto-round)/, tells: (has) => has(/\.qweight$/) },
  {
    kind: "MXFP4",
    methods: /^mxfp4$/,
    tells: (has, { dtype }) => dtype === "U8" && has(/_blocks$/) && has(/_scales$/),
    values: load(", quantization_config=Mxfp4Config(dequantize=True)"),
  },
  {
    kind: "MLX",
    methods: /^mlx$/,
    tells: (has, { dtype }) => dtype === "U32" && has(/\.scales$/) && !has(/\.qbiases$/),
    values: "mlx_lm.convert --hf-path FOLDER --mlx-path OTHER --dequantize makes values of it.",
  },
  { kind: "Metal", methods: /^metal$/, tells: (has) => has(/\.qbiases$/) },
  { kind: "NVFP4", methods: /^(?:modelopt_fp4|nvfp4)$/, tells: (has) => has(/\.weight_(?:scale_2|global_scale)$/) },
  { kind: "HQQ", methods: /^hqq/, tells: (has) => has(/\.W_q$/) },
  { kind: "SINQ", methods: /^sinq/ },
  { kind: "EETQ", methods: /^eetq$/, tells: (has, { dtype }) => dtype === "I8" && has(/\.weight_scales$/) },
  { kind: "AQLM", methods: /^aqlm$/, tells: (has) => has(/\.codebooks$/) },
  { kind: "VPTQ", methods: /^vptq$/, tells: (has) => has(/\.centroids(?:\.|$)/) },
  { kind: "SpQR", methods: /^spqr$/, tells: (has) => has(/\.dense_weights$/) },
  { kind: "QuIP#", methods: /^quip/, tells: (has) => has(/\.Qidxs$/) },
  { kind: "HIGGS", methods: /^higgs$/, tells: (has) => has(/\.tables2?$/) },
  { kind: "EXL3", methods: /^exl3$/, tells: (has) => has(/\.trellis$/) },
  { kind: "EXL2", methods: /^exl2$/, tells: (has) => has(/\.q_weight$/) },
  { kind: "Marlin", methods: /^(?:gptq_)?marlin/, tells: (has) => has(/\.B$/) && has(/\.s$/) },
  { kind: "quanto", methods: /^quanto$/, tells: (has) => has(/\._data$/) },
  {
    kind: "torchao",
    methods: /^torchao$/,
    tells: (has) => has(/[._:](?:qdata|int_data)$/),
    needsMetadata: true,
  },
  { kind: "BitNet", methods: /^bitnet$/ },
  { kind: "FBGEMM", methods: /^fbgemm/ },
  { kind: "Quark", methods: /^quark$/ },
  { kind: "ModelOpt", methods: /^modelopt/ },
  {
    kind: "compressed-tensors",
    methods: /^(?:compressed-tensors|compressed_tensors|sparseml)$/,
    tells: (has) => has(/\.weight_packed$/),
    values: load(", quantization_config=CompressedTensorsConfig(run_compressed=False)"),
  },
];

/** Who packed: by the config where it names a custom that is known, else by the names of tensors, else as the config calls it. */
export function packingNames(
  config: Checkpoint["config"],
  members: readonly string[],
  codes: TensorEntry,
): { readonly kind: string; readonly hint: string; readonly isNamed: boolean; readonly needsMetadata: boolean } {
  const stated = quantizationOf(config);
  const methods = stated.flatMap((one) => methodOf(one) ?? []);
  const has = (pattern: RegExp) => members.some((name) => pattern.test(name));
  const known =
    packings.find((one) => methods.some((method) => one.methods.test(method))) ??
    packings.find(({ tells }) => tells?.(has, codes) === true);
  const [other] = methods;
  const name = known?.kind ?? (other === undefined ? codes.dtype : quoted(other));
  const details = stated.map(detailsOf).find((text) => text !== "") ?? "";
  const values = known?.values === undefined ? "" : ` ${known.values}`;
  return {
    isNamed: known !== undefined || other !== undefined,
    needsMetadata: known?.needsMetadata === true,
    kind: details === "" ? name : `${name} (${details})`,
    hint: `Merge the model that was packed, in bf16 or f16, and pack the result.${values}`,
  };
}

export type Quantization = Readonly<Record<string, unknown>>;

/** Every part of a config about quantisation. */
export function quantizationOf(config: Checkpoint["config"]): readonly Quantization[] {
  return quantizationParts(config).map(({ part }) => part);
}

/** With where they stand: at the top, and in the parts for text, vision and the like. */
export function quantizationParts(
  config: Checkpoint["config"],
  path: readonly string[] = [],
): readonly { readonly path: readonly string[]; readonly part: Quantization }[] {
  if (config === undefined || path.length === 4) return [];
  return Object.entries(config).flatMap(([key, value]) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return [];
    const part = value as Quantization;
    const isIt = key === "quantization_config" || key === "quantization" || key === "compression_config";
    return isIt ? [{ path: [...path, key], part }] : quantizationParts(part, [...path, key]);
  });
}

/** What a config calls the custom: "gptq"; undefined where it has no name for it. */
export function methodOf(part: Quantization): string | undefined {
  const { quant_method: method, quantization_method: other } = part;
  const found = method ?? other;
  if (typeof found === "string") return found.toLowerCase();
  // What mlx writes: bits and the size of a group, and no name.
  return typeof part.bits === "number" && typeof part.group_size === "number" && part.quant_method === undefined
    ? "mlx"
    : undefined;
}

function detailsOf(part: Quantization): string {
  const bits = part.bits ?? part.w_bit ?? part.nbits ?? bitsOf(part);
  const kind = part.bnb_4bit_quant_type ?? part.format ?? part.quant_algo;
  const inBits = typeof bits === "number" ? [`${bits} bits`] : [];
  const named =
    typeof kind === "string" && (inBits.length === 0 || part.load_in_4bit === true) ? [kind.slice(0, 40)] : [];
  return [...inBits, ...named].join(", ");
}

function bitsOf(part: Quantization): number | undefined {
  if (part.load_in_4bit === true || part._load_in_4bit === true) return 4;
  return part.load_in_8bit === true || part._load_in_8bit === true ? 8 : undefined;
}
