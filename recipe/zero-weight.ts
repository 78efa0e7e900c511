import type { Parameters } from "../merge/work/index.ts";
import type { Setting, Settings } from "./parameters.ts";

/**
 * Which parameter makes a model contribute nothing to a tensor, as the recipe writes it: "weight 0". Undefined where none does.
 * `isBase`: the base, where it is one of the models; slerp goes from it to the other.
 */
export function zeroReason(
  method: string,
  isBase: boolean,
  global: Parameters,
  tensor: Parameters,
): string | undefined {
  if (tensor.weight === 0) return "weight 0";
  if (tensor.scale === 0) return "scale 0";
  if (method === "slerp" && global.t === (isBase ? 1 : 0)) return `t ${global.t}`;
  if (method === "nearswap" && !isBase && global.t === 0) return "t 0";
  if (global.lambda === 0) return "lambda 0";
  return tensor.density === 0 ? "density 0" : undefined;
}

/** Whether the 0 stands in conditions, of a weight or density: one for the whole model is judged with it. `levels`: as they apply. */
export function isZeroByCondition(reason: string, levels: readonly Settings[]): boolean {
  const [parameter = ""] = reason.split(" ");
  if (parameter !== "weight" && parameter !== "density") return false;
  return levels.some((level) => {
    const written = level.get(parameter)?.setting;
    return written !== undefined && hasZeroCondition(written);
  });
}

function hasZeroCondition(setting: Setting): boolean {
  if (setting.kind !== "conditions") return false;
  return setting.conditions.some(({ value }) => {
    return (value.kind === "scalar" && value.value === 0) || hasZeroCondition(value);
  });
}
