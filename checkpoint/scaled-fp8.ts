import type { Checkpoint } from "./checkpoint.ts";
import type { Dtype } from "./dtype.ts";
import { CheckpointError, quoted } from "./errors.ts";

/** How a scale is named, and what its tensor is then called. DeepSeek; compressed-tensors, FBGEMM, ModelOpt; ComfyUI. */
const companions: readonly { readonly suffix: string; readonly partners: readonly string[] }[] = [
  { suffix: "_scale_inv", partners: [""] },
  { suffix: ".weight_scale", partners: [".weight", ".weight_packed"] },
  { suffix: ".scale_weight", partners: [".weight"] },
];

/** Beside a tensor of one of these a scale is a parameter of the model's own, and merged like any other. */
const unscaled: ReadonlySet<Dtype> = new Set<Dtype>(["F64", "F32", "F16", "BF16"]);

/**
 * Refuses checkpoints whose tensors hold codes that mean something only times a scale from another tensor: merged as if
 * they were values, they would be silently wrong.
 * @throws CheckpointError `checkpoint/block-scaled` naming the tensor and its companion
 */
export function checkScaledFp8(checkpoint: Pick<Checkpoint, "tensors">, label: string): void {
  for (const name of checkpoint.tensors.keys()) {
    for (const { suffix, partners } of companions) {
      if (!name.endsWith(suffix)) continue;
      const stem = name.slice(0, -suffix.length);
      for (const partner of partners) {
        const tensor = checkpoint.tensors.get(stem + partner);
        if (tensor === undefined || unscaled.has(tensor.dtype)) continue;
        throw new CheckpointError(
          "checkpoint/block-scaled",
          `${label}: tensor ${quoted(tensor.name)} (${tensor.dtype}) is scaled by its companion ${quoted(name)}; ` +
            "its codes are no values and cannot be merged",
          { hint: "Dequantise the model to bf16 first, or use the bf16 release of it." },
        );
      }
    }
  }
}
