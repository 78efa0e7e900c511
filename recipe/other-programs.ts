import { maybeValue } from "./context.ts";
import type { Findings } from "./findings.ts";
import type { YamlMap } from "./yaml.ts";

interface OtherProgram {
  /** Keys at the top that no recipe has; one of them is enough. */
  readonly keys: readonly string[];
  readonly sentence: string;
  readonly hint: string;
}

const others: readonly OtherProgram[] = [
  {
    keys: ["experts", "gate_mode", "shared_experts", "experts_per_token"],
    sentence:
      "this is a recipe of mergekit-moe, which builds a mixture of experts from dense models, and deltaworks does not",
    hint: "Build the mixture with mergekit-moe. Models that are mixtures already are merged like any others: merge_method and models.",
  },
  {
    keys: ["genome"],
    sentence:
      "this is a configuration of mergekit-evolve, which searches for parameters by evaluating models, and deltaworks does not",
    hint: "Write the recipe that the genome stands for, or try values with deltaworks sweep.",
  },
  {
    keys: ["donor", "donor_model", "approximation_method"],
    sentence:
      "these are settings of mergekit-tokensurgeon, which gives a model another's vocabulary, and deltaworks does so within a merge",
    hint: "Name the vocabulary with tokenizer_source or tokenizer in a recipe with merge_method and models.",
  },
];

/** Whether a document without a merge method was written for another program, which is then said in a sentence in place of all else. */
export function isForOther(root: YamlMap, findings: Findings): boolean {
  if (maybeValue(root, "merge_method") !== undefined) return false;
  for (const { keys, sentence, hint } of others) {
    const found = keys.map((key) => root.entries.get(key)).find((entry) => entry !== undefined);
    if (found === undefined) continue;
    findings.fault("recipe/other-program", found.place, sentence, hint);
    return true;
  }
  return false;
}
