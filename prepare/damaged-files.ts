import { jsonFault, MAX_COMPANION_BYTES, readSidecar } from "../checkpoint/index.ts";
import type { Plan } from "../merge/work/index.ts";
import { copiedFiles, type OutputText } from "../output/index.ts";
import type { Fault, Recipe, RecipeInput } from "../recipe/index.ts";
import type { Store } from "../storage/index.ts";

/** A warning for each JSON file beside the weights that the output takes over and nobody can read. @throws CheckpointError, StorageError */
export async function damagedFiles(
  store: Store,
  { fileName, methodPlace }: Pick<Recipe, "fileName" | "methodPlace">,
  inputs: readonly Pick<RecipeInput, "label" | "checkpoint">[],
  plan: Plan,
  text: OutputText,
): Promise<Fault[]> {
  const defining = inputs[plan.definingInput];
  if (defining === undefined) return [];
  const found: Fault[] = [];
  for (const { from, names } of copiedFiles(plan, defining.checkpoint, text)) {
    const label = inputs.find(({ checkpoint }) => checkpoint === from)?.label ?? "";
    for (const name of names.filter((one) => one.endsWith(".json"))) {
      const fault = jsonFault(await readSidecar(store, from, name, MAX_COMPANION_BYTES));
      if (fault === undefined) continue;
      const message = `${name} of "${label}" is no JSON: ${fault}; it is copied as it stands`;
      const hint = `What reads ${name} of the output will fail. Get the file again, or correct it.`;
      found.push({ code: "recipe/damaged-file", message, hint, file: fileName, ...methodPlace });
    }
  }
  return found;
}
