import type { Checkpoint, TensorEntry } from "./checkpoint.ts";
import { isFloatDtype, type StoredDtype } from "./dtype.ts";
import { CheckpointError, quoted } from "./errors.ts";
import { member } from "./member.ts";
import { quantizationOf } from "./packing-names.ts";

/** How a scale is named, and what its tensor is then called. DeepSeek; compressed-tensors, FBGEMM, ModelOpt; ComfyUI; DeepSeek's own; experts of FBGEMM. */
const companions: readonly { readonly suffix: string; readonly partners: readonly string[] }[] = [
  { suffix: "_scale_inv", partners: [""] },
  { suffix: ".weight_scale", partners: [".weight", ".weight_packed"] },
  { suffix: ".scale_weight", partners: [".weight"] },
  { suffix: ".scale", partners: [".weight"] },
  { suffix: "_scale", partners: [""] },
];

/** Beside a tensor of one of these a scale is a parameter of the model's own, and merged like any other. */
const unscaled: ReadonlySet<StoredDtype> = new Set<StoredDtype>(["F64", "F32", "F16", "BF16"]);
const codeDtypes: ReadonlySet<StoredDtype> = new Set<StoredDtype>(["F8_E4M3", "F8_E5M2"]);
const scaleDtypes: ReadonlySet<StoredDtype> = new Set<StoredDtype>(["F32", "F16", "BF16", "F8_E8M0"]);

/** What inputs are multiplied with before a weight that was divided by it (ModelOpt's AWQ, SmoothQuant). */
export const inputFactors: readonly string[] = ["pre_quant_scale", "_pre_quant_scale", "smooth_factor", "smooth_scale"];

/** Whether a weight was divided by such factors, which are others in another model: no values to merge. */
export function isFolded(name: string, tensors: Checkpoint["tensors"]): boolean {
  return name.endsWith(".weight") && inputFactors.some((factor) => tensors.has(name.replace(/[^.]+$/, factor)));
}

/** Of DeepSeek's checkpoints and all that copy them; others say theirs in the config. */
const DEFAULT_BLOCK = 128;

/**
 * A tensor of fp8 codes, which mean something only times scales from another tensor: value = code * scale of the code's block. As a
 * matrix it has all dimensions but the last as rows.
 */
export interface ScaledTensor {
  readonly codes: TensorEntry;
  /** Scales in row-major order of blocks. */
  readonly scales: TensorEntry;
  readonly rows: number;
  readonly columns: number;
  /** Of a block; blocks at the lower and right edge are cut short. */
  readonly blockRows: number;
  readonly blockColumns: number;
}

/**
 * Every scaled tensor of a checkpoint, by the name of the codes. `packed`: codes with scales of which no values are made here
 * (integers, blocks of sizes of their own as in MXFP8, weights of inputs that are scaled first) are left to packedWeights.
 * @throws CheckpointError `checkpoint/block-scaled` naming tensor and companion where the codes cannot be made values: merged as if
 * they were values, they would be silently wrong
 */
export function scaledTensors(
  checkpoint: Pick<Checkpoint, "tensors" | "config">,
  label: string,
  { packed = "refuse" }: { readonly packed?: "refuse" | "leave" } = {},
): ReadonlyMap<string, ScaledTensor> {
  const found = new Map<string, ScaledTensor>();
  for (const scales of checkpoint.tensors.values()) {
    for (const { suffix, partners } of companions) {
      if (!scales.name.endsWith(suffix)) continue;
      const stem = scales.name.slice(0, -suffix.length);
      for (const partner of partners) {
        const codes = checkpoint.tensors.get(stem + partner);
        if (codes === undefined || unscaled.has(codes.dtype)) continue;
        if (packed === "leave" && !isFloatDtype(codes.dtype)) continue;
        const fault = dtypeFault(codes, scales);
        const grid = fault === undefined ? gridOf(codes.shape, scales.shape, blockSize(checkpoint.config)) : undefined;
        if (packed === "leave" && (grid === undefined || isFolded(codes.name, checkpoint.tensors))) continue;
        if (grid === undefined) throw unusable(label, codes, scales, fault ?? "their shapes do not fit");
        found.set(codes.name, { codes, scales, ...grid });
      }
    }
  }
  return found;
}

/** The name of the scales of a tensor that is named otherwise, after the same custom. */
export function scaleNameFor({ codes, scales }: ScaledTensor, name: string): string {
  for (const { suffix, partners } of companions) {
    for (const partner of partners) {
      const isCustom = scales.name.endsWith(suffix) && codes.name === scales.name.slice(0, -suffix.length) + partner;
      if (isCustom && name.endsWith(partner)) return name.slice(0, name.length - partner.length) + suffix;
    }
  }
  throw new Error(`${scales.name} is named after no known custom`);
}

function dtypeFault(codes: TensorEntry, scales: TensorEntry): string | undefined {
  if (!codeDtypes.has(codes.dtype)) return `${codes.dtype} codes are not supported`;
  return scaleDtypes.has(scales.dtype) ? undefined : `${scales.dtype} scales are not supported`;
}

/** The blocks that the shapes tell of: one for the tensor, one a row, or blocks of the size given. */
function gridOf(
  codes: readonly number[],
  scales: readonly number[],
  [height, width]: readonly [number, number],
): Pick<ScaledTensor, "rows" | "columns" | "blockRows" | "blockColumns"> | undefined {
  const columns = codes.at(-1);
  if (columns === undefined || codes.length < 2) return undefined;
  const lead = codes.slice(0, -1);
  const rows = lead.reduce((product, size) => product * size, 1);
  const count = scales.reduce((product, size) => product * size, 1);
  const whole = { rows, columns, blockRows: Math.max(1, rows), blockColumns: Math.max(1, columns) };
  if (count === 1) return whole;
  const matrixRows = lead.at(-1) ?? 1;
  const stacked = codes.length > 2;
  const same = (expected: readonly number[]) =>
    scales.length === expected.length && expected.every((size, k) => size === scales[k]);
  // A tensor of experts: one scale for each.
  if (stacked && (same(lead.slice(0, -1)) || same([...lead.slice(0, -1), 1, 1])))
    return { ...whole, blockRows: matrixRows };
  if (same(lead) || same([...lead, 1])) return { ...whole, blockRows: 1 };
  const grid = [...lead.slice(0, -1), Math.ceil(matrixRows / height), Math.ceil(columns / width)];
  // Stacked matrices are one matrix of blocks only where no block is cut short at the lower edge.
  if (!same(grid) || (stacked && matrixRows % height !== 0)) return undefined;
  return { rows, columns, blockRows: height, blockColumns: width };
}

function blockSize(config: Checkpoint["config"]): readonly [number, number] {
  for (const quantization of quantizationOf(config)) {
    const own = pair(quantization.weight_block_size);
    if (own !== undefined) return own;
    const groups = quantization.config_groups;
    for (const group of typeof groups === "object" && groups !== null ? Object.values(groups) : []) {
      const structure = pair(member(member(group, "weights"), "block_structure"));
      if (structure !== undefined) return structure;
    }
  }
  return [DEFAULT_BLOCK, DEFAULT_BLOCK];
}

function pair(value: unknown): readonly [number, number] | undefined {
  if (!Array.isArray(value) || value.length !== 2) return undefined;
  const [height, width]: unknown[] = value;
  const isSize = (size: unknown): size is number => typeof size === "number" && Number.isSafeInteger(size) && size > 0;
  return isSize(height) && isSize(width) ? [height, width] : undefined;
}

function unusable(label: string, codes: TensorEntry, scales: TensorEntry, reason: string): CheckpointError {
  return new CheckpointError(
    "checkpoint/block-scaled",
    `${label}: tensor ${quoted(codes.name)} (${codes.dtype} [${codes.shape.join(", ")}]) is scaled by its companion ` +
      `${quoted(scales.name)} (${scales.dtype} [${scales.shape.join(", ")}]), and ${reason}`,
    { hint: "Dequantise the model to bf16 first, or use the bf16 release of it." },
  );
}
