import type { Checkpoint } from "./checkpoint.ts";

/** A tensor of a layer: `<prefix>.<layer>.<suffix>`. */
export interface LayerName {
  readonly prefix: string;
  readonly layer: number;
  readonly suffix: string;
}

/** The first `.<number>.` in a name is its layer; later ones count experts and the like. */
const layerPattern = /^(.*?)\.(\d{1,9})\.(.*)$/s;

/** Undefined for tensors that belong to no layer. */
export function splitLayer(name: string): LayerName | undefined {
  const match = layerPattern.exec(name);
  if (match === null) return undefined;
  const [, prefix = "", layer = "", suffix = ""] = match;
  return { prefix, layer: Number(layer), suffix };
}

/** The name with another layer number. A name without a layer stays as it is. */
export function renumbered(name: string, layer: number): string {
  const split = splitLayer(name);
  return split === undefined ? name : `${split.prefix}.${layer}.${split.suffix}`;
}

/**
 * Modules that follow the layers, as they are called in the families in use. A name is matched by its modules, so
 * that prefixes (`model.`, `transformer.`, `language_model.model.`) do not matter.
 */
const modulesAfterLayers: ReadonlySet<string> = new Set([
  // Final norms
  "norm", // Llama, Mistral, Qwen, Gemma, InternLM
  "ln_f", // GPT-2, GPT-J, Falcon, BLOOM
  "norm_f", // Mamba, MPT, DBRX
  "ln_out", // RWKV
  "final_norm", // ModernBERT
  "final_layernorm", // Phi, Persimmon, ChatGLM
  "final_layer_norm", // GPT-NeoX, OPT, T5, Whisper
  "embedding_norm", // LFM2: despite its name the norm at the end
  "project_out", // OPT-350m
  // Output heads
  "lm_head",
  "embed_out", // GPT-NeoX
  "output_projection", // BioGPT, TrOCR
  "output_layer", // ChatGLM
  "cls", // BERT
  "pooler",
  "classifier",
  "score",
  "qa_outputs",
  "v_head", // TRL
  "value_head",
  "final_logits_bias", // BART
  "lm_loss", // XLNet
  "pred_layer", // XLM, FlauBERT
  "mlm_score", // ViLT
  "vocab_transform", // DistilBERT
  "vocab_layer_norm",
  "vocab_projector",
  "generator_predictions", // ELECTRA
  "generator_lm_head",
  "discriminator_predictions",
  "predictions", // ALBERT
]);

/** Heads for a task, which classes for other tasks ignore. */
const taskHeads: ReadonlySet<string> = new Set([
  ...["cls", "classifier", "score", "qa_outputs", "v_head", "value_head", "seq_relationship", "sop_classifier"],
  ...["vocab_transform", "vocab_layer_norm", "generator_predictions", "discriminator_predictions", "predictions"],
]);

/** Whether a tensor without a layer number belongs to a head that only classes for its task have. */
export function isTaskHead(name: string): boolean {
  return splitLayer(name) === undefined && name.split(".").some((module) => taskHeads.has(module));
}

/** Heads whose names mean something else further inside. */
const headsAtTheTop = /^(?:model\.)?(?:output|head|decoder|proj_out)\.(?:norm\.|dense\.|decoder\.)?(?:weight|bias)$/; // InternLM2, RWKV, ModernBERT, Whisper
const embeddingModule = /^(?:word_|token_|tok_)?embed(?:ding)?s?(?:_tokens|_in)?$/;

/** Whether a tensor without a layer number follows the layers: final norm or output head. Others come before them. */
export function isAfterLayers(name: string): boolean {
  if (splitLayer(name) !== undefined) return false;
  const modules = name.split(".");
  if (modules.some((module) => embeddingModule.test(module))) return false; // embeddings.norm of ModernBERT
  return headsAtTheTop.test(name) || modules.some((module) => modulesAfterLayers.has(module));
}

/** Ends of the names of tensors that have one row (or element) a token. */
const vocabularyTensors: readonly RegExp[] = [
  /(?:^|\.)embed_tokens(?:_per_layer)?\.weight$/, // Llama, Mistral, Qwen, Gemma, Phi, OPT, T5's copies
  /(?:^|\.)tokens_embed\.weight$/, // GPT
  /(?:^|\.)value_embeddings\.weight$/, // NeoMME, beside its embedding
  /(?:^|\.)token_embedding\.weight$/, // CLIP, SigLIP
  /^(?:transformer\.)?embeddings\.weight$/, // XLM, FlauBERT; Mamba and RWKV without a head
  /^(?:transformer\.)?w\.weight$/, // CTRL
  /^(?:cpmant\.)?input_embedding\.weight$/,
  /(?:^|\.)wte\.weight$/, // GPT-2, GPT-J, Falcon-like, MPT
  /(?:^|\.)word_embeddings?\.weight$/, // BERT, BLOOM, Falcon, ChatGLM
  /(?:^|\.)tok_embeddings\.weight$/, // InternLM2, ModernBERT
  /(?:^|\.)embed_(?:in|out)\.(?:weight|bias)$/, // GPT-NeoX
  /^(?:[a-z_]+\.)*shared\.weight$/, // T5, BART, LED; Florence-2 beside other towers
  /^(?:(?:language_model|backbone|rwkv|model)\.)+embeddings?\.weight$/, // Mamba, RWKV; Nemotron-H beside other towers
  /(?:^|\.)lm_head\.(?:(?:decoder|out_proj)\.)?(?:weight|bias)$/, // Llama and many more; RoBERTa with `decoder`, T5Gemma with `out_proj`
  /^(?:model\.)?proj_out\.weight$/, // Whisper
  /(?:^|\.)output_projection\.weight$/, // BioGPT, TrOCR
  /(?:^|\.)cls\.predictions\.(?:decoder\.)?(?:weight|bias)$/, // BERT; its head is tied, its bias is not
  /(?:^|\.)predictions\.decoder\.(?:weight|bias)$|^predictions\.bias$/, // ALBERT
  /(?:^|\.)vocab_projector\.(?:weight|bias)$/, // DistilBERT
  /(?:^|\.)generator_lm_head\.(?:weight|bias)$/, // ELECTRA
  /(?:^|\.)(?:lm_loss|pred_layer\.proj|head\.decoder)\.(?:weight|bias)$/, // XLNet; XLM, FlauBERT; UltraBERT
  /(?:^|\.)mlm_score\.(?:decoder\.)?(?:weight|bias)$/, // ViLT
  /(?:^|\.)output_layer\.weight$/, // ChatGLM
  /(?:^|\.)final_logits_bias$/, // BART
  /^(?:model\.)?(?:output|head|decoder)\.(?:weight|bias)$/, // InternLM2, RWKV, ModernBERT
];

/** Whether a tensor's first dimension is the vocabulary: input and output embeddings and what goes with them. */
export function isEmbeddingLike(name: string): boolean {
  return vocabularyTensors.some((pattern) => pattern.test(name));
}

/**
 * Whether a tensor holds several experts, one after another along its first dimension: `experts.gate_up_proj` of Mixtral, Llama 4 or
 * gpt-oss, `block_sparse_moe.input_linear.weight` of Granite. Experts with numbers in their names are tensors of their own.
 */
export function holdsExperts(name: string, shape: readonly number[]): boolean {
  const isFused = /(?:^|\.)(?:experts|block_sparse_moe)\.(?!\d)(?:\w+\.)?\w+$/.test(name);
  return isFused && (shape.length === 3 || (shape.length === 2 && /bias$/.test(name)));
}

const perceptionTensors =
  /(?:^|\.)(?:patch_embed(?:dings?|der)?|feature_extractor|feature_encoder|feature_projection|subsampl\w*)\./;

/** Whether a tensor turns pictures or sounds into what layers take: of patches, or a convolution. */
export function isPerception(name: string, shape: readonly number[]): boolean {
  return perceptionTensors.test(name) || (shape.length >= 3 && /conv|patch|stem|projection/.test(name));
}

const optionalTensors: readonly RegExp[] = [
  /\.bias$/, // families come with and without; GPT-2's causal mask is called attn.bias, too
  /(?:^|\.)pooler\./,
  /(?:^|\.)relative_attention_bias\.weight$/, // T5: in the first layer of each stack only
  // Output heads and copies of the input embedding, which many checkpoints tie to it and leave out
  /(?:^|\.)lm_head\.(?:(?:decoder|out_proj)\.)?weight$/,
  /^(?:model\.)?proj_out\.weight$/,
  /(?:^|\.)output_projection\.weight$/,
  /(?:^|\.)cls\.predictions\.decoder\.weight$/,
  /(?:^|\.)predictions\.decoder\.weight$/,
  /(?:^|\.)vocab_projector\.weight$/,
  /(?:^|\.)generator_lm_head\.weight$/,
  /(?:^|\.)output_layer\.weight$/,
  /^(?:model\.)?(?:encoder|decoder)\.embed_tokens\.weight$/,
  /^decoder\.weight$/,
];

/** Whether a model may lack the tensor: it then takes no part in that tensor. `config`: of the model that has it. */
export function isOptional(name: string, config?: Checkpoint["config"]): boolean {
  return optionalTensors.some((pattern) => pattern.test(name)) || isComputedByName(name, config);
}

const computedTensors: readonly RegExp[] = [
  /(?:^|\.)rotary_emb\.(?:(?:original_)?inv_freq|cos_cached|sin_cached)$/,
  /(?:^|\.)masked_bias$/,
  /(?:^|\.)(?:position|token_type)_ids$/,
  /(?:^|\.)(?:encoder|decoder)\.(?:version|embed_positions\.(?:weights|_float_tensor))$/, // fairseq's; sinusoids
];

/** Sinusoids under a name that is a learned table in other models. From the classes of transformers 5.24 that fill them in. */
const sinusoids: readonly { readonly types: readonly string[]; readonly name: RegExp; readonly flag?: string }[] = [
  {
    types: ["autoformer", "fsmt", "informer", "marian", "pegasus", "roformer", "time_series_transformer"],
    name: /(?:^|\.)(?:encoder|decoder)\.embed_positions\.weight$/,
  },
  { types: ["whisper"], name: /(?:^|\.)encoder\.embed_positions\.weight$/ },
  { types: ["distilbert"], name: /(?:^|\.)position_embeddings\.weight$/, flag: "sinusoidal_pos_embds" },
  { types: ["flaubert", "xlm"], name: /(?:^|\.)position_embeddings\.weight$/, flag: "sinusoidal_embeddings" },
];

function isComputedByName(name: string, config: Checkpoint["config"]): boolean {
  if (computedTensors.some((pattern) => pattern.test(name))) return true;
  return sinusoids.some(({ types, name: pattern, flag }) => {
    const isOfType = types.some((type) => type === config?.model_type) && pattern.test(name);
    return isOfType && (flag === undefined || config?.[flag] === true);
  });
}

/**
 * Whether a tensor holds what its model computes by itself when it is built: rotary frequencies, positions, the causal mask [1, 1, n, n]
 * that GPT-2 and GPT-NeoX call `bias`. Older programs stored these, newer ones do not. `config`: of the model that has it.
 */
export function isComputed(name: string, shape: readonly number[], config?: Checkpoint["config"]): boolean {
  if (isComputedByName(name, config)) return true;
  const [batch, heads, rows, columns] = shape;
  const isMask = shape.length === 4 && batch === 1 && heads === 1 && rows === columns;
  return isMask && /(?:^|\.)(?:attn|attention)\.bias$/.test(name);
}

export interface LayerCountKey {
  /** Keys from the top of the config, such as ["text_config", "num_hidden_layers"]. */
  readonly path: readonly string[];
  readonly count: number;
}

const countKeys = ["num_hidden_layers", "n_layer", "num_layers", "n_layers"];
export const nestedConfigs = [
  "text_config",
  "llm_config",
  "language_config",
  "language_model_config",
  "thinker_config",
  "vlm_config",
];

/** Where a config holds its number of layers: at the top, else in the language model's part. */
export function layerCountKey(config: Readonly<Record<string, unknown>>): LayerCountKey | undefined {
  for (const key of countKeys) {
    const count = ownValue(config, key);
    if (typeof count === "number" && Number.isSafeInteger(count) && count >= 0) return { path: [key], count };
  }
  for (const key of nestedConfigs) {
    const nested = ownValue(config, key);
    if (typeof nested !== "object" || nested === null || Array.isArray(nested)) continue;
    const found = layerCountKey(nested as Record<string, unknown>);
    if (found !== undefined) return { path: [key, ...found.path], count: found.count };
  }
  return undefined;
}

/** A list of the kinds of layers, or a letter for each: it counts them where a config has no number of them (Nemotron-H). */
const kindLists = ["layers_block_type", "layer_types", "hybrid_override_pattern"];

/** The keys that list a kind for each layer, in a part of a config that has no number of them; and how many there are. */
export function listedLayers(
  config: Readonly<Record<string, unknown>>,
): { keys: readonly string[]; count: number } | undefined {
  const lists = kindLists.flatMap((key) => {
    const value = ownValue(config, key);
    return (Array.isArray(value) || typeof value === "string") && value.length > 0
      ? [[key, value.length] as const]
      : [];
  });
  const [[, count] = ["", 0]] = lists;
  return count > 0 && lists.every(([, length]) => length === count)
    ? { keys: lists.map(([key]) => key), count }
    : undefined;
}

/** How many tokens a config counts, at the top, else in the language model's part. */
export function vocabularySize(config: Readonly<Record<string, unknown>>): number | undefined {
  for (const holder of textConfigs(config)) {
    const size = ownValue(holder.config, "vocab_size");
    if (typeof size === "number" && Number.isSafeInteger(size) && size >= 0) return size;
  }
  return undefined;
}

/** Of tables that are not the language model's, and of kinds of tokens. */
const otherVocabularies =
  /image|audio|vision|speech|codec|code_|type_|per_layer|semantic|coarse|phone|char|src|bigram|ngram|hash/;

/**
 * Where a config counts its tokens: everywhere that it does, also by second names that say the same (`padded_vocab_size`); where it
 * does not yet, the innermost part that is about text.
 */
export function vocabularySizeKeys(config: Readonly<Record<string, unknown>>): readonly (readonly string[])[] {
  const holders = textConfigs(config);
  const counting = holders.filter((holder) => ownValue(holder.config, "vocab_size") !== undefined);
  const chosen = counting.length > 0 ? counting : holders.slice(-1);
  const firstNames = chosen.map(({ path }) => [...path, "vocab_size"]);
  const size = vocabularySize(config);
  const secondNames = holders.flatMap(({ path, config: part }) =>
    Object.keys(part)
      .filter(
        (key) =>
          key !== "vocab_size" && /vocab(?:ulary)?_(?:size|len)$|^n_vocab$/.test(key) && !otherVocabularies.test(key),
      )
      .filter((key) => key === "padded_vocab_size" || (size !== undefined && part[key] === size))
      .map((key) => [...path, key]),
  );
  return [...firstNames, ...secondNames];
}

interface ConfigPart {
  readonly path: readonly string[];
  readonly config: Readonly<Record<string, unknown>>;
}

/** A config and the parts of it that are about the language model, from the outside in. */
export function textConfigs(config: Readonly<Record<string, unknown>>, path: readonly string[] = []): ConfigPart[] {
  const inside = nestedConfigs.flatMap((key) => {
    const nested = ownValue(config, key);
    if (typeof nested !== "object" || nested === null || Array.isArray(nested)) return [];
    return textConfigs(nested as Record<string, unknown>, [...path, key]);
  });
  return [{ path, config }, ...inside];
}

/** How many layers a checkpoint has: what its config says, else one more than the highest layer number; 0 without layers. */
export function layerCount(checkpoint: Pick<Checkpoint, "config" | "tensors">): number {
  const key = checkpoint.config === undefined ? undefined : layerCountKey(checkpoint.config);
  if (key !== undefined) return key.count;
  let count = 0;
  for (const name of checkpoint.tensors.keys()) count = Math.max(count, (splitLayer(name)?.layer ?? -1) + 1);
  return count;
}

function ownValue(object: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}
