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

/** A folder of more chat templates (*.jinja), as transformers writes it. */
export const CHAT_TEMPLATES_FOLDER = "additional_chat_templates";
