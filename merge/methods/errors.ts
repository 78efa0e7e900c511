import { CodedError, type Explanations } from "../../errors/index.ts";

/** Every code a MethodError may carry. docs/errors.md is made of this. */
export const methodCodes = {
  "method/weights-sum-to-zero": {
    means: "`linear` with normalize or `multislerp` with normalize_weights, and the weights of a tensor sum to zero.",
    advice: "Change a weight, or `normalize: false` (`normalize_weights: false`).",
  },
  "method/directions-cancel": {
    means:
      "`multislerp` of three or more models whose weighted directions add to nothing in some tensor, so that there is no mean direction. Found while merging.",
    advice: "Change a weight, or take `linear` or `karcher`.",
  },
  "method/other-summary": {
    means:
      "A survey was answered with something else than was asked for: another number of models, blocks, parts or elements. It is refused before it is folded, and counts as `coordinator/other-than-lent`.",
    advice:
      "Run the coordinator's release on the worker that the message names; if it is the same one, check its memory.",
  },
  "method/too-many-columns": {
    means:
      "`nuslerp` with nuslerp_row_wise, and a tensor that has more columns (elements by its first dimension) than a verdict can hold.",
    advice: "Set `nuslerp_row_wise: false` for that tensor, by a condition with a filter.",
  },
} satisfies Explanations<"method">;

export type MethodCode = keyof typeof methodCodes;

/** Parameters or tensors that a method cannot merge with, found when planning; or an answer to a survey that is none. */
export class MethodError extends CodedError<MethodCode> {}
