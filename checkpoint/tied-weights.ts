import { isAfterLayers, isEmbeddingLike, splitLayer, textConfigs } from "./architecture.ts";
import type { TensorEntry } from "./checkpoint.ts";
import { bareName } from "./name-alignment.ts";
import { tiedByDefault } from "./tie-defaults.ts";
import { modalityOf } from "./towers.ts";

/** A name of a parameter that is also stored, or may be stored, under another. */
export interface CopyName {
  readonly name: string;
  /** The name that all loaders know it by. */
  readonly of: string;
  /**
   * "head": an output head, one with the embedding where the config ties them. "embedding": a tower's own name for the shared one.
   * "tower": for that of another tower; some classes have two. "bias": of the layer within a head. "ahead": of layers that predict
   * further tokens. Those of towers and of such layers are read by their names, and are kept.
   */
  readonly kind: "head" | "embedding" | "tower" | "bias" | "ahead";
}

type Named = ReadonlyMap<string, Pick<TensorEntry, "shape">>;
type Config = Readonly<Record<string, unknown>>;

const tiedHeads: readonly RegExp[] = [
  /(?:^|\.)lm_head\.(?:decoder\.)?weight$/,
  /(?:^|\.)embed_out\.weight$/,
  /(?:^|\.)cls\.predictions\.decoder\.weight$/,
  /(?:^|\.)predictions\.decoder\.weight$/,
  /(?:^|\.)vocab_projector\.weight$/,
  /(?:^|\.)generator_lm_head\.weight$/,
  /(?:^|\.)output_layer\.weight$/,
  /(?:^|\.)lm_loss\.weight$/, // XLNet
  /(?:^|\.)pred_layer\.proj\.weight$/, // XLM, FlauBERT
  /^(?:model\.)?proj_out\.weight$/, // Whisper, Moonshine
  /(?:^|\.)output_projection\.weight$/, // BioGPT, TrOCR, FSMT
  /(?:^|\.)lm_head\.out_proj\.weight$/, // T5Gemma
  /^(?:model\.)?(?:output|head|decoder)\.weight$/,
];

/** Whether a tensor is an output head that models tie to their input embedding. */
export function isTiedHead(name: string): boolean {
  return splitLayer(name) === undefined && tiedHeads.some((pattern) => pattern.test(name));
}

/** The language model's input embedding; the one that towers share, where there are several. */
export function inputEmbedding(tensors: Named): string | undefined {
  let found: string | undefined;
  for (const [name, { shape }] of tensors) {
    if (shape.length !== 2 || splitLayer(name) !== undefined || !isEmbeddingLike(name) || isAfterLayers(name)) continue;
    if (/per_layer/.test(name) || modalityOf(name) !== "text") continue;
    if (/(?:^|\.)shared\.weight$/.test(name)) return name;
    const isOfTower = /(?:^|\.)(?:encoder|decoder)\.\w+\.weight$/.test(name);
    if (found === undefined || (!isOfTower && /(?:^|\.)(?:encoder|decoder)\.\w+\.weight$/.test(found))) found = name;
  }
  return found;
}

/** Where a head lies beside an embedding: language_model.lm_head beside language_model.model.embed_tokens, lm_head beside others. */
export function headBeside(embedding: string, head: string): string {
  const holders =
    /^((?:(?:module|_orig_mod|base_model\.model|language_model|thinker|text_model|llm|llm_model)\.)*)model\.(?!language_model\.)/;
  return `${holders.exec(embedding)?.[1] ?? ""}${bareName(head)}`;
}

/** Names under which a model's parameters may be stored a second time. `tensors`: all that it has. */
export function copyNames(tensors: Named): CopyName[] {
  const embedding = inputEmbedding(tensors);
  const head = [...tensors.keys()].find(isTiedHead);
  const found: CopyName[] = [];
  for (const name of tensors.keys()) {
    if (name === embedding) continue;
    if (isTiedHead(name)) {
      if (embedding !== undefined) found.push({ name, of: embedding, kind: "head" });
    } else if (embedding !== undefined && isTowersName(name, embedding)) {
      const isShared = !/(?:^|\.)(?:encoder|decoder)\.\w+\.weight$/.test(embedding);
      found.push({ name, of: embedding, kind: isShared ? "embedding" : "tower" });
    } else if (tensors.has(otherHeadBias(name) ?? "") && /\.decoder\.bias$/.test(name)) {
      found.push({ name, of: otherHeadBias(name) ?? "", kind: "bias" });
    } else if (/(?:\.\d+|^mtp|\.mtp)\.embed_tokens\.weight$/.test(name) && embedding !== undefined) {
      found.push({ name, of: embedding, kind: "ahead" });
    } else if (/\.\d+\.shared_head\.head\.weight$/.test(name) && head !== undefined) {
      found.push({ name, of: head, kind: "ahead" });
    }
  }
  return found;
}

/** The other name that a bias of an output head may have; some classes know only one of the two. */
export function otherHeadBias(name: string): string | undefined {
  const match = /^((?:.*\.)?(?:lm_head|predictions)\.)(decoder\.)?bias$/s.exec(name);
  return match === null ? undefined : `${match[1]}${match[2] === undefined ? "decoder." : ""}bias`;
}

/** `encoder.embed_tokens` and `decoder.embed_tokens` beside `shared`; `decoder.word_embeddings` beside `word_embeddings`. */
function isTowersName(name: string, embedding: string): boolean {
  const tower = /^(.*?)(?:encoder|decoder)\.(embed_tokens|word_embeddings|shared)\.weight$/s.exec(name);
  if (tower === null) return false;
  const [, before = "", own = ""] = tower;
  const others = [`${before}shared.weight`, `${before}${own}.weight`];
  return [...others, `${before}encoder.${own}.weight`, `${before}decoder.${own}.weight`].includes(embedding);
}

/**
 * Whether a config ties the output head to the input embedding: at its top, in the part of the language model, or by the default of its
 * type. Undefined where it does not say, or says both: then what is stored decides.
 */
export function saysTied(config: Config | undefined): boolean | undefined {
  if (config === undefined) return undefined;
  if (untiedInCode.has(config.model_type)) return undefined;
  const [top, ...nested] = textConfigs(config).map((part) => part.config);
  const flagOf = (part: Config | undefined) =>
    typeof part?.tie_word_embeddings === "boolean" ? part.tie_word_embeddings : undefined;
  const inner = nested.map(flagOf).find((flag) => flag !== undefined);
  const outer = flagOf(top);
  // transformers 5 takes a nested "tied" over "not tied" at the top in most families, 4 in all of them.
  if (outer === false && inner === true) return undefined;
  const defaults = [top, ...nested].map((part) => tiedByDefault(part?.model_type));
  return outer ?? inner ?? defaults.find((tied) => tied !== undefined);
}

/** Where a config has to say whether it ties: at the top, and in every part of the language model that says it or has others' keys. */
export function tiedPaths(config: Config): string[][] {
  return textConfigs(config).map(({ path }) => [...path, "tie_word_embeddings"]);
}

/** Types whose classes have a head of its own whatever the flag says, since transformers 5. */
const untiedInCode: ReadonlySet<unknown> = new Set(["luke", "pop2piano"]);

/** Types in which the flag says how logits are scaled, too: it is left as it stands. */
const scaledByFlag: ReadonlySet<unknown> = new Set(["t5", "mt5", "umt5", "longt5", "pop2piano"]);

export function isFlagOfScaling(config: Config): boolean {
  return scaledByFlag.has(config.model_type);
}
