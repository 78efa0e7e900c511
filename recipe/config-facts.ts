/** A config.json as parsed. */
export type Config = Readonly<Record<string, unknown>>;

/** What a config says that shapes do not show. */
export interface ConfigFact {
  /** Under which name it stands there, with its part; of several names the first. */
  readonly key: string;
  readonly value: unknown;
  /** It does not stand there: it is what the type takes for granted. */
  readonly isAssumed: boolean;
}

/** A fact by the names that it has in the families in use. */
interface Known {
  readonly keys: readonly string[];
  /** What is meant where no key stands there, unless the type says otherwise; left out: not known, and nothing is said. */
  readonly otherwise?: unknown;
  /** What differs in writing only becomes one. */
  readonly like?: (value: unknown, config: Config) => unknown;
}

const known: readonly Known[] = [
  // One layer that is gone through again and again; of others the tensors tell how many there are.
  { keys: ["num_hidden_layers"], like: (value, config) => (config.model_type === "albert" ? value : undefined) },
  // attention
  { keys: ["num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads"] },
  { keys: ["decoder_attention_heads"] },
  {
    keys: ["num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num"],
    otherwise: "as heads",
    like: asHeads,
  },
  { keys: ["head_dim", "attention_head_dim", "d_kv", "kv_channels"], otherwise: "as heads", like: asHeadDim },
  { keys: ["qk_rope_head_dim"] },
  { keys: ["qk_nope_head_dim"] },
  { keys: ["v_head_dim"] },
  { keys: ["sliding_window"], otherwise: null, like: slidingWindow },
  { keys: ["attention_window"] },
  { keys: ["max_window_layers"], like: (value, config) => (config.use_sliding_window === true ? value : null) },
  { keys: ["sliding_window_pattern", "full_attention_interval", "global_attn_every_n_layers"] },
  { keys: ["layer_types"] },
  { keys: ["attention_layers", "attention_types"] },
  { keys: ["no_rope_layers", "no_rope_layer_interval"] },
  { keys: ["attention_chunk_size"] },
  { keys: ["query_pre_attn_scalar"] },
  { keys: ["attention_multiplier", "attn_scale", "softmax_scale"] },
  { keys: ["attn_logit_softcapping", "attn_logit_softcap"], otherwise: null },
  { keys: ["scale_attn_weights"], otherwise: true },
  { keys: ["scale_attn_by_inverse_layer_idx"], otherwise: false },
  { keys: ["clip_qkv"], otherwise: null },
  { keys: ["use_qk_norm", "qk_layernorm"], otherwise: false },
  { keys: ["alibi", "use_alibi"], otherwise: false },
  { keys: ["position_embedding_type"], otherwise: "absolute" },
  { keys: ["relative_attention_num_buckets"] },
  { keys: ["relative_attention_max_distance"] },
  { keys: ["is_causal"], otherwise: true },
  { keys: ["is_decoder"], otherwise: false },
  { keys: ["use_bidirectional_attention"], otherwise: false, like: (value) => value ?? false },
  // Positions: rope is looked at as a whole below. How many are allowed says nothing of what a weight means (learned ones are rows of a
  // tensor, whose shapes are compared), and base and instruct of one family mostly differ in it.
  // activations and norms
  {
    keys: [
      "hidden_activation",
      "hidden_act",
      "activation_function",
      "activation",
      "ffn_act_fn",
      "act_fn",
      "dense_act_fn",
    ],
    like: activation,
  },
  { keys: ["feed_forward_proj"], like: activation },
  { keys: ["projector_hidden_act"], like: activation },
  { keys: ["classifier_activation"], like: activation },
  { keys: ["rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "layernorm_epsilon", "norm_eps", "norm_epsilon"] },
  { keys: ["mixer_rms_eps"] },
  { keys: ["parallel_attn", "use_parallel_residual"] },
  { keys: ["do_layer_norm_before"], otherwise: true },
  { keys: ["apply_residual_connection_post_layernorm"], otherwise: false },
  // multipliers
  { keys: ["embedding_multiplier", "scale_emb"], otherwise: 1 },
  { keys: ["residual_multiplier"], otherwise: 1 },
  { keys: ["scale_depth"], otherwise: 1 },
  { keys: ["logits_scaling"], otherwise: 1 },
  { keys: ["logit_scale", "logits_scale"] },
  { keys: ["dim_model_base"] },
  { keys: ["final_logit_softcapping", "logit_softcap", "logits_soft_cap"], otherwise: null },
  { keys: ["scale_embedding"], otherwise: false },
  { keys: ["scale_decoder_outputs"] },
  { keys: ["full_attn_alpha_factor"] }, // MiniMax, and the following
  { keys: ["full_attn_beta_factor"] },
  { keys: ["linear_attn_alpha_factor"] },
  { keys: ["linear_attn_beta_factor"] },
  { keys: ["mlp_alpha_factor"] },
  { keys: ["mlp_beta_factor"] },
  { keys: ["lm_head_multiplier"], otherwise: 1 },
  // experts
  {
    keys: [
      "num_experts_per_tok",
      "num_experts_per_token",
      "moe_topk",
      "moe_k",
      "top_k_experts",
      "num_selected_experts",
    ],
  },
  { keys: ["norm_topk_prob"] },
  { keys: ["routed_scaling_factor"], otherwise: 1 },
  { keys: ["scoring_func"] },
  { keys: ["topk_method"] },
  { keys: ["n_group"] },
  { keys: ["topk_group"] },
  { keys: ["decoder_sparse_step", "moe_layer_freq", "expert_layer_period"] },
  { keys: ["first_k_dense_replace"] },
  { keys: ["mlp_only_layers"], otherwise: [] },
  // ties, classes, pictures
  { keys: ["tie_word_embeddings"] },
  { keys: ["architectures"], like: taskOfHead },
  { keys: ["id2label"], like: labels },
  { keys: ["problem_type"], otherwise: null },
  { keys: ["image_size"] },
  { keys: ["patch_size"] },
  { keys: ["spatial_merge_size"] },
  { keys: ["downsample_ratio", "scale_factor"] },
  { keys: ["vision_feature_layer"] },
  { keys: ["vision_feature_select_strategy"] },
];

const knownKeys: ReadonlySet<string> = new Set(known.flatMap(({ keys }) => keys));

/** What a layer computes with, by its look, in families of which nothing is listed: factors, bounds, what norms add. */
const factorKey =
  /(?:^|_)(?:multipliers?|factors?|scal(?:e|es|ing)|(?:soft_?)?cap(?:ping)?|softcap(?:ping)?|eps(?:ilon)?|theta|alpha|beta|gamma|limits?|norm_min)$/;
/** Of training, and sizes that shapes tell. */
const otherFactorKey =
  /init|loss|dropout|jitter|noise|momentum|rescale_|sampl|dim_|channel|^width|^depth|ffn_|ff_|(?:down|up)scale|focal|matcher|image|conv_|(?:^|_)use_|^lora_|^peft_/;

/** What configs of a type leave out because their class has it: by the first of the names above. */
const ofLlamas = { rms_norm_eps: 1e-6, hidden_activation: "silu", tie_word_embeddings: false };
const ofGemmas = { rms_norm_eps: 1e-6, hidden_activation: "gelu_new", tie_word_embeddings: true };
const ofTypes: Readonly<Record<string, Config>> = {
  llama: ofLlamas,
  mistral: { ...ofLlamas, sliding_window: 4096 },
  mixtral: { ...ofLlamas, rms_norm_eps: 1e-5, rope_theta: 1e6, num_experts_per_tok: 2 },
  qwen2: ofLlamas,
  qwen3: ofLlamas,
  qwen2_moe: { ...ofLlamas, norm_topk_prob: false, num_experts_per_tok: 4 },
  qwen3_moe: { ...ofLlamas, norm_topk_prob: false, num_experts_per_tok: 8 },
  phi3: { ...ofLlamas, rms_norm_eps: 1e-5 },
  gemma: ofGemmas,
  gemma2: {
    ...ofGemmas,
    ...{ attn_logit_softcapping: 50, final_logit_softcapping: 30, query_pre_attn_scalar: 256, sliding_window: 4096 },
  },
  gemma3_text: { ...ofGemmas, query_pre_attn_scalar: 256, sliding_window: 4096, rope_theta: 1e6 },
  gpt_oss: { rope_theta: 150_000 },
  llama4_text: { rope_theta: 500_000 },
};

/** Parts that are about the language model: what stands there is compared with what others say at the top. */
const textParts: ReadonlySet<string> = new Set([
  "text_config",
  "llm_config",
  "language_config",
  "language_model_config",
  "thinker_config",
]);

/** All facts of a config by what they are, those of other parts with the part's name before them. */
export function configFacts(config: Config): ReadonlyMap<string, ConfigFact> {
  const facts = new Map<string, ConfigFact>();
  collect(config, "", facts);
  return facts;
}

function collect(config: Config, part: string, facts: Map<string, ConfigFact>): void {
  // What the language model's part says counts, whatever stands at the top as well.
  const put = (name: string, key: string, value: unknown, isAssumed: boolean) =>
    facts.set(`${part}${name}`, { key: `${part}${key}`, value, isAssumed });
  const isOuter = Object.entries(config).some(([key, value]) => textParts.has(key) && isConfig(value));
  const ofType = (typeof config.model_type === "string" && ofTypes[config.model_type]) || {};
  for (const { keys, otherwise, like } of known) {
    const [name = ""] = keys;
    const key =
      keys.find((one) => config[one] !== null && config[one] !== undefined) ?? keys.find((one) => one in config);
    const value = key === undefined ? (ofType[name] ?? otherwise) : config[key];
    if (value === undefined || (key === undefined && isOuter)) continue;
    const plain = like === undefined ? value : like(value, config);
    if (plain !== undefined) put(name, key ?? name, plain, key === undefined);
  }
  for (const [key, value] of Object.entries(config)) {
    if (knownKeys.has(key) || ropeKeys.includes(key) || !factorKey.test(key) || otherFactorKey.test(key)) continue;
    if (typeof value === "number" || (Array.isArray(value) && value.every((one) => typeof one === "number")))
      put(key, key, value, false);
  }
  const saysRope = ropeKeys.some((key) => config[key] !== undefined && config[key] !== null);
  for (const [key, value] of isOuter ? [] : rope(config, ofType.rope_theta ?? 10_000)) {
    if (value !== undefined) put(key, key, value, !saysRope);
  }
  for (const [key, value] of Object.entries(config)) {
    if (!isConfig(value) || key === "rope_parameters" || key === "rope_scaling" || key === "id2label") continue;
    if (!/_config$|^(?:vision|audio|text|visual|encoder|decoder|language_model)$/.test(key)) continue;
    if (/quantization|compression|generation/.test(key)) continue;
    collect(value, textParts.has(key) ? part : `${part}${key}.`, facts);
  }
}

const ropeKeys = ["rope_theta", "rotary_emb_base", "rope_parameters", "rope_scaling", "partial_rotary_factor"];

/** Rotary embeddings, as both the older keys and the newer `rope_parameters` say it. */
function rope(config: Config, usualTheta: unknown): [string, unknown][] {
  const { rope_parameters: parameters, rope_scaling: scaling } = config;
  if (isConfig(parameters) && Object.values(parameters).some(isConfig)) {
    // One set for each type of layer.
    return Object.entries(parameters).flatMap(([type, own]): [string, unknown][] =>
      isConfig(own) ? [[`rope_parameters.${type}`, { ...scalingOf(own), theta: own.rope_theta ?? usualTheta }]] : [],
    );
  }
  const own = isConfig(parameters) ? parameters : {};
  const theta = own.rope_theta ?? config.rope_theta ?? config.rotary_emb_base;
  const partial = own.partial_rotary_factor ?? config.partial_rotary_factor ?? config.rotary_pct ?? config.rope_pct;
  return [
    ["rope_theta", theta ?? usualTheta],
    ["rope_scaling", scalingOf(isConfig(parameters) ? parameters : isConfig(scaling) ? scaling : {})],
    ["partial_rotary_factor", partial],
    ["rotary_dim", config.rotary_dim],
    ["rope_local_base_freq", config.rope_local_base_freq],
    ["rope_interleave", config.rope_interleave],
  ];
}

/** Null where positions are not scaled. */
function scalingOf(scaling: Config): Config | null {
  const { rope_type: type = scaling.type, rope_theta: _, type: __, partial_rotary_factor: ___, ...rest } = scaling;
  if (type === undefined || type === null || type === "default") {
    // Sections of several kinds of positions count without a type, too.
    return rest.mrope_section === undefined ? null : { mrope_section: rest.mrope_section };
  }
  return { type: type === "su" ? "longrope" : type, ...rest }; // Phi-3's first name for it
}

/** Key and value heads: as many as heads where a config does not say. */
function asHeads(value: unknown, config: Config): unknown {
  const heads = config.num_attention_heads ?? config.n_head ?? config.n_heads ?? config.num_heads;
  if (typeof value === "number") return value;
  if (config.multi_query === true) return 1;
  return typeof heads === "number" ? heads : undefined;
}

function asHeadDim(value: unknown, config: Config): unknown {
  if (typeof value === "number") return value;
  const hidden = config.hidden_size ?? config.n_embd ?? config.d_model;
  const heads = config.num_attention_heads ?? config.n_head ?? config.n_heads ?? config.num_heads;
  return typeof hidden === "number" && typeof heads === "number" && heads > 0 ? hidden / heads : undefined;
}

/** Qwen's configs hold a window that is off unless they say that it is on. */
function slidingWindow(value: unknown, { use_sliding_window: isOn, model_type: type }: Config): unknown {
  const isOff = isOn === false || (isOn === undefined && typeof type === "string" && /^qwen[23]/.test(type));
  return isOff ? null : value;
}

/** Classes that have a head under one name, and mean different things by it. */
function taskOfHead(value: unknown): unknown {
  const [architecture] = Array.isArray(value) ? (value as readonly unknown[]) : [];
  if (typeof architecture !== "string") return undefined;
  return /For((?:(?:Text|Sequence|Token|Image|Audio|Video)(?:Encoding)?Classification)|MultipleChoice|RewardModel)$/.exec(
    architecture,
  )?.[1];
}

/** Names that were given; those that stand in for them say nothing. */
function labels(value: unknown): unknown {
  const names = isConfig(value) ? Object.values(value) : [];
  return names.length === 0 || names.every((name) => /^LABEL_\d+$/.test(String(name))) ? undefined : value;
}

const sameActivations: Readonly<Record<string, string>> = {
  swish: "silu",
  gelu_pytorch_tanh: "gelu_new",
  gelu_fast: "gelu_new",
  gelu_python: "gelu",
};

function activation(value: unknown, config: Config): unknown {
  const name = isConfig(value) ? value.name : value;
  if (typeof name !== "string") return undefined;
  // Gemma takes the approximation, whatever its first configs said.
  if (config.model_type === "gemma" && name === "gelu") return "gelu_new";
  return sameActivations[name] ?? name;
}

function isConfig(value: unknown): value is Config {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
