import { copyNames, inputEmbedding, isFlagOfMore, isTiedHead, saysTied } from "../checkpoint/index.ts";
import type { TextPlace } from "./errors.ts";
import type { Findings } from "./findings.ts";
import { type ModelEntry, type RecipeModel, sourceOfEntry } from "./model-entry.ts";

/** Which of a model's tensors are one parameter. Names in the model's view. */
export interface Ties {
  /** The language model's input embedding. A head's name, where that is all that is stored of the two. */
  readonly embedding?: string;
  /** An output head of its own. */
  readonly head?: string;
  /** Whether the embedding is its output head as well. */
  readonly isTied: boolean;
  /** Second copies that are read by their names, and what they are copies of. */
  readonly copies: ReadonlyMap<string, string>;
  /** Names under which it has parameters of their own, and what they are one with in models that are tied. Heads are told above. */
  readonly apart: ReadonlyMap<string, string>;
}

/**
 * A model with every parameter once: what is stored twice, or under another of its names, stands under the name that all loaders
 * know. Copies that are read by their own names stay, and are listed. Copies that differ are parameters of their own, with a warning.
 * Bare files and adapters, of which no config says what is tied, stay as they are.
 */
export function withoutCopies(model: RecipeModel, place: TextPlace, findings: Findings): RecipeModel {
  const { config, aliases = new Map<string, string>(), copies: answers } = model.checkpoint;
  if (config === undefined || model.adapter !== undefined) return model;
  const tensors = new Map<string, ModelEntry>(model.checkpoint.tensors);
  for (const [alias, stored] of aliases) {
    const entry = tensors.get(stored);
    if (entry !== undefined) tensors.set(alias, { ...entry, name: alias, source: sourceOfEntry(entry, model.filesOf) });
  }
  const says = saysTied(config);
  const storedAs = (name: string) => aliases.get(name) ?? name;
  const copies = new Map<string, string>();
  const apart = new Map<string, string>();
  for (const { name, of, kind } of copyNames(tensors)) {
    const isAlias = storedAs(name) === storedAs(of);
    const answer = isAlias ? true : answers?.get(name);
    const isSaid =
      kind === "head"
        ? says === true
        : kind === "embedding" || kind === "tower"
          ? says !== false || isFlagOfMore(config)
          : kind === "ahead" || says !== false;
    if (answer === false && isSaid && kind !== "ahead" && kind !== "tower")
      reportDiffering(model, name, of, place, findings);
    // A head of one's own has a bias of its own, read by its name, however equal the two are.
    const isOwnBias = kind === "bias" && says === false;
    const isCopy = isAlias
      ? kind !== "head" || says !== false
      : isOwnBias
        ? answer === true
        : isSaid && (answer ?? kind !== "ahead");
    if (!isCopy) {
      if (kind === "embedding" || kind === "tower") apart.set(name, of);
      continue;
    }
    if (kind === "ahead" || (kind === "tower" && !isAlias) || isOwnBias) {
      copies.set(name, of);
      continue;
    }
    const entry = tensors.get(name);
    tensors.delete(name);
    if (entry !== undefined && !tensors.has(of))
      tensors.set(of, { ...entry, name: of, source: sourceOfEntry(entry, model.filesOf) });
  }
  const known = inputEmbedding(tensors);
  const head = [...tensors.keys()].find(isTiedHead);
  for (const [alias, stored] of aliases) {
    if (!tensors.has(alias) || alias === known || alias === head) continue;
    if (!tensors.has(stored)) continue;
    tensors.delete(alias);
    copies.set(alias, stored);
  }
  const isHeadAlone = known === undefined && head !== undefined && says === true;
  const embedding = isHeadAlone ? head : known;
  const hasHeadInCode = says ?? isOfLanguageModel(config.architectures) === true;
  const ties: Ties = {
    ...(embedding !== undefined && { embedding }),
    ...(head !== undefined && !isHeadAlone && { head }),
    isTied: embedding !== undefined && (isHeadAlone || (head === undefined && hasHeadInCode)),
    copies,
    apart: new Map([...apart].filter(([name]) => tensors.has(name))),
  };
  return { ...model, ties, checkpoint: { ...model.checkpoint, tensors } };
}

/** Undefined where it is not said. */
export function isOfLanguageModel(architectures: unknown): boolean | undefined {
  const [architecture]: unknown[] = Array.isArray(architectures) ? architectures : [];
  if (typeof architecture !== "string") return undefined;
  return /(?:CausalLM|ConditionalGeneration|LMHead|MaskedLM)/.test(architecture);
}

function reportDiffering(model: RecipeModel, name: string, of: string, place: TextPlace, findings: Findings): void {
  const message = `${name} and ${of} of "${model.label}" are one parameter by its config, and differ: each is merged by itself`;
  const hint = "Say tie_word_embeddings: false in its config.json if the two are meant to differ.";
  findings.warning("recipe/tied-weights", place, message, hint);
}
