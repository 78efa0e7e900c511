import { expect, test } from "vitest";
import type { Checkpoint } from "../../checkpoint/index.ts";
import { disagreements } from "../../recipe/config-check.ts";
import { type Config, configFacts } from "../../recipe/config-facts.ts";
import { bindModels } from "./binding.ts";
import { checkpointOf, tinyLlama } from "./checkpoints.ts";

const llama: Config = {
  model_type: "llama",
  hidden_size: 64,
  num_attention_heads: 8,
  num_key_value_heads: 2,
  hidden_act: "silu",
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  tie_word_embeddings: false,
  max_position_embeddings: 128,
  vocab_size: 32,
  num_hidden_layers: 4,
};

/** Keys with what was found and what was expected. */
function between(a: Config, b: Config) {
  return disagreements(configFacts(a), configFacts(b)).map(({ key, found, expected }) => [key, found, expected]);
}

test("how often ALBERT goes through its one layer is told, as no tensor tells it", () => {
  const albert = { model_type: "albert", num_hidden_layers: 12 };
  expect(between(albert, { ...albert, num_hidden_layers: 6 })).toEqual([["num_hidden_layers", 6, 12]]);
});

test.each(["mlp_alpha_factor", "linear_attn_beta_factor", "mixer_rms_eps"])("%s is compared", (key) => {
  expect(between({ ...llama, [key]: 1 }, { ...llama, [key]: 2 })).toEqual([[key, 2, 1]]);
});

test.each([
  [
    { key_multiplier: 0.5, ssm_multipliers: [1, 2], swiglu_limit: 7, time_step_limit: [0, Number.POSITIVE_INFINITY] },
    4,
  ],
  [{ attention_logit_cap: 30, hc_eps: 1e-6, route_scale: 2.5, compress_rope_theta: 1e6 }, 4],
  [
    { initializer_factor: 2, router_jitter_noise_eps: 1, router_z_loss_factor: 1, noise_scale: 2, depth_multiplier: 3 },
    0,
  ],
])(
  "factors and bounds of families that are not listed are compared by their look, training is not: %j",
  (facts, told) => {
    const zero = Object.fromEntries(
      Object.entries(facts).map(([key, value]) => [key, Array.isArray(value) ? [0, 0] : 0]),
    );
    expect(between({ ...llama, ...zero }, { ...llama, ...facts })).toHaveLength(told);
    expect(between({ ...llama, text_config: zero }, { ...llama, text_config: facts })).toHaveLength(told);
    expect(between(llama, { ...llama, ...facts })).toEqual([]);
  },
);

test.each([
  [{ num_attention_heads: 4 }, [["num_attention_heads", 4, 8]]],
  [{ num_key_value_heads: 8 }, [["num_key_value_heads", 8, 2]]],
  [{ head_dim: 16 }, [["head_dim", 16, 8]]],
  [{ rope_theta: 1e6 }, [["rope_theta", 1e6, 10_000]]],
  [{ rope_scaling: { rope_type: "linear", factor: 2 } }, [["rope_scaling", { type: "linear", factor: 2 }, null]]],
  [{ partial_rotary_factor: 0.5 }, []],
  [{ hidden_act: "gelu" }, [["hidden_act", "gelu", "silu"]]],
  [{ rms_norm_eps: 1e-6 }, [["rms_norm_eps", 1e-6, 1e-5]]],
  [{ sliding_window: 16 }, [["sliding_window", 16, null]]],
  [{ num_hidden_layers: 5 }, []],
  [
    { residual_multiplier: 0.22, logits_scaling: 8 },
    [
      ["residual_multiplier", 0.22, 1],
      ["logits_scaling", 8, 1],
    ],
  ],
  [{ final_logit_softcapping: 30 }, [["final_logit_softcapping", 30, null]]],
  [{ tie_word_embeddings: true }, [["tie_word_embeddings", true, false]]],
  [{ is_causal: false }, [["is_causal", false, true]]],
])("%j is told", (change, expected) => {
  expect(between(llama, { ...llama, ...change })).toEqual(expected);
  expect(between(llama, llama)).toEqual([]);
});

test("heads of one name in classes for different tasks are told, classes for one task are not", () => {
  const classes = (...names: string[]) => names.map((name) => ({ ...llama, architectures: [name] }));
  const [sequence, token, causal] = classes(
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "LlamaForCausalLM",
  );
  expect(between(sequence!, token!)).toEqual([["architectures", "TokenClassification", "SequenceClassification"]]);
  expect(between(sequence!, causal!)).toEqual([]);
  expect(between(sequence!, { ...llama, architectures: ["RobertaForSequenceClassification"] })).toEqual([]);
  expect(between(sequence!, { ...llama, architectures: null })).toEqual([]);
});

test.each<[string, Config, Config]>([
  ["how many positions are allowed", { max_position_embeddings: 256 }, { max_position_embeddings: 128 }],
  [
    "the first name of a scaling",
    { rope_scaling: { type: "su", short_factor: [1] } },
    { rope_scaling: { rope_type: "longrope", short_factor: [1] } },
  ],
  ["as many key and value heads as heads", { num_key_value_heads: 8 }, { num_key_value_heads: undefined }],
  ["a head's size that follows from the others", { head_dim: 8 }, {}],
  [
    "rope in its newer form",
    { rope_parameters: { rope_theta: 10_000, rope_type: "default" }, rope_theta: undefined },
    {},
  ],
  ["rope that nobody scales", { rope_scaling: null }, {}],
  [
    "two words for one scaling",
    { rope_scaling: { type: "linear", factor: 2 } },
    { rope_scaling: { rope_type: "linear", factor: 2 } },
  ],
  ["the theta that the type has", { rope_theta: undefined }, {}],
  ["the activation that the type has", { hidden_act: undefined }, {}],
  ["two words for one activation", { hidden_act: "swish" }, {}],
  ["multipliers of 1", { residual_multiplier: 1, embedding_multiplier: 1 }, {}],
  ["another size of vocabulary, another depth", { vocab_size: 64, num_hidden_layers: 8 }, {}],
  ["labels that stand in for names", { id2label: { 0: "LABEL_0" } }, { id2label: { 0: "good" } }],
  ["lists of layers of other depths", { layer_types: ["a"] }, { layer_types: ["a", "b"] }],
])("%s is no disagreement", (_, a, b) => {
  expect(between({ ...llama, ...a }, { ...llama, ...b })).toEqual([]);
});

test("names of one fact in different families are one fact", () => {
  const gpt = { model_type: "gpt2", n_embd: 64, n_head: 8, activation_function: "gelu_new", layer_norm_epsilon: 1e-5 };
  expect(between(gpt, { ...gpt, n_head: 4 })).toEqual([["n_head", 4, 8]]);
  expect(between(gpt, { ...gpt, activation_function: "gelu_pytorch_tanh" })).toEqual([]);
  expect(between(gpt, { ...gpt, scale_attn_by_inverse_layer_idx: true })).toEqual([
    ["scale_attn_by_inverse_layer_idx", true, false],
  ]);
});

test("what a type takes for granted differs between types", () => {
  const gemma = { model_type: "gemma2", hidden_size: 64, num_attention_heads: 8 };
  expect(between(gemma, { ...gemma, attn_logit_softcapping: 50, sliding_window: 4096 })).toEqual([]);
  expect(between(gemma, { ...gemma, attn_logit_softcapping: null })).toEqual([["attn_logit_softcapping", null, 50]]);
  const qwen = { ...llama, model_type: "qwen2", sliding_window: 4096 };
  expect(between(qwen, { ...qwen, sliding_window: 128 })).toEqual([]);
  expect(between({ ...qwen, use_sliding_window: true }, qwen)).toEqual([["sliding_window", null, 4096]]);
  const experts = { ...llama, model_type: "mixtral", rope_theta: undefined };
  expect(between(experts, { ...experts, rope_theta: 1e6, num_experts_per_tok: 2 })).toEqual([]);
  expect(between(experts, { ...experts, num_experts_per_tok: 1 })).toEqual([["num_experts_per_tok", 1, 2]]);
});

test("parts of a config count, the language model's as if it stood alone", () => {
  const vision = { hidden_size: 32, num_attention_heads: 4, patch_size: 14, hidden_act: "quick_gelu" };
  const both = { model_type: "llava", text_config: llama, vision_config: vision, vision_feature_layer: -2 };
  expect(between(both, { ...both, text_config: { ...llama, rope_theta: 5e5 } })).toEqual([["rope_theta", 5e5, 10_000]]);
  expect(between(both, { ...both, vision_config: { ...vision, patch_size: 16 } })).toEqual([
    ["vision_config.patch_size", 16, 14],
  ]);
  expect(between(both, { ...both, vision_feature_layer: -1 })).toEqual([["vision_feature_layer", -1, -2]]);
  expect(between(llama, { ...both, text_config: { ...llama, rms_norm_eps: 1e-6 } })).toEqual([
    ["rms_norm_eps", 1e-6, 1e-5],
  ]);
});

test("one set of rope for each type of layer is compared type by type", () => {
  const sets = { full: { rope_theta: 1e6, rope_type: "default" }, sliding: { rope_theta: 1e4, rope_type: "default" } };
  const other = { ...sets, sliding: { rope_theta: 1e5, rope_type: "default" } };
  expect(between({ ...llama, rope_parameters: sets }, { ...llama, rope_parameters: other })).toEqual([
    ["rope_parameters.sliding", { theta: 1e5 }, { theta: 1e4 }],
  ]);
});

test("a tied and an untied head are no disagreement: the output's config is made to say which; other facts are told as the first's", () => {
  const config = { model_type: "llama", architectures: ["LlamaForCausalLM"], num_hidden_layers: 1, rope_theta: 10000 };
  const own = checkpointOf(tinyLlama(1), { ...config, tie_word_embeddings: false });
  const tied = checkpointOf(tinyLlama(1).slice(0, -1), { ...config, tie_word_embeddings: true });
  const turned = checkpointOf(tinyLlama(1), { ...config, rope_theta: 500000, tie_word_embeddings: false });
  const told = (one: Checkpoint, two: Checkpoint) =>
    bindModels("merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a}, {model: b}]\n", { a: one, b: two });
  for (const binding of [told(own, tied), told(tied, own)]) {
    expect([binding.faults, binding.warnings]).toEqual([[], []]);
  }
  expect(told(tied, turned)).toMatchObject({
    configValues: [{ path: ["tie_word_embeddings"], value: false }],
    warnings: [
      {
        message: 'the config of "b" disagrees with that of "a": rope_theta 500000 instead of 10000',
        hint: 'Equal shapes mean different things there. The output has these from the config of "a".',
      },
    ],
  });
});
