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

/** Vocabularies of slow tokenizers, and of those that come with their own code, under whatever name. */
const vocabularyName =
  /(?:\.(?:tiktoken|spm|vocab|bpe|codes|dict)|\.model(?:\.v\d+)?|^(?:[\w-]*_)?(?:vocab|merges|bpe)[\w.-]*\.(?:txt|json)|^dict(?:ionary)?(?:\.\w+)?\.txt)$/;

/** What a loader may look for beside the weights, under whatever name: settings, processors, tokenizers, prompts, licences. */
const carriedNames: readonly RegExp[] = [
  vocabularyName,
  /(?:config|processor|token|template|prompt|normalizer|special|modules|router|id2label|label)[\w-]*\.json$/i,
  /^configuration\.json$/, // ModelScope
  /\.jinja2?$/,
  /licen[cs]e|^(?:notice|copying|copyright|use_policy|acceptable_use|terms|third[-_ ]?party|attribution)[\w .-]*$/i,
];

/** Of training, of other programs, of pages on the Hub: a loader of the model looks for none of these. */
const passedOverNames: readonly RegExp[] = [
  /^\./,
  /^(?:readme|model_?card|changelog|contributing|citation|security)[\w.-]*$/i,
  /\.(?:md|rst|png|jpe?g|gif|svg|webp|ico|bmp|pdf|mp4|mov|webm|wav|mp3|flac|ogg|ipynb|html|css|sh|bat|log|csv|tsv|parquet|jsonl|zip|gz|tar|lock)$/i,
  // Weights in other formats, or the same in another split
  /\.(?:ot|onnx_data|gguf|ggml|tflite|mlmodel|engine|pdparams|nemo|mar|tract)$/i,
  // The same endings belong to data that a loader reads beside the weights: tables of sounds, other networks.
  /^(?:[\w.-]*[_.-])?(?:model|weights|params|encoder|decoder)(?:[_.-][\w.-]*)?\.(?:h5|msgpack|onnx|npz|npy)$/i,
  /\.index\.json$|\.index\.\w+\.json$/,
  /^(?:pytorch_model|tf_model|flax_model|rust_model|consolidated|adapter_model)[\w.-]*$/,
  /^model(?:\.[\w-]+)?(?:-\d+-of-\d+)?\.safetensors$/,
  /^(?:params|adapter_config|quantization_map)\.json$/,
  // Training
  /^(?:training_args|optimizer|scheduler|scaler|rng_state|random_states|trainer_state|trainer|latest|zero_to_fp32|global_step|pytorch_model_fsdp|args|all_results|train_results|eval_results|predict_results|runs|events)[\w.-]*$/,
  /^(?:ds|deepspeed|zero\d?|train|training|trainer|accelerate|axolotl|sft|dpo|eval|peft|finetun\w*)[\w-]*config[\w-]*\.(?:json|ya?ml)$/i,
  /\.(?:ya?ml|toml|ini)$/i,
  /^requirements[\w-]*\.txt$|^setup\.(?:py|cfg)$|^dockerfile|^makefile/i,
  // Of merges
  /^(?:mergekit_config\.yml|deltaworks\.manifest\.json|SHA256SUMS|sha256sums?(?:\.txt)?|checksums?(?:\.\w+)?)$/,
];

const passedOverFolders =
  /^(?:\..*|onnx|openvino|coreml|tflite|gguf|mlx|original|metal|runs|logs?|wandb|mlruns|tensorboard|checkpoint-\d+|global_step\d+|epoch_?\d+|assets?|images?|imgs?|figures?|figs?|pictures?|media|docs?|examples?|samples?|demos?|tests?|scripts?|eval\w*|results?|benchmarks?|inference|finetun\w*|train\w*|cookbook|__pycache__|\.git)$/i;

/** What is to become of a file beside the weights, by its name alone. "code": carried where the model comes with code. */
export function judgeFile(name: string): "carried" | "code" | "passed over" | "hidden" | "unknown" {
  const own = name.slice(name.lastIndexOf("/") + 1);
  if (name.split("/").some((part) => part.startsWith(".") || part === "__pycache__")) return "hidden";
  if (companionNames.has(own)) return "carried";
  if (passedOverNames.slice(2).some((pattern) => pattern.test(own)) && !isLicence(own)) return "passed over";
  if (carriedNames.some((pattern) => pattern.test(own))) return "carried";
  if (passedOverNames.some((pattern) => pattern.test(own))) return "passed over";
  return /\.(?:py|pyi|cu|cuh|cpp|cc|c|h|hpp)$/.test(own) ? "code" : "unknown";
}

export function judgeFolder(name: string): "passed over" | "unknown" {
  return passedOverFolders.test(name) ? "passed over" : "unknown";
}

/** Whether a file is code that a loader may run. */
export function isCode(name: string): boolean {
  return judgeFile(name) === "code";
}

function isLicence(name: string): boolean {
  return carriedNames.at(-1)?.test(name) === true;
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

/** What quantisers write beside config.json: it tells of codes. */
export function isQuantizerFile(name: string): boolean {
  return /^(?:hf_quant|quantize|quant|recipe|quantization)_config\.json$/.test(name);
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
  if (slowTokenizerNames.has(name) || (!name.includes("/") && vocabularyName.test(name))) return "slow-tokenizer";
  if (tokenizerNames.has(name)) return "tokenizer";
  return name.startsWith("chat_template.") || name.startsWith(`${CHAT_TEMPLATES_FOLDER}/`) ? "chat-template" : "other";
}
