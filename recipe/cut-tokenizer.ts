import { companionKind } from "../checkpoint/index.ts";
import { outputVocabulary, Vocabularies, writtenTokenizer } from "../tokenizer/index.ts";
import type { TextPlace } from "./errors.ts";
import type { Findings } from "./findings.ts";
import { mainEmbedding } from "./main-embedding.ts";
import type { RecipeModel } from "./model-entry.ts";
import { quotedList } from "./suggestion.ts";
import type { BoundTokenizer } from "./token-binder.ts";

/**
 * The tokenizer of the model that defines the output, without the tokens that have no row there: where rows were cut, or where an
 * adapter brought more tokens than rows. Undefined where all have one, or lacked it in the model itself.
 */
export function maybeCutTokenizer(
  models: readonly RecipeModel[],
  defining: number,
  rows: number | undefined,
  place: TextPlace,
  findings: Findings,
): BoundTokenizer | undefined {
  const model = models[defining];
  if (model === undefined || rows === undefined) return undefined;
  if (model.tokenizer === undefined) {
    reportUncut(model, rows, place, findings);
    return undefined;
  }
  const { tokenizer } = model.tokenizer;
  const all = [...tokenizer.normal, ...tokenizer.added.map(({ content, id }) => [content, id] as const)];
  const [beyond, ...others] = all.filter(([, id]) => id >= rows);
  const isOwn = model.tokenizerOf === model.filesOf && rows >= (mainEmbedding(model.checkpoint)?.rows ?? 0);
  if (beyond === undefined || isOwn) return undefined;
  const known = new Vocabularies();
  const vocabularies = models.map((_, k) => (k === defining ? known.of(tokenizer, rows) : undefined));
  const request = {
    extent: "own",
    pattern: defining,
    vocabularies,
    order: [],
    listed: [],
    padToMultipleOf: 1,
  } as const;
  const { vocabulary } = outputVocabulary(request);
  const also = others.length === 0 ? "" : ` and ${others.length} more`;
  const message = `the token "${beyond[0]}"${also} of "${model.label}" has no row among the ${rows} of the output's embedding`;
  findings.warning("recipe/token", place, message, "It is taken out of the tokenizer.");
  return {
    vocabulary,
    pattern: model.tokenizerOf,
    written: writtenTokenizer({ output: vocabulary, vocabularies, pattern: model.tokenizer }),
  };
}

/** Of a model whose tokens stand in files of slow tokenizers alone, which are not cut. */
function reportUncut({ label, checkpoint }: RecipeModel, rows: number, place: TextPlace, findings: Findings): void {
  const files = checkpoint.companions.filter((name) => companionKind(name) === "slow-tokenizer");
  if (files.length === 0 || rows >= (mainEmbedding(checkpoint)?.rows ?? 0)) return;
  const message = `"${label}" has no tokenizer.json, and ${quotedList(files)} ${files.length === 1 ? "is" : "are"} copied as ${files.length === 1 ? "it stands" : "they stand"}: tokens from the id ${rows} on have no row in the output`;
  const hint =
    "Take them out of these files by hand, or write a tokenizer.json first: save_pretrained of a fast tokenizer.";
  findings.warning("recipe/token", place, message, hint);
}
