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
  /(?:^|\.)mlm_score\.decoder\.weight$/, // ViLT
  /^(?:model\.)?(?:output|head|decoder|head\.decoder)\.weight$/,
];

/** What stands beside a head, and what the head is called: of classes that call it otherwise than lm_head. */
const besideHeads: readonly (readonly [RegExp, string])[] = [
  [/^((?:.*\.)?cls\.predictions\.)(?:transform\..*|bias)$/s, "$1decoder.weight"],
  [/^((?:.*\.)?lm_head\.)(?:dense|layer_norm|decoder)\..*$/s, "$1decoder.weight"], // RoBERTa, ESM
  [/^((?:.*\.)?predictions\.)(?:dense|LayerNorm)\..*$/s, "$1decoder.weight"], // ALBERT
  [/^((?:.*\.)?)vocab_transform\..*$/s, "$1vocab_projector.weight"],
  [/^((?:.*\.)?)generator_predictions\..*$/s, "$1generator_lm_head.weight"],
  [/^((?:.*\.)?(?:lm_loss|pred_layer\.proj)\.)bias$/s, "$1weight"],
  [/^((?:.*\.)?mlm_score\.)(?:transform\..*|bias)$/s, "$1decoder.weight"],
];
const headsOfTypes: readonly (readonly [name: string, types: string])[] = [
  ["lm_head.decoder.weight", "bert-generation"],
  ["embed_out.weight", "gpt_neox gpt_neox_japanese"],
  ["proj_out.weight", "whisper moonshine moonshine_streaming canary"],
  ["output_projection.weight", "biogpt trocr"],
  ["lm_head.out_proj.weight", "t5gemma t5gemma2"],
  ["decoder.weight", "modernbert modernbert-decoder"],
  ["head.decoder.weight", "ultrabert ultravbert"],
  ["text_decoder_postnet.lm_head.weight", "speecht5"],
];

/** What its class calls the output head of a model that stores none, as it is its embedding. */
export function tiedHeadName(embedding: string, tensors: Named, config: Config | undefined): string {
  const [own] = headsOfTypes.find(([, types]) => types.split(" ").some((type) => type === config?.model_type)) ?? [];
  if (own !== undefined) return headBeside(embedding, own);
  for (const name of tensors.keys()) {
    if (splitLayer(name) !== undefined) continue;
    const [pattern, head] = besideHeads.find(([beside]) => beside.test(name)) ?? [];
    if (pattern !== undefined && head !== undefined) return name.replace(pattern, head);
  }
  return headBeside(embedding, "lm_head.weight");
}

/** Whether a tensor is an output head that models tie to their input embedding. */
export function isTiedHead(name: string): boolean {
  return (
    splitLayer(name) === undefined && twinsOf(name).length === 0 && tiedHeads.some((pattern) => pattern.test(name))
  );
}

/** The language model's input embedding; the one that towers share, where there are several, else the decoder's, which heads are tied to. */
export function inputEmbedding(tensors: Named): string | undefined {
  let found: string | undefined;
  for (const [name, { shape }] of tensors) {
    if (shape.length !== 2 || splitLayer(name) !== undefined || !isEmbeddingLike(name) || isAfterLayers(name)) continue;
    if (/per_layer|value_embeddings/.test(name) || modalityOf(name) !== "text") continue;
    if (/(?:^|\.)shared\.weight$/.test(name)) return name;
    if (found === undefined || rankOf(name) > rankOf(found)) found = name;
  }
  return found;
}

function rankOf(embedding: string): number {
  const tower = towersPattern.exec(embedding)?.[2];
  return tower === undefined ? 2 : tower === "decoder" ? 1 : 0;
}

/** What stands before a tower, the tower, what lies between, and the embedding. */
const towersPattern =
  /^((?:.*\.)?(?:text_)?)(encoder|decoder)\.(?:text_model\.)?(embed_tokens|word_embeddings|shared)\.weight$/s;

/**
 * Where a head lies beside an embedding: language_model.lm_head beside language_model.model.embed_tokens, lm_head beside others; FSMT's in
 * the module that the embedding lies in. `own`: the embedding of the model that the head is of.
 */
export function headBeside(embedding: string, head: string, own = ""): string {
  const holderOf = (name: string) => name.replace(/[^.]+\.\w+$/, "");
  const holder = holderOf(head);
  if (/(?:^|\.)decoder\.$/.test(holder) && holder === holderOf(own))
    return `${holderOf(embedding)}${head.slice(holder.length)}`;
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
      const isShared = !towersPattern.test(embedding);
      found.push({ name, of: embedding, kind: isShared ? "embedding" : "tower" });
    } else if (twinsOf(name).some((twin) => tensors.has(twin))) {
      found.push({ name, of: twinsOf(name).find((twin) => tensors.has(twin)) ?? "", kind: "tower" });
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

/** What else is tied where embeddings are: names, and what they are one with. */
const twins: readonly (readonly [RegExp, ...string[]])[] = [
  [/^((?:.*\.)?t2u_model\.)lm_head\.weight$/s, "$1model.decoder.embed_tokens.weight"], // SeamlessM4T, of its units of speech
  [
    /^((?:.*\.)?)decoder\.embed_tokens\.eoi_embedding$/s, // T5Gemma 2
    "$1encoder.text_model.embed_tokens.eoi_embedding",
    "$1encoder.embed_tokens.eoi_embedding",
  ],
  [/^unembedding_projection\.weight$/, "model.embed_tokens.embedding_projection.weight"], // NeoMME
];

function twinsOf(name: string): readonly string[] {
  const [pattern, ...others] = twins.find(([own]) => own.test(name)) ?? [];
  return pattern === undefined ? [] : others.map((other) => name.replace(pattern, other));
}

/** The other name that a bias of an output head may have; some classes know only one of the two. */
export function otherHeadBias(name: string): string | undefined {
  const match = /^((?:.*\.)?(?:lm_head|predictions)\.)(decoder\.)?bias$/s.exec(name);
  return match === null ? undefined : `${match[1]}${match[2] === undefined ? "decoder." : ""}bias`;
}

/** `encoder.embed_tokens` and `decoder.embed_tokens` beside `shared`; `decoder.word_embeddings` beside `word_embeddings`. */
function isTowersName(name: string, embedding: string): boolean {
  const tower = towersPattern.exec(name);
  if (tower === null) return false;
  const [, before = "", , own = ""] = tower;
  const outside = before.replace(/text_$/, "");
  if (embedding === `${outside}shared.weight` || embedding === `${outside}${own}.weight`) return true;
  const other = towersPattern.exec(embedding);
  return other?.[1] === before && other[3] === own;
}

/** Names that the towers of a model have for the embedding that they share, where all that is stored is that. */
export function towersNames(embedding: string, tensors: Named): readonly string[] {
  const [, before, own] = /^((?:.*\.)?)(shared|word_embeddings)\.weight$/s.exec(embedding) ?? [];
  if (before === undefined) return [];
  const names = [...tensors.keys()].filter((name) => splitLayer(name) !== undefined);
  const towers = ["encoder", "decoder", "text_encoder", "text_decoder"].map((tower) => `${before}${tower}.`);
  return towers
    .filter((tower) => names.some((name) => name.startsWith(tower)))
    .map((tower) => `${tower}${own === "shared" ? "embed_tokens" : own}.weight`);
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

/**
 * Types in which the flag says more than that: how logits are scaled; whether blocks of Zamba, biases and patches of UDOP and the projections
 * of NeoMME are one. It is left as it stands.
 */
const saidByFlag: ReadonlySet<unknown> = new Set("t5 mt5 umt5 longt5 pop2piano zamba zamba2 udop neomme".split(" "));

export function isFlagOfMore(config: Config): boolean {
  return saidByFlag.has(config.model_type);
}
