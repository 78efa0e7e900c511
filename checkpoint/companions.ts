/** Files beside the weights that belong to the model and are carried along; config.json is none of them. */
const companionNames: ReadonlySet<string> = new Set([
  "added_tokens.json",
  "audio_tokenizer_config.json",
  "chat_template.jinja",
  "chat_template.json",
  "feature_extractor_config.json",
  "generation_config.json",
  "image_processor_config.json",
  "merges.txt",
  "normalizer.json",
  "preprocessor_config.json",
  "processor_config.json",
  "sentencepiece.bpe.model",
  "special_tokens_map.json",
  "spiece.model",
  "spm.model",
  "tekken.json",
  "tokenizer.json",
  "tokenizer.model",
  "tokenizer_config.json",
  "video_preprocessor_config.json",
  "vocab.bpe",
  "vocab.json",
  "vocab.txt",
]);

export function isCompanion(name: string): boolean {
  return companionNames.has(name);
}

const idNames: ReadonlySet<string> = new Set([
  "feature_extractor_config.json",
  "generation_config.json",
  "image_processor_config.json",
  "preprocessor_config.json",
  "processor_config.json",
  "video_preprocessor_config.json",
]);

/** Whether a companion is a config that may name tokens by their ids. The tokenizer's own files are none. */
export function mayNameTokenIds(name: string): boolean {
  return idNames.has(name);
}

/** A folder of more chat templates (*.jinja), as transformers writes it. */
export const CHAT_TEMPLATES_FOLDER = "additional_chat_templates";

/** Files that only slow tokenizers read: they hold the normal tokens in a form of their own. */
const slowTokenizerNames: ReadonlySet<string> = new Set([
  "merges.txt",
  "sentencepiece.bpe.model",
  "spiece.model",
  "spm.model",
  "tekken.json",
  "tokenizer.model",
  "vocab.bpe",
  "vocab.json",
  "vocab.txt",
]);

const tokenizerNames: ReadonlySet<string> = new Set([
  ...slowTokenizerNames,
  "added_tokens.json",
  "normalizer.json",
  "special_tokens_map.json",
  "tokenizer.json",
  "tokenizer_config.json",
]);

/** What a companion of a checkpoint is about. */
export function companionKind(name: string): "tokenizer" | "slow-tokenizer" | "chat-template" | "other" {
  if (slowTokenizerNames.has(name)) return "slow-tokenizer";
  if (tokenizerNames.has(name)) return "tokenizer";
  return name.startsWith("chat_template.") || name.startsWith(`${CHAT_TEMPLATES_FOLDER}/`) ? "chat-template" : "other";
}
