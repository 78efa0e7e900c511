import { type Adapter, companionKind, isEmbeddingLike, type TensorEntry, TOKENIZER_NAME } from "../checkpoint/index.ts";
import { adaptedTensors } from "./adapted-tensors.ts";
import { checkAdapterBase } from "./config-check.ts";
import type { TextPlace } from "./errors.ts";
import type { Findings } from "./findings.ts";
import { withListedRows } from "./listed-rows.ts";
import { mainEmbedding } from "./main-embedding.ts";
import type { RecipeModel } from "./model-entry.ts";
import { type ModelReference, sameModel, withoutAdapter } from "./model-reference.ts";
import { modelReferences, placeOfModel, type Recipe, type RecipeInput } from "./recipe.ts";
import { withoutScales } from "./scaled-model.ts";
import { withoutCopies } from "./stored-ties.ts";
import { LEAST_SHARE, percentText } from "./usage-ledger.ts";

/**
 * Every model that the recipe names, adapters applied; what an adapter does not fit is reported. `made`: by earlier documents, by name.
 */
export function recipeModels(
  recipe: Recipe,
  inputs: readonly RecipeInput[],
  made: ReadonlyMap<string, RecipeModel>,
  findings: Findings,
): RecipeModel[] {
  return modelReferences(recipe).map((reference) => withListedRows(openedModel(reference)));

  function openedModel(reference: ModelReference): RecipeModel {
    const alone = withoutAdapter(reference);
    const earlier = made.get(alone.text);
    if (earlier !== undefined)
      return reference.adapter === undefined ? earlier : adapted(recipe, earlier, reference, inputs, findings);
    const filesOf = inputs.findIndex((input) => sameModel(input.reference, alone));
    const input = inputs[filesOf];
    if (input === undefined) throw new Error(`the recipe's model "${alone.text}" is not among the inputs`);
    const stored = withoutScales({ ...input, filesOf, tokenizerOf: filesOf, templateOf: filesOf });
    const model = withoutCopies(stored, placeOfModel(recipe, reference), findings);
    return reference.adapter === undefined ? model : adapted(recipe, model, reference, inputs, findings);
  }
}

function adapted(
  recipe: Recipe,
  model: RecipeModel,
  reference: ModelReference,
  inputs: readonly RecipeInput[],
  findings: Findings,
): RecipeModel {
  const adapterIndex = inputs.findIndex((input) => sameModel(input.reference, reference.adapter));
  const adapterInput = inputs[adapterIndex];
  if (adapterInput?.adapter === undefined)
    throw new Error(`the adapter of "${reference.text}" is not among the inputs`);
  const { tensors, faults, unused, head } = adaptedTensors(
    model,
    adapterInput.adapter,
    adapterIndex,
    adapterInput.label,
  );
  const label = `${model.label}+${adapterInput.label}`;
  checkAdapterBase(recipe, reference, model, adapterInput, findings);
  const place = placeOfModel(recipe, reference);
  for (const fault of faults) {
    const message = `"${adapterInput.label}" does not fit "${model.label}": it ${fault}`;
    const hint =
      "Name the model that the adapter was trained on; its adapter_config.json has base_model_name_or_path. Where it is that, its files call these modules otherwise than the class does: save it anew with save_pretrained(FOLDER, save_original_format=False) of transformers 5, and name that.";
    findings.repeated("fault", label, "recipe/adapter-mismatch", place, message, hint);
  }
  for (const name of unused) {
    const message = `"${adapterInput.label}" holds ${name}, which "${model.label}" lacks: skipped`;
    const hint = "The tensors of the base, or of the first model, are the output's.";
    findings.repeated("warning", label, "recipe/tensor-skipped", place, message, hint);
  }
  const told = { base: model.label, adapter: adapterInput.label, both: label };
  checkAdapterIsUsed(adapterInput.adapter, unused, told, place, findings);
  const checkpoint = { ...model.checkpoint, tensors: new Map([...model.checkpoint.tensors, ...tensors]) };
  const ties = model.ties && head !== undefined ? { ...model.ties, head, isTied: false } : model.ties;
  const adaptedModel = withTextOf(
    { ...model, reference, label, checkpoint, adapterInput: adapterIndex, ...(ties && { ties }) },
    adapterInput,
    adapterIndex,
  );
  const [before, after] = [mainEmbedding(model.checkpoint)?.rows, mainEmbedding(checkpoint)?.rows];
  if (before !== after && adaptedModel.tokenizerOf !== adapterIndex) {
    const message = `"${adapterInput.label}" gives "${model.label}" ${after} rows instead of ${before}, and has no tokenizer beside it`;
    const hint = "Put the tokenizer that it was trained with into its folder: new rows have no tokens otherwise.";
    findings.repeated("warning", label, "recipe/tokenizer", place, message, hint);
  }
  return adaptedModel;
}

/** Trainers write the tokenizer and the chat template that an adapter was trained with beside it: they are those of the model with it. */
function withTextOf(model: RecipeModel, adapter: RecipeInput, adapterIndex: number): RecipeModel {
  const kinds = new Set(adapter.checkpoint.companions.map(companionKind));
  // Settings alone are none: the vocabulary counts.
  const hasTokenizer = adapter.checkpoint.companions.includes(TOKENIZER_NAME) || kinds.has("slow-tokenizer");
  const hasTemplate = kinds.has("chat-template") || adapter.tokenizer?.config?.chat_template !== undefined;
  const { tokenizer, chatTemplate } = model.made ?? {};
  return {
    ...model,
    ...(hasTokenizer && {
      tokenizer: adapter.tokenizer,
      tokenizerFault: adapter.tokenizerFault,
      slowVocabularies: adapter.slowVocabularies,
      tokenizerOf: adapterIndex,
    }),
    ...(hasTemplate && { chatTemplate: adapter.chatTemplate, templateOf: adapterIndex }),
    ...(model.made && {
      made: {
        ...(tokenizer && !hasTokenizer && { tokenizer }),
        ...(chatTemplate !== undefined && !hasTemplate && { chatTemplate }),
      },
    }),
  };
}

/** Tensors that fit nowhere are skipped; an adapter of which most are is one for another model. */
function checkAdapterIsUsed(
  { pairs, saved }: Adapter,
  unused: readonly string[],
  labels: { readonly base: string; readonly adapter: string; readonly both: string },
  place: TextPlace,
  findings: Findings,
): void {
  const entries = [...[...pairs.values()].flatMap(({ a, b }) => [a, b]), ...saved.values()];
  const weights = entries.filter(({ name }) => !isEmbeddingLike(name));
  const skipped = new Set(unused.map((name) => saved.get(name)));
  const elements = (counted: readonly TensorEntry[]) =>
    counted.reduce((sum, { elementCount }) => sum + elementCount, 0);
  const [all, left] = [elements(weights), elements(weights.filter((entry) => skipped.has(entry)))];
  if (left === 0) return;
  const share = (all - left) / all;
  const message = `${share < LEAST_SHARE ? "only " : ""}${percentText(share)} of "${labels.adapter}" is used: "${labels.base}" lacks ${unused.length} of its tensors (the first ${unused[0] ?? ""})`;
  const hint = "Name the model that the adapter was trained on; its adapter_config.json has base_model_name_or_path.";
  if (share < LEAST_SHARE) findings.fault("recipe/unused-model", place, message, hint);
  if (share < LEAST_SHARE) return;
  // What was told of its tensors one by one is told once.
  findings.withdraw("warning", labels.both, "recipe/tensor-skipped");
  findings.warning("recipe/partly-used", place, message, hint);
}
