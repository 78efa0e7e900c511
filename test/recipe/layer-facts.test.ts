import { describe, expect, test } from "vitest";
import { followLayers } from "../../recipe/layer-facts/follow-layers.ts";
import type { Config, Origin } from "../../recipe/layer-facts/layer-rule.ts";

const moved = [0, 1, 2, 1, 2, 3];

/** A config of four layers with `facts`, of which the output has layers 0 1 2 1 2 3. */
function followed(facts: Config, layers: readonly number[] = moved, count = 4) {
  const config = { model_type: "llama", num_hidden_layers: count, ...facts };
  const origins = layers.map((layer): Origin => ({ config, count, layer }));
  return followLayers({ config, count, origins, isOther: () => false });
}

const lostKeys = (facts: Config, layers?: readonly number[], count?: number) =>
  followed(facts, layers, count).lost.flatMap(({ keys }) => keys);

describe("lists of one entry a layer", () => {
  test.each([
    [{ layer_types: ["a", "b", "c", "d"] }, { layer_types: ["a", "b", "c", "b", "c", "d"] }],
    [{ num_kv_heads: [1, 2, 3, 4] }, { num_kv_heads: [1, 2, 3, 2, 3, 4] }],
    [
      { block_configs: [{ n: 0 }, { n: 1 }, { n: 2 }, { n: 3 }] },
      { block_configs: [0, 1, 2, 1, 2, 3].map((n) => ({ n })) },
    ],
    [{ sliding_window: [512, null, 512, null] }, { sliding_window: [512, null, 512, null, 512, null] }],
    [{ never_heard_of: [0.1, 0.2, 0.3, 0.4] }, { never_heard_of: [0.1, 0.2, 0.3, 0.2, 0.3, 0.4] }],
    [{ no_rope_layers: [1, 1, 1, 0] }, { no_rope_layers: [1, 1, 1, 1, 1, 0] }],
    // Beyond the count: of a layer that predicts further tokens.
    [{ layer_types: ["a", "b", "c", "d", "mtp"] }, { layer_types: ["a", "b", "c", "b", "c", "d", "mtp"] }],
    [
      { per_layer_config: { 1: { w: 1 }, 3: { w: 3 } } },
      { per_layer_config: { 1: { w: 1 }, 3: { w: 1 }, 5: { w: 3 } } },
    ],
    [{ hybrid_override_pattern: "M-*E" }, { hybrid_override_pattern: "M-*-*E" }],
    [
      { attention_types: [[["global", "local"], 2]] },
      { attention_types: [[["global", "local", "global", "local", "global", "local"], 1]] },
    ],
    [{ model_type: "mistral_large4_text", kv_source_layers: [0, 0, 2, 2] }, { kv_source_layers: [0, 0, 2, 0, 4, 4] }],
  ])("%j", (facts, values) => {
    const { values: found, lost } = followed(facts);
    expect(found).toMatchObject(values);
    expect(lost).toEqual([]);
  });

  test.each([
    { rope_scaling: { short_factor: [1, 2, 3, 4] } },
    { architectures: ["A", "B", "C", "D"] },
    { eos_token_id: [1, 2, 3, 4] },
    { image_mean: [1, 2, 3, 4] },
    { conv_kernel: [3, 3, 3, 3] },
    { id2label: { 0: "a", 1: "b" } },
    { hidden_act: "gelu", model_name: "abcd" },
    { rope_theta: [1, 2, 3, 4, 5] },
    { quantization_levels: [4, 4, 4, 4] },
    { summary_idxs: [0, 2] },
    { encode_proj_layers: [2] },
  ])("%j is about something else", (facts) => {
    expect(followed(facts)).toMatchObject({ values: {}, lost: [] });
  });

  test("of few layers only where their names say so: two numbers may be anything", () => {
    expect(followed({ time_limit: [0, 1], layer_types: ["a", "b"] }, [0, 1, 0, 1], 2).values).toEqual({
      layer_types: ["a", "b", "a", "b"],
    });
  });

  test("take from another model what it says of its layers, one value for all of them as well", () => {
    const config = { num_hidden_layers: 4, widths: [1, 2, 3, 4], layer_types: ["a", "b", "a", "b"] };
    const others = [
      { widths: [5, 6, 7, 8, 9], layer_types: ["c", "c", "c", "c", "d"] },
      { widths: 7, layer_types: ["e", "e", "e", "e", "e"] },
    ];
    const [second, third] = others.map((facts) => ({ num_hidden_layers: 5, ...facts }));
    const origins = [
      { config, count: 4, layer: 0 },
      { config: second!, count: 5, layer: 4 },
      { config: third!, count: 5, layer: 2 },
    ];
    expect(followLayers({ config, count: 4, origins, isOther: () => false })).toMatchObject({
      values: { widths: [1, 9, 7], layer_types: ["a", "d", "e"] },
      lost: [],
    });
    const silent = { num_hidden_layers: 5 };
    const unknown = followLayers({
      config,
      count: 4,
      origins: [{ config: silent, count: 5, layer: 1 }],
      isOther: () => false,
    });
    expect(unknown.lost.map(({ keys }) => keys[0])).toEqual(["widths", "layer_types"]);
  });
});

describe("lists of numbers of layers", () => {
  test.each([
    "mlp_only_layers",
    "attn_layer_indices",
    "full_attn_idxs",
    "cross_attention_layers",
    "moe_layers",
    "hybrid_layer_ids",
    "global_attn_layers",
    "fullatt_block_indexes",
  ])("%s", (key) => {
    expect(followed({ [key]: [1, 3] })).toMatchObject({ values: { [key]: [1, 3, 5] }, lost: [] });
    expect(followed({ [key]: [0, 1, 2, 3] }).values).toEqual({ [key]: [0, 1, 2, 3, 4, 5] });
  });

  test("past the end are of nothing", () => {
    expect(followed({ global_attn_indexes: [1, 7, 15] })).toMatchObject({
      values: { global_attn_indexes: [1, 3] },
      lost: [],
    });
  });

  test("of layers whose outputs are read point to the one place where these went, or are named", () => {
    expect(followed({ extract_layers: [0, 3] })).toMatchObject({ values: { extract_layers: [0, 5] }, lost: [] });
    expect(followed({ out_indices: [1, 3] })).toMatchObject({ values: {}, lost: [{ keys: ["out_indices"] }] });
  });

  test("within other parts are named: what they count from is not known", () => {
    expect(followed({ linear_attn_config: { full_attn_layers: [2, 4] } }).lost).toEqual([
      { keys: ["linear_attn_config.full_attn_layers"], layers: [] },
    ]);
  });
});

describe("what follows from the place", () => {
  test.each([
    ["attn_layer_period", 2],
    ["sliding_window_pattern", 2],
    ["first_k_dense_replace", 1],
    ["moe_every_n_layers", 2],
  ])("stays as it is where it holds: %s %i", (key, value) => {
    expect(followed({ [key]: value })).toMatchObject({ values: {}, lost: [] });
  });

  test.each([
    ["attn_layer_period", 3],
    ["expert_layer_period", 4],
    ["full_attention_interval", 3],
    ["global_attn_every_n_layers", 3],
    ["sliding_window_pattern", 4],
    ["moe_layer_freq", 3],
    ["decoder_sparse_step", 3],
    ["interleave_moe_layer_step", 3],
    ["no_rope_layer_interval", 4],
    ["first_k_dense_replace", 2],
    ["max_window_layers", 2],
    ["num_kv_shared_layers", 2],
    ["sliding_window_pattern", "LLG"],
  ])("is named where it does not, with the layers: %s %s", (key, value) => {
    const { values, lost } = followed({ [key]: value });
    expect(values).toEqual({});
    expect(lost).toMatchObject([{ keys: [key] }]);
    expect(lost[0]?.layers).not.toEqual([]);
  });

  test.each([
    { rope_theta: 3 },
    { num_key_value_heads: 3 },
    { rope_local_base_freq: 3 },
    { sliding_window: 3 },
    { mask_time_prob_every: 3 },
    { num_nextn_predict_layers: 2 },
  ])("%j says nothing of layers", (facts) => {
    expect(followed(facts)).toMatchObject({ values: {}, lost: [] });
  });

  // What the families make by themselves becomes a list, where they read one.
  const [full, sliding, linear] = ["full_attention", "sliding_attention", "linear_attention"];
  test.each([
    [{ model_type: "gemma2" }, [0, 1, 1], { layer_types: [sliding, full, full] }],
    [{ model_type: "gemma3_text", sliding_window_pattern: 2 }, [0, 1, 1], { layer_types: [sliding, full, full] }],
    [
      { model_type: "gemma3_text", layer_types: [full, full, sliding, sliding], sliding_window_pattern: 6 },
      [3, 0],
      { layer_types: [sliding, full] },
    ],
    [{ model_type: "qwen3_next", full_attention_interval: 4 }, [3, 0], { layer_types: [full, linear] }],
    [
      { model_type: "qwen2", use_sliding_window: true, sliding_window: 8, max_window_layers: 2 },
      [3, 0],
      { layer_types: [sliding, full] },
    ],
    [
      { model_type: "llama4_text", interleave_moe_layer_step: 2 },
      [1, 0, 3],
      { moe_layers: [0, 2], no_rope_layers: [1, 1, 0] },
    ],
    [
      { model_type: "qwen3_moe", decoder_sparse_step: 2, mlp_only_layers: [3] },
      [1, 1, 3],
      { decoder_sparse_step: 1, mlp_only_layers: [2] },
    ],
    [{ model_type: "recurrent_gemma", block_types: ["r", "r", "a"] }, [2, 0], { block_types: ["a", "r"] }],
    [
      { model_type: "jamba", attn_layer_period: 4, attn_layer_offset: 3 },
      [3, 0, 3, 0],
      { attn_layer_period: 2, attn_layer_offset: 0 },
    ],
    [
      { model_type: "ernie4_5_moe", moe_layer_start_index: 2, moe_layer_end_index: 3, moe_layer_interval: 1 },
      [0, 2, 3, 2, 0],
      { moe_layer_start_index: 1 },
    ],
    [{ model_type: "deepseek_v3", first_k_dense_replace: 2 }, [0, 1, 1, 2], { first_k_dense_replace: 3 }],
    [
      {
        model_type: "kimi_linear",
        linear_attn_config: { full_attn_layers: [4], kda_layers: [1, 2, 3] },
        first_k_dense_replace: 1,
      },
      [3, 0],
      {
        layer_types: [full, linear],
        linear_attn_config: { full_attn_layers: [1], kda_layers: [2] },
      },
    ],
    [{ model_type: "lfm2", full_attn_idxs: [1, 3] }, [0, 2, 3], { full_attn_idxs: [2] }],
    [
      { model_type: "lfm2", full_attn_idxs: [1, 3], layer_types: ["conv", full, "conv", full] },
      [0, 2, 3],
      { full_attn_idxs: [2] },
    ],
    [
      { model_type: "gemma3n_text", num_kv_shared_layers: 1, intermediate_size: 8 },
      [0, 3, 3],
      { num_kv_shared_layers: 2 },
    ],
  ])("%j", (facts, layers, values) => {
    expect(followed(facts as Config, layers as number[])).toMatchObject({ values, lost: [] });
  });

  test("is named by the type where a family makes of the place what no key says", () => {
    for (const type of ["diffllama", "minimax", "sam_mask_decoder"])
      expect(lostKeys({ model_type: type }, [0, 1, 1, 2])).toEqual(["model_type"]);
    // The number of layers alone is enough.
    expect(lostKeys({ model_type: "esmc" }, [0, 1, 2])).toEqual(["model_type"]);
    expect(lostKeys({ model_type: "minicpm3", scale_depth: 1.4 }, [0, 1, 2])).toEqual(["scale_depth"]);
    expect(lostKeys({ model_type: "diffllama" }, [0, 1, 2])).toEqual([]);
  });

  test("a last layer that a family takes for another than its list says is named", () => {
    const types = { layer_types: [sliding, full, sliding, full] };
    expect(followed({ model_type: "gemma4_text", ...types }, [0, 1, 2])).toMatchObject({
      lost: [{ keys: ["layer_types"], layers: [2] }],
    });
    expect(followed({ model_type: "gemma4_text", ...types }, [0, 3])).toMatchObject({
      values: { layer_types: [sliding, full] },
      lost: [],
    });
  });

  test("of a family, and no value can say it", () => {
    expect(lostKeys({ model_type: "deepseek_v3", first_k_dense_replace: 1 }, [0, 1, 0, 1])).toEqual([
      "first_k_dense_replace",
    ]);
    expect(lostKeys({ model_type: "jamba", attn_layer_period: 4, attn_layer_offset: 1 }, [1, 1, 0, 1])).toEqual([
      "attn_layer_period",
      "attn_layer_offset",
    ]);
    expect(lostKeys({ model_type: "gpt2", scale_attn_by_inverse_layer_idx: true })).toEqual([
      "scale_attn_by_inverse_layer_idx",
    ]);
  });
});

test("what is scaled by the number of layers is told, in whatever type", () => {
  expect(lostKeys({ model_type: "minicpm", scale_depth: 1.4 })).toEqual(["scale_depth"]);
});

test("a step that is worked out from how many layers there are is that of the output", () => {
  const layers = [0, 1, 2, 3, 2, 3];
  const sparse = { model_type: "switch_transformers", num_sparse_encoder_layers: 2, encoder_sparse_step: 2 };
  expect(followed(sparse, layers)).toMatchObject({ values: { num_sparse_encoder_layers: 3 }, lost: [] });
  // One of three layers after the first: no number of them gives such a step.
  expect(lostKeys(sparse, [0, 1, 2, 3, 1])).toContain("num_sparse_encoder_layers");
  const aligned = { model_type: "evolla", aligner_num_add_layers: 2 };
  expect(followed(aligned, layers)).toMatchObject({ values: { aligner_num_add_layers: 3 }, lost: [] });
});
