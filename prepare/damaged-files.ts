import type { TokenizerReader } from "../checkpoint/index.ts";
import type { Plan } from "../merge/work/index.ts";
import { copiedFiles, type OutputText } from "../output/index.ts";
import type { Fault, Recipe, RecipeInput } from "../recipe/index.ts";
import { inParallel } from "../storage/index.ts";
import { TEXTS_AT_ONCE } from "./bounds.ts";

/** A warning for each JSON file beside the weights that the output takes over and nobody can read. @throws CheckpointError, StorageError */
export async function damagedFiles(
  beside: TokenizerReader,
  { fileName, methodPlace }: Pick<Recipe, "fileName" | "methodPlace">,
  inputs: readonly Pick<RecipeInput, "label" | "checkpoint">[],
  plan: Plan,
  text: OutputText,
): Promise<readonly Fault[]> {
  const defining = inputs[plan.definingInput];
  if (defining === undefined) return [];
  const copied = copiedFiles(plan, defining.checkpoint, text).flatMap(({ from, names }) =>
    names.filter((name) => name.endsWith(".json")).map((name) => ({ from, name })),
  );
  const found = await inParallel(copied, TEXTS_AT_ONCE, async ({ from, name }): Promise<readonly Fault[]> => {
    const fault = await beside.jsonFault(from, name);
    if (fault === undefined) return [];
    const label = inputs.find(({ checkpoint }) => checkpoint === from)?.label ?? "";
    const message = `${name} of "${label}" is no JSON: ${fault}; it is copied as it stands`;
    const hint = `What reads ${name} of the output will fail. Get the file again, or correct it.`;
    return [{ code: "recipe/damaged-file", message, hint, file: fileName, ...methodPlace }];
  });
  return found.flat();
}
