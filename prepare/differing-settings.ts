import { parsePythonJson, pythonJsonText, type TokenizerReader } from "../checkpoint/index.ts";
import type { Fault, Recipe, RecipeInput } from "../recipe/index.ts";
import { inParallel } from "../storage/index.ts";
import { CALLS_AT_ONCE } from "./bounds.ts";

/** Files beside the weights that say what goes into a model and what is made of its output, and the keys that do. */
const settings: readonly { readonly file: RegExp; readonly keys: RegExp }[] = [
  { file: /^\d+_Pooling\/config\.json$/, keys: /^pooling_mode|^include_prompt$/ },
  { file: /^sentence_bert_config\.json$/, keys: /^do_lower_case$/ },
  {
    file: /^preprocessor_config\.json$/,
    keys: /^(?:do_(?:normalize|rescale|convert_rgb)|image_(?:mean|std)|rescale_factor|sampling_rate|feature_size)$/,
  },
];

/** A warning for each model and file whose settings are others than those that the output has. @throws StorageError */
export async function differingSettings(
  beside: TokenizerReader,
  { fileName, methodPlace }: Pick<Recipe, "fileName" | "methodPlace">,
  defining: Pick<RecipeInput, "label" | "checkpoint">,
  others: readonly Pick<RecipeInput, "label" | "checkpoint">[],
): Promise<Fault[]> {
  const keysOf = (name: string) => settings.find(({ file }) => file.test(name))?.keys;
  const isCompared = (name: string) => keysOf(name) !== undefined && defining.checkpoint.companions.includes(name);
  const isShared = (name: string) =>
    isCompared(name) && others.some(({ checkpoint }) => checkpoint.companions.includes(name));
  const expected = await beside.objects(defining.checkpoint, defining.label, isShared);
  // Who needs a file that is damaged will say so.
  const found = await inParallel(others, CALLS_AT_ONCE, ({ checkpoint, label }) =>
    beside.objects(checkpoint, label, (name) => expected.has(name)),
  );
  return [...expected].flatMap(([name, wanted]) =>
    others.flatMap(({ label }, k): Fault[] => {
      const own = found[k]?.get(name);
      const differences = own === undefined ? [] : differencesOf(own, wanted, keysOf(name));
      if (differences.length === 0) return [];
      const message = `${name} of "${label}" disagrees with that of "${defining.label}": ${differences.join(", ")}`;
      const hint = `The models were trained with different settings. The output has those of "${defining.label}".`;
      return [{ code: "recipe/configs-disagree", message, hint, file: fileName, ...methodPlace }];
    }),
  );
}

type Json = Readonly<Record<string, unknown>>;

function differencesOf(own: Json, wanted: Json, keys: RegExp | undefined): readonly string[] {
  return Object.keys(wanted).flatMap((key) => {
    const [value, other] = [own[key], wanted[key]].map(plainText);
    return keys?.test(key) !== true || value === undefined || value === other
      ? []
      : [`${key} ${value} instead of ${other}`];
  });
}

/** 0.50 and 0.5 are one number. */
function plainText(value: unknown): string | undefined {
  return value === undefined ? undefined : JSON.stringify(parsePythonJson(pythonJsonText(value)));
}
