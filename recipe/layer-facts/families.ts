import type { Json } from "../../merge/work/index.ts";
import { type Derivation, derivedNumbersRule, derivedRule, each, firstOf, withNumbers } from "./derived-rules.ts";
import { type Config, type LayerRule, maybeCount } from "./layer-rule.ts";
import { attentionTypesRule, cycleRule, lettersRule, listRule, sourceLayerRule } from "./listed-rules.ts";
import {
  countRule,
  everyRule,
  lastRule,
  periodRule,
  placeRule,
  positionRule,
  thresholdRule,
  unsolved,
  withinRule,
} from "./position-rules.ts";

/**
 * What families read of their layers that does not show in their configs: lists that they make by themselves where config.json lacks
 * them, and numbers whose meaning their names do not tell. By `model_type`; from the configurations of transformers 5.24.
 */
export function familyRules(modelType: unknown): readonly LayerRule[] {
  if (typeof modelType !== "string") return [];
  // The first layer of SAM's decoders of masks adds no positions, and they are as deep as their small networks.
  return (
    rulesByType.get(modelType) ??
    (modelType.endsWith("_mask_decoder") ? [placeRule("model_type", () => true, true)] : [])
  );
}

const [full, sliding, linear, chunked] = [
  "full_attention",
  "sliding_attention",
  "linear_attention",
  "chunked_attention",
];
const [dense, sparse] = ["dense", "sparse"];

const layerTypes = (from: readonly string[], derive: Derivation) => derivedRule("layer_types", from, derive);
const mlpTypes = (from: readonly string[], derive: Derivation) => derivedRule("mlp_layer_types", from, derive);

/** Full attention in every nth layer, counted from 1, sliding windows between. */
const fullEach = (every: number, key?: string, shift = 1, between: Json = sliding) =>
  layerTypes(key === undefined ? [] : [key], each(key ?? every, every, full, between, shift));

const fullEachAndLast = (every: number) =>
  layerTypes([], (_, layer, count) => ((layer + 1) % every === 0 || layer === count - 1 ? full : sliding));

const linearEach = (every: number, key = "full_attention_interval") => fullEach(every, key, 1, linear);

/** Sliding windows from a layer on, where they are asked for at all. */
const windowsAfter = layerTypes(["max_window_layers", "use_sliding_window"], (config, layer) =>
  usesWindows(config) && layer >= (maybeCount(config, "max_window_layers") ?? 28) ? sliding : full,
);

const windowsBefore = layerTypes(["max_window_layers", "use_sliding_window"], (config, layer) =>
  usesWindows(config) && (layer + 1) % 2 !== 0 && layer < (maybeCount(config, "max_window_layers") ?? 28)
    ? sliding
    : full,
);

const usesWindows = (config: Config) => config.use_sliding_window === true && config.sliding_window !== null;

const denseFirst = (fallback: number) =>
  mlpTypes(["first_k_dense_replace", "moe_layer_freq"], (config, layer) => {
    const frequency = config.moe_layer_freq;
    const isSparse = Array.isArray(frequency)
      ? Boolean(frequency[layer])
      : layer % Math.max(1, Number(frequency ?? 1)) === 0;
    return layer >= (maybeCount(config, "first_k_dense_replace") ?? fallback) && isSparse ? sparse : dense;
  });

/** DeepSeek and GLM without a list: the first layers are dense, and of the others every `moe_layer_freq`th has experts. */
const denseByNumber = (fallback: number) =>
  positionRule({
    keys: ["first_k_dense_replace", "moe_layer_freq"],
    is(config, layer) {
      const frequency = config.moe_layer_freq ?? 1;
      if (typeof frequency !== "number") return undefined;
      return layer < (maybeCount(config, "first_k_dense_replace") ?? fallback) || layer % Math.max(1, frequency) !== 0;
    },
    *trials({ moe_layer_freq: frequency }, count) {
      for (let first = 0; first <= count; first++) yield { first_k_dense_replace: first };
      if (frequency === undefined || frequency === 1) return;
      for (let first = 0; first <= count; first++) yield { first_k_dense_replace: first, moe_layer_freq: 1 };
    },
  });

/** Qwen: experts in every nth layer but for those that are listed. */
const listedDense: LayerRule = {
  keys: ["mlp_only_layers", "decoder_sparse_step"],
  at({ mlp_only_layers: listed, decoder_sparse_step: step }, layer) {
    const isSparse = (layer + 1) % Math.max(1, Number(step ?? 1)) === 0;
    return String(isSparse && !(Array.isArray(listed) && listed.includes(layer)));
  },
  solve({ decoder_sparse_step: step }, wanted) {
    const listed = wanted.flatMap((isSparse, layer) => (isSparse === "true" ? [] : [layer]));
    return { mlp_only_layers: listed, ...(step !== undefined && step !== 1 && { decoder_sparse_step: 1 }) };
  },
};

/** Switch: so many layers with experts as the key says, evenly spread; the step between them is worked out from it, whatever is written. */
function countedSparse(key: string, stepKey: string): LayerRule {
  const stepOf = (sparse: number, count: number) => (sparse > 0 ? Math.floor(count / sparse) : count);
  return positionRule({
    keys: [key, stepKey],
    is(config, layer, count) {
      const step = stepOf(maybeCount(config, key) ?? 3, count);
      return step > 0 && (step === 1 || layer % step === 1);
    },
    *trials(config, count) {
      for (let sparse = 0; sparse <= count; sparse++) {
        yield { [key]: sparse, ...(Object.hasOwn(config, stepKey) && { [stepKey]: stepOf(sparse, count) }) };
      }
    },
  });
}

/** Evolla: as many aligners as the key says, evenly spread. */
const alignedRule = positionRule({
  keys: ["aligner_num_add_layers"],
  is(config, layer, count) {
    const aligners = maybeCount(config, "aligner_num_add_layers") ?? 8;
    return aligners > 0 && (layer + 1) % Math.max(1, Math.floor(count / aligners)) === 0;
  },
  *trials(_, count) {
    for (let aligners = 1; aligners <= count; aligners++) yield { aligner_num_add_layers: aligners };
  },
});

/** ERNIE 4.5: experts in every nth layer between two. An end of -1 is the last layer. */
const betweenRule = positionRule({
  keys: ["moe_layer_start_index", "moe_layer_end_index", "moe_layer_interval"],
  is(config, layer, count) {
    const [start, interval] = [config.moe_layer_start_index ?? 1, config.moe_layer_interval ?? 1].map(Number);
    const end = Number(config.moe_layer_end_index ?? -1);
    return (
      (layer + 1) % Math.max(1, interval ?? 1) === 0 && layer >= (start ?? 1) && layer <= (end < 0 ? count - 1 : end)
    );
  },
  *trials({ moe_layer_interval: interval }, count) {
    const every = interval !== undefined && interval !== 1 ? [{}, { moe_layer_interval: 1 }] : [{}];
    for (const more of every)
      for (let start = 0; start < count; start++)
        for (let end = start; end < count; end++)
          yield { moe_layer_start_index: start, moe_layer_end_index: end, ...more };
  },
});

const ropeEach = (fallback: number) =>
  derivedRule("no_rope_layers", ["no_rope_layer_interval"], (config, layer) =>
    (layer + 1) % (maybeCount(config, "no_rope_layer_interval") ?? fallback) === 0 ? 0 : 1,
  );

const indexerTypes = derivedRule(
  "indexer_types",
  ["index_topk_pattern", "index_topk_freq", "index_skip_topk_offset"],
  (config, layer) => {
    const { index_topk_pattern: pattern } = config;
    if (typeof pattern === "string") return pattern[layer] === "F" ? "full" : "shared";
    if (Array.isArray(pattern)) return pattern[layer] as Json;
    const [frequency, offset] = [
      maybeCount(config, "index_topk_freq") ?? 1,
      maybeCount(config, "index_skip_topk_offset") ?? 2,
    ];
    return Math.max(layer - offset + 1, 0) % Math.max(1, frequency) === 0 ? "full" : "shared";
  },
);

const kvShared = lastRule("num_kv_shared_layers");
const blockTypes = (derive: Derivation) =>
  derivedRule("layers_block_type", ["attn_layer_period", "attn_layer_offset"], derive);

/** Zamba2 and its kin: the layers with attention use a few blocks in turn, each layer its own part of them. */
const sharedBlocks: LayerRule = {
  keys: ["num_mem_blocks"],
  at(config, layer) {
    const blocks = maybeCount(config, "num_mem_blocks") ?? 1;
    const types = config.layers_block_type ?? config.layer_types;
    if (!Array.isArray(types) || types[layer] !== "hybrid") return "none";
    const before = types.slice(0, layer).filter((type) => type === "hybrid").length;
    return String(before % Math.max(1, blocks));
  },
  solve: () => undefined,
};

/** Llama 4: chunks where positions are rotated. */
const chunkedTypes = layerTypes(["attention_chunk_size"], (config, layer) => {
  const rope = Array.isArray(config.no_rope_layers)
    ? config.no_rope_layers[layer]
    : (layer + 1) % (maybeCount(config, "no_rope_layer_interval") ?? 4);
  return rope && config.attention_chunk_size !== null ? chunked : full;
});

const smolTypes = layerTypes(["use_sliding_window"], (config, layer) => {
  const rope = Array.isArray(config.no_rope_layers)
    ? config.no_rope_layers[layer]
    : (layer + 1) % (maybeCount(config, "no_rope_layer_interval") ?? 4);
  return config.use_sliding_window === true && !rope ? sliding : full;
});

const moeEach = derivedNumbersRule("moe_layers", ["interleave_moe_layer_step"], (config, layer) => {
  const step = maybeCount(config, "interleave_moe_layer_step") ?? 1;
  return step > 0 && (layer + 1) % step === 0;
});

const attentionIn = withNumbers(
  layerTypes(["full_attn_idxs"], ({ full_attn_idxs: listed }, layer) =>
    !Array.isArray(listed) || listed.includes(layer) ? full : "conv",
  ),
  ({ full_attn_idxs: listed }, numbersOf) => (Array.isArray(listed) ? { full_attn_idxs: numbersOf(full) } : {}),
);

/** Gemma 3n: the first ten layers of a deep model are sparse. */
const sparsity = derivedRule("activation_sparsity_pattern", [], (config, layer, count) => {
  const given = config.activation_sparsity_pattern;
  if (given !== undefined && given !== null && !Array.isArray(given)) return given as Json;
  return count > 10 && layer < 10 ? 0.95 : 0.0;
});

const kimiTypes = withNumbers(
  layerTypes(["linear_attn_config"], ({ linear_attn_config: linearConfig }, layer) => {
    const listed = (linearConfig as Config | undefined)?.full_attn_layers;
    if (!Array.isArray(listed)) return layer > 0 && layer % 4 === 0 ? full : linear;
    return listed.includes(layer + 1) ? full : linear;
  }),
  ({ linear_attn_config: linearConfig }, numbersOf) => {
    const counted = (kind: Json) => numbersOf(kind).map((layer) => layer + 1); // from 1
    const lists = { full_attn_layers: counted(full), kda_layers: counted(linear) };
    const said = Object.entries(lists).filter(([key]) => Array.isArray((linearConfig as Config | undefined)?.[key]));
    if (said.length === 0) return {};
    return { linear_attn_config: { ...(linearConfig as Readonly<Record<string, Json>>), ...Object.fromEntries(said) } };
  },
);

const rulesByType: ReadonlyMap<string, readonly LayerRule[]> = byType([
  [["gemma2", "gpt_oss", "vaultgemma", "t5_gemma_module", "t5gemma"], [fullEach(2)]],
  [["gemma3", "gemma3_text", "t5gemma2", "t5gemma2_text", "t5gemma2_decoder"], [fullEach(6, "sliding_window_pattern")]],
  [
    ["gemma3n", "gemma3n_text"],
    [fullEach(5), kvShared, sparsity, listRule("intermediate_size")],
  ],
  [
    ["gemma4", "gemma4_text", "gemma4_unified_text", "diffusion_gemma_text", "embedding_gemma2_text"],
    [
      derivedRule("layer_types", ["sliding_window_pattern"], each("sliding_window_pattern", 6, full, sliding), full),
      kvShared,
    ],
  ],
  [["cohere2", "exaone4", "exaone4_5_text", "cohere_compass_text"], [fullEach(4, "sliding_window_pattern")]],
  [
    ["exaone_moe"],
    [
      fullEach(4, "sliding_window_pattern"),
      mlpTypes(["first_k_dense_replace"], firstOf("first_k_dense_replace", 1, dense, sparse)),
    ],
  ],
  [
    ["cohere2_moe"],
    [
      layerTypes(["sliding_window_pattern", "prefix_dense_sliding_window_pattern"], (config, layer, count) => {
        const before = maybeCount(config, "first_k_dense_replace") ?? 0;
        if (layer < before) return each("prefix_dense_sliding_window_pattern", 1, full, sliding)(config, layer, count);
        return each("sliding_window_pattern", 4, full, sliding)(config, layer - before, count);
      }),
      mlpTypes(["first_k_dense_replace"], firstOf("first_k_dense_replace", 0, dense, sparse)),
    ],
  ],
  [["olmo3", "muse_spark_text", "muse_glimmer_text", "dory"], [fullEach(4)]],
  [["beam"], [fullEachAndLast(6), mlpTypes([], (_, layer) => (layer < 3 ? dense : sparse))]],
  [["kolibri1"], [fullEach(5)]],
  [["ultrabert"], [fullEach(3)]],
  [["neomme"], [fullEachAndLast(6)]],
  [["granite_swa", "granitemoe_swa"], [fullEach(4, undefined, 0)]],
  [["cwm"], [fullEach(4, "window_pattern", 0)]],
  [["modernbert", "modernbert-decoder"], [fullEach(3, "global_attn_every_n_layers", 0)]],
  [["afmoe"], [fullEach(4, "global_attn_every_n_layers"), thresholdRule("num_dense_layers")]],
  [
    ["flint"],
    [
      layerTypes([], (_, layer, count) => (layer < 2 || layer % 4 === 1 || layer === count - 1 ? full : sliding)),
      listedDense,
    ],
  ],
  [
    ["inkling2_text", "inkling2_loop_text"],
    [
      layerTypes([], each(6, 6, "hybrid", "hybrid_sliding")),
      // The numbers must fit each other, and what spans several layers was trained as it is.
      unsolved(everyRule("n_layers_per_attn_res_block", 0, 6)),
      unsolved(withinRule("loop_layer_index_start", "loop_layer_index_end")),
    ],
  ],
  [
    ["inkling_text"],
    [
      layerTypes(["local_layer_ids"], ({ local_layer_ids: listed }, layer) => {
        const isLocal = Array.isArray(listed) ? listed.includes(layer) : (layer + 1) % 6 !== 0;
        return isLocal ? "hybrid_sliding" : "hybrid";
      }),
      mlpTypes(["dense_mlp_idx"], firstOf("dense_mlp_idx", 0, dense, sparse)),
    ],
  ],
  [
    ["qwen2", "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text", "qwen2_5_omni_text", "qwen2_5_omni_talker"],
    [windowsAfter],
  ],
  [["qwen3", "qwen3_omni_moe_talker_code_predictor", "deepseek_ocr2_encoder"], [windowsAfter]],
  [["dots1"], [windowsAfter, denseByNumber(0)]],
  [["qwen2_moe"], [windowsBefore, listedDense]],
  [["qwen3_moe", "qwen3_vl_moe_text", "qwen3_omni_moe_text", "qwen3_omni_moe_talker_text"], [listedDense]],
  [["qwen3_next"], [linearEach(4), listedDense]],
  [["qwen3_5_text", "qwen3_5_moe_text", "qwen3_5", "qwen3_5_moe", "olmo_hybrid"], [linearEach(4)]],
  // How fast linear attention forgets depends on the place, in the whole.
  [["minimax"], [layerTypes([], each(2, 2, linear, full)), placeRule("model_type", () => true, true)]],
  [
    ["bailing_hybrid"],
    [
      linearEach(6, "layer_group_size"),
      mlpTypes(["first_k_dense_replace"], firstOf("first_k_dense_replace", 2, dense, sparse)),
    ],
  ],
  [
    ["kimi_linear"],
    [kimiTypes, mlpTypes(["first_k_dense_replace"], firstOf("first_k_dense_replace", 1, dense, sparse))],
  ],
  [
    ["mimo_v2_flash"],
    [
      layerTypes([], (_, layer) => (layer === 0 || (layer + 1) % 6 === 0 ? full : sliding)),
      mlpTypes([], (_, layer) => (layer === 0 ? dense : sparse)),
    ],
  ],
  [["deepseek_v2", "deepseek_v3", "glm4_moe", "glm4v_moe_text", "youtu", "solar_open"], [denseByNumber(0)]],
  [
    ["axk1", "axk2", "unlimited_ocr_text", "glm4_moe_lite", "hy_v3", "hy_v4", "hy_v4_vl_text", "laguna"],
    [denseFirst(1)],
  ],
  [["deepseek_v32", "step3p5"], [denseFirst(3)]],
  [
    ["glm_moe_dsa", "glm5_next_text"],
    [denseFirst(3), indexerTypes],
  ],
  [["mistral_large4_text"], [denseFirst(1), indexerTypes, ropeEach(4), sourceLayerRule("kv_source_layers")]],
  [["ernie4_5_moe"], [betweenRule]],
  [["ernie4_5_vl_moe_text"], [denseFirst(1)]],
  [["lfm2"], [attentionIn]],
  [["lfm2_moe"], [thresholdRule("num_dense_layers")]],
  [
    ["llama4", "llama4_text"],
    [ropeEach(4), chunkedTypes, moeEach],
  ],
  [["smollm3"], [ropeEach(4), smolTypes]],
  [
    ["jamba"],
    [periodRule("attn_layer_period", "attn_layer_offset"), periodRule("expert_layer_period", "expert_layer_offset")],
  ],
  [
    ["zamba"],
    [
      blockTypes((config, layer) => {
        if (layer < 3) return layer === 2 ? "hybrid" : linear;
        const [period, offset] = [
          maybeCount(config, "attn_layer_period") ?? 6,
          maybeCount(config, "attn_layer_offset") ?? 4,
        ];
        return (layer - 3) % Math.max(1, period) === offset ? "hybrid" : linear;
      }),
    ],
  ],
  [["zamba2"], [sharedBlocks]],
  [["nemotron_h"], [lettersRule("hybrid_override_pattern")]],
  [["recurrent_gemma"], [cycleRule("block_types", true)]],
  [["gpt_neo"], [attentionTypesRule]],
  [["idefics"], [everyRule("cross_layer_interval", 0, 1)]],
  [["evolla"], [alignedRule]],
  [
    ["switch_transformers"],
    [
      countedSparse("num_sparse_encoder_layers", "encoder_sparse_step"),
      countedSparse("num_sparse_decoder_layers", "decoder_sparse_step"),
    ],
  ],
  [
    ["nllb-moe", "nllb_moe"],
    [everyRule("encoder_sparse_step", 1), everyRule("decoder_sparse_step", 1)],
  ],
  [["gpt2", "decision_transformer", "imagegpt"], [placeRule("scale_attn_by_inverse_layer_idx")]],
  [["pegasus_x"], [placeRule("stagger_local_blocks")]],
  // The layer's number seeds its random blocks, or sets how its two attentions are weighed.
  [
    ["big_bird", "bigbird_pegasus"],
    [placeRule("attention_type", ({ attention_type: type }) => type !== "original_full")],
  ],
  [["diffllama"], [placeRule("model_type", () => true)]],
  // How far a layer's result counts depends on how many there are.
  [
    ["qwen2_5_omni_dit"],
    [
      derivedNumbersRule("look_ahead_layers", [], (_, layer) => layer === 10),
      derivedNumbersRule("look_backward_layers", [], (_, layer) => layer === 0 || layer === 20),
    ],
  ],
  [["muse_glimmer_vision", "muse_spark_vision"], [fullEach(4, undefined, 1, "window_attention")]],
  [
    ["granite_speech5_encoder", "granite_speech_encoder", "granite_speech_plus_encoder"],
    [placeRule("model_type", () => true, true)],
  ],
  [["esmc"], [countRule("model_type")]],
]);

function byType(
  table: readonly (readonly [readonly string[], readonly LayerRule[]])[],
): ReadonlyMap<string, readonly LayerRule[]> {
  return new Map(table.flatMap(([types, rules]) => types.map((type) => [type, rules] as const)));
}
