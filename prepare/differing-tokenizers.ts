import { CheckpointError, TOKENIZER_NAME, type TokenizerKind, type TokenizerReader } from "../checkpoint/index.ts";
import type { Plan } from "../merge/work/index.ts";
import { copiedFiles, type OutputText } from "../output/index.ts";
import type { Fault, Recipe, RecipeInput } from "../recipe/index.ts";
import { type SlowDifference, slowDifference } from "../tokenizer/index.ts";

/** Files of slow tokenizers that are compared with a tokenizer.json, and kinds that are made of such a file as it stands. */
const compared: readonly { readonly file: RegExp; readonly kinds: readonly TokenizerKind[] }[] = [
  { file: /^vocab\.txt$/, kinds: ["WordPiece"] },
  { file: /^vocab\.json$/, kinds: ["BPE", "WordLevel"] },
  { file: /\.model(?:\.v\d+)?$/, kinds: ["BPE", "Unigram"] },
  { file: /^tekken\.json$|\.tiktoken$/, kinds: ["BPE"] },
];

/**
 * A warning for each file of a slow tokenizer that the output has beside a tokenizer.json of another vocabulary: which of the two counts
 * depends on the program that loads it. @throws StorageError
 */
export async function differingTokenizers(
  beside: TokenizerReader,
  { fileName, methodPlace }: Pick<Recipe, "fileName" | "methodPlace">,
  inputs: readonly Pick<RecipeInput, "label" | "checkpoint">[],
  plan: Plan,
  text: OutputText,
): Promise<readonly Fault[]> {
  const defining = inputs[plan.definingInput];
  if (defining === undefined) return [];
  const faults: Fault[] = [];
  for (const { from, names } of copiedFiles(plan, defining.checkpoint, text)) {
    const hasFast = names.includes(TOKENIZER_NAME) || text.tokenizer?.pattern === from;
    const files = names.filter((name) => compared.some(({ file }) => file.test(name)));
    if (!hasFast || files.length === 0) continue;
    const label = inputs.find(({ checkpoint }) => checkpoint === from)?.label ?? "";
    for (const [file, difference] of await differencesOf(beside, from, label, files)) {
      const { id, slow, fast, count } = difference;
      const others = count === 1 ? "" : `; ${count} tokens differ`;
      const message = `${file} and tokenizer.json of "${label}" are of different vocabularies: the id ${id} is ${spelled(slow)} in the former and ${spelled(fast)} in the latter${others}`;
      const hint = `Programs read one of the two (transformers tokenizer.json, llama.cpp's converter tokenizer.model). Both are ${text.tokenizer === undefined ? "copied as they stand" : "in the output"}: remove the wrong one.`;
      faults.push({ code: "recipe/tokenizer-files", message, hint, file: fileName, ...methodPlace });
    }
  }
  return faults;
}

async function differencesOf(
  beside: TokenizerReader,
  from: RecipeInput["checkpoint"],
  label: string,
  files: readonly string[],
): Promise<readonly (readonly [string, SlowDifference])[]> {
  try {
    const fast = (await beside.read(from, label))?.tokenizer;
    if (fast === undefined) return [];
    const slow = await beside.slowVocabularies(from, label);
    return files.flatMap((name) => {
      const own = slow.get(name);
      const isOfKind = compared.some(({ file, kinds }) => file.test(name) && kinds.includes(fast.kind));
      const difference = isOfKind ? own && slowDifference(own.normal, fast) : undefined;
      return difference === undefined ? [] : [[name, difference] as const];
    });
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    return []; // what cannot be read is told elsewhere
  }
}

function spelled(token: string | undefined): string {
  return token === undefined ? "no token" : JSON.stringify(token);
}
