import type { Json, PlanAdapter } from "../../merge/work/index.ts";
import { withJsonValue } from "./json-text.ts";

/** The defining adapter's config for the output; all that the merge does not change stays as it stands. */
export function outputAdapterConfig(text: string, { ranks, targetModules }: PlanAdapter): string {
  const edits: [key: string, value: Json][] = [];
  if (ranks !== undefined) {
    // Whatever the scales were, they are in B now.
    edits.push(["r", ranks.rank], ["lora_alpha", ranks.rank], ["use_rslora", false]);
    edits.push(["rank_pattern", ranks.pattern], ["alpha_pattern", ranks.pattern]);
  }
  if (targetModules !== undefined) {
    edits.push(["target_modules", targetModules], ["layers_to_transform", null], ["layers_pattern", null]);
    edits.push(["exclude_modules", null]);
  }
  return edits.reduce((edited, [key, value]) => withJsonValue(edited, [key], value), text);
}
