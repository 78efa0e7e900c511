import { expect, test } from "vitest";
import {
  isAfterLayers,
  isComputed,
  isEmbeddingLike,
  isOptional,
  layerCount,
  layerCountKey,
  openCheckpoint,
  renumbered,
  splitLayer,
} from "../../checkpoint/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";

test.each([
  ["model.layers.12.mlp.up_proj.weight", { prefix: "model.layers", layer: 12, suffix: "mlp.up_proj.weight" }],
  ["h.0.attn.bias", { prefix: "h", layer: 0, suffix: "attn.bias" }],
  ["model.layers.3.mlp.experts.7.w1", { prefix: "model.layers", layer: 3, suffix: "mlp.experts.7.w1" }],
  ["model.layers.12", undefined],
  ["12.weight", undefined],
  ["model.layer12.weight", undefined],
  ["lm_head.weight", undefined],
])("splitLayer(%s) takes the first number between dots", (name, expected) => {
  expect(splitLayer(name)).toEqual(expected);
});

test("renumbered changes the layer and no later number", () => {
  expect(renumbered("model.layers.3.mlp.experts.3.w1", 10)).toBe("model.layers.10.mlp.experts.3.w1");
  expect(renumbered("lm_head.weight", 10)).toBe("lm_head.weight");
});

/** Names of real checkpoints: what is before the layers, after them, and what has a row a token. */
const families: Record<string, { before: string[]; after: string[]; vocabulary: string[] }> = {
  Llama: {
    before: ["model.embed_tokens.weight"],
    after: ["model.norm.weight", "lm_head.weight"],
    vocabulary: ["model.embed_tokens.weight", "lm_head.weight"],
  },
  "GPT-2": {
    before: ["transformer.wte.weight", "transformer.wpe.weight", "wte.weight"],
    after: ["transformer.ln_f.weight", "ln_f.bias", "lm_head.weight"],
    vocabulary: ["transformer.wte.weight", "wte.weight", "lm_head.weight"],
  },
  BERT: {
    before: [
      "bert.embeddings.word_embeddings.weight",
      "bert.embeddings.position_embeddings.weight",
      "bert.embeddings.token_type_embeddings.weight",
      "bert.embeddings.LayerNorm.weight",
    ],
    after: [
      "bert.pooler.dense.weight",
      "cls.predictions.bias",
      "cls.predictions.decoder.weight",
      "cls.predictions.transform.dense.weight",
      "cls.seq_relationship.weight",
      "classifier.weight",
    ],
    vocabulary: ["bert.embeddings.word_embeddings.weight", "cls.predictions.bias", "cls.predictions.decoder.weight"],
  },
  RoBERTa: {
    before: ["roberta.embeddings.word_embeddings.weight"],
    after: ["lm_head.bias", "lm_head.dense.weight", "lm_head.layer_norm.weight", "lm_head.decoder.weight"],
    vocabulary: ["roberta.embeddings.word_embeddings.weight", "lm_head.bias", "lm_head.decoder.weight"],
  },
  "GPT-NeoX": {
    before: ["gpt_neox.embed_in.weight"],
    after: ["gpt_neox.final_layer_norm.weight", "embed_out.weight"],
    vocabulary: ["gpt_neox.embed_in.weight", "embed_out.weight"],
  },
  T5: {
    before: ["shared.weight", "encoder.embed_tokens.weight"],
    after: ["encoder.final_layer_norm.weight", "decoder.final_layer_norm.weight", "lm_head.weight"],
    vocabulary: ["shared.weight", "encoder.embed_tokens.weight", "lm_head.weight"],
  },
  LED: {
    before: ["led.shared.weight", "led.encoder.embed_positions.weight"],
    after: ["lm_head.weight", "final_logits_bias"],
    vocabulary: ["led.shared.weight", "lm_head.weight", "final_logits_bias"],
  },
  "Florence-2": {
    before: ["model.language_model.shared.weight"],
    after: ["model.language_model.final_logits_bias"],
    vocabulary: ["model.language_model.shared.weight", "model.language_model.final_logits_bias"],
  },
  XLNet: {
    before: ["transformer.word_embedding.weight"],
    after: ["lm_loss.weight", "lm_loss.bias"],
    vocabulary: ["transformer.word_embedding.weight", "lm_loss.weight", "lm_loss.bias"],
  },
  XLM: {
    before: ["transformer.embeddings.weight"],
    after: ["pred_layer.proj.weight", "pred_layer.proj.bias"],
    vocabulary: ["transformer.embeddings.weight", "pred_layer.proj.weight", "pred_layer.proj.bias"],
  },
  UltraBERT: {
    before: ["model.embeddings.tok_embeddings.weight"],
    after: ["head.decoder.weight", "head.decoder.bias", "head.dense.weight"],
    vocabulary: ["model.embeddings.tok_embeddings.weight", "head.decoder.weight", "head.decoder.bias"],
  },
  ModernBERT: {
    before: ["model.embeddings.tok_embeddings.weight", "model.embeddings.norm.weight"],
    after: ["model.final_norm.weight", "head.norm.weight", "head.dense.weight", "decoder.bias"],
    vocabulary: ["model.embeddings.tok_embeddings.weight", "decoder.bias"],
  },
  InternLM2: {
    before: ["model.tok_embeddings.weight"],
    after: ["model.norm.weight", "output.weight"],
    vocabulary: ["model.tok_embeddings.weight", "output.weight"],
  },
  Mamba: {
    before: ["backbone.embeddings.weight"],
    after: ["backbone.norm_f.weight", "lm_head.weight"],
    vocabulary: ["backbone.embeddings.weight", "lm_head.weight"],
  },
  OPT: {
    before: ["model.decoder.embed_tokens.weight", "model.decoder.embed_positions.weight"],
    after: ["model.decoder.final_layer_norm.weight"],
    vocabulary: ["model.decoder.embed_tokens.weight"],
  },
  "Nemotron-H beside other towers": {
    before: ["language_model.model.embeddings.weight"],
    after: ["language_model.model.norm_f.weight", "language_model.lm_head.weight"],
    vocabulary: ["language_model.model.embeddings.weight", "language_model.lm_head.weight"],
  },
  BLOOM: {
    before: ["word_embeddings.weight", "word_embeddings_layernorm.weight"],
    after: ["ln_f.weight"],
    vocabulary: ["word_embeddings.weight"],
  },
};

test.each(Object.entries(families))(
  "knows what comes before and after the layers, and what the vocabulary is, in %s",
  (_name, family) => {
    const names = [...family.before, ...family.after];
    expect(names.filter(isAfterLayers)).toEqual(family.after);
    expect(names.filter(isEmbeddingLike).sort()).toEqual([...family.vocabulary].sort());
  },
);

test("takes no tensor of a layer for a head or an embedding", () => {
  for (const name of [
    "bert.encoder.layer.0.attention.output.dense.weight",
    "model.layers.0.norm.weight",
    "model.decoder.layers.0.final_layer_norm.weight",
    "bert.encoder.layer.0.output.LayerNorm.weight",
  ]) {
    expect(isAfterLayers(name)).toBe(false);
    expect(isEmbeddingLike(name)).toBe(false);
  }
});

test.each([
  ["model.layers.0.self_attn.rotary_emb.inv_freq", true],
  ["transformer.h.0.attn.masked_bias", true],
  ["transformer.h.0.attn.bias", true],
  ["bert.embeddings.position_ids", true],
  ["lm_head.weight", true],
  ["cls.predictions.decoder.weight", true],
  ["bert.pooler.dense.weight", true],
  ["model.layers.0.self_attn.q_proj.bias", true],
  ["encoder.embed_tokens.weight", true],
  ["model.embed_tokens.weight", false],
  ["model.layers.0.self_attn.q_proj.weight", false],
  ["model.norm.weight", false],
  ["model.rotary_emb.original_inv_freq", true],
  ["model.encoder.version", true],
  ["model.decoder.embed_positions.weights", true],
  ["model.decoder.embed_positions.weight", false],
])("a model may lack %s: %s", (name, expected) => {
  expect(isOptional(name)).toBe(expected);
});

test.each([
  ["model.encoder.embed_positions.weight", { model_type: "marian" }, true],
  ["model.decoder.embed_positions.weight", { model_type: "pegasus" }, true],
  ["roformer.encoder.embed_positions.weight", { model_type: "roformer" }, true],
  ["model.decoder.embed_positions.weight", { model_type: "bart" }, false],
  ["model.encoder.embed_positions.weight", { model_type: "whisper" }, true],
  ["model.decoder.embed_positions.weight", { model_type: "whisper" }, false],
  ["distilbert.embeddings.position_embeddings.weight", { model_type: "distilbert", sinusoidal_pos_embds: true }, true],
  ["distilbert.embeddings.position_embeddings.weight", { model_type: "distilbert" }, false],
  ["transformer.position_embeddings.weight", { model_type: "xlm", sinusoidal_embeddings: true }, true],
])("by its type, a model computes %s (%j): %s", (name, config, expected) => {
  expect([isComputed(name, [8, 4], config), isOptional(name, config)]).toEqual([expected, expected]);
});

test.each([
  [{ num_hidden_layers: 6 }, ["num_hidden_layers"], 6],
  [{ n_layer: 3 }, ["n_layer"], 3],
  [{ num_layers: 4 }, ["num_layers"], 4],
  [{ n_layers: 5 }, ["n_layers"], 5],
  [
    { vision_config: { num_hidden_layers: 9 }, text_config: { num_hidden_layers: 2 } },
    ["text_config", "num_hidden_layers"],
    2,
  ],
  [{ llm_config: { n_layer: 7 } }, ["llm_config", "n_layer"], 7],
  [{ thinker_config: { text_config: { num_layers: 8 } } }, ["thinker_config", "text_config", "num_layers"], 8],
])("the layer count of %j is found", (config, path, count) => {
  expect(layerCountKey(config)).toEqual({ path, count });
});

test.each([
  {},
  { num_hidden_layers: "6" },
  { num_hidden_layers: -1 },
  { text_config: [6] },
  { vision_config: { n_layer: 2 } },
])("%j holds no layer count", (config) => {
  expect(layerCountKey(config)).toBeUndefined();
});

test("layerCount is what the config says, else one more than the highest layer", async () => {
  const store = new FileStore();
  const base = await openCheckpoint(store, { root: placeOf("examples/models/tiny-base") }, "m");
  expect(layerCount(base)).toBe(6);
  expect(layerCount({ ...base, config: undefined })).toBe(6);
  expect(layerCount({ tensors: new Map(), config: undefined })).toBe(0);
});
