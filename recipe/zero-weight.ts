import type { Parameters } from "../merge/work/index.ts";

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
