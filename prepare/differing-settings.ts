import { type Checkpoint, parsePythonJson, readSidecar } from "../checkpoint/index.ts";
import type { Fault, Recipe, RecipeInput } from "../recipe/index.ts";
import type { Store } from "../storage/index.ts";

/** Files beside the weights that say what goes into a model and what is made of its output, and the keys that do. */
const settings: readonly { readonly file: RegExp; readonly keys: RegExp }[] = [
  { file: /^\d+_Pooling\/config\.json$/, keys: /^pooling_mode|^include_prompt$/ },
  { file: /^sentence_bert_config\.json$/, keys: /^do_lower_case$/ },
  {
    file: /^preprocessor_config\.json$/,
    keys: /^(?:do_(?:normalize|rescale|convert_rgb)|image_(?:mean|std)|rescale_factor|sampling_rate|feature_size)$/,
  },
];
const MAX_BYTES = 1_000_000;

type Json = Readonly<Record<string, unknown>>;

/** A warning for each model and file whose settings are others than those that the output has. @throws CheckpointError, StorageError */
export async function differingSettings(
  store: Store,
  { fileName, methodPlace }: Pick<Recipe, "fileName" | "methodPlace">,
  defining: Pick<RecipeInput, "label" | "checkpoint">,
  others: readonly Pick<RecipeInput, "label" | "checkpoint">[],
): Promise<Fault[]> {
  const found: Fault[] = [];
  for (const name of defining.checkpoint.companions) {
    const keys = settings.find(({ file }) => file.test(name))?.keys;
    const having = others.filter(({ checkpoint }) => checkpoint.companions.includes(name));
    if (keys === undefined || having.length === 0) continue;
    const expected = await maybeObject(store, defining.checkpoint, name);
    for (const { label, checkpoint } of having) {
      const own = await maybeObject(store, checkpoint, name);
      if (expected === undefined || own === undefined) continue;
      const differences = Object.keys(expected).flatMap((key) => {
        const [value, wanted] = [own[key], expected[key]].map((one) => JSON.stringify(one));
        return !keys.test(key) || value === undefined || value === wanted
          ? []
          : [`${key} ${value} instead of ${wanted}`];
      });
      if (differences.length === 0) continue;
      const message = `${name} of "${label}" disagrees with that of "${defining.label}": ${differences.join(", ")}`;
      const hint = `The models were trained with different settings. The output has those of "${defining.label}".`;
      found.push({ code: "recipe/configs-disagree", message, hint, file: fileName, ...methodPlace });
    }
  }
  return found;
}

/** Who needs the file will say that it is damaged. */
async function maybeObject(store: Store, checkpoint: Checkpoint, name: string): Promise<Json | undefined> {
  if ((checkpoint.sidecars?.get(name)?.sizeBytes ?? 0) > MAX_BYTES) return undefined;
  try {
    const text = Buffer.from(await readSidecar(store, checkpoint, name, MAX_BYTES)).toString("utf8");
    const json = parsePythonJson(text);
    return typeof json === "object" && json !== null && !Array.isArray(json) ? (json as Json) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
