// Writes the small models of examples/models that were not trained: an experts pair and a vision-language pair.
// Their weights are random, the same at every run; what matters is what they are made of.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const models = join(dirname(dirname(fileURLToPath(import.meta.url))), "examples", "models");

const experts = {
  architectures: ["MixtralForCausalLM"],
  model_type: "mixtral",
  hidden_size: 16,
  intermediate_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 4,
  num_local_experts: 4,
  num_experts_per_tok: 2,
  vocab_size: 64,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: "silu",
  tie_word_embeddings: false,
  bos_token_id: 1,
  eos_token_id: 2,
  torch_dtype: "bfloat16",
};

const vision = {
  architectures: ["LlavaForConditionalGeneration"],
  model_type: "llava",
  image_token_index: 63,
  projector_hidden_act: "gelu",
  vision_feature_layer: -2,
  vision_feature_select_strategy: "default",
  text_config: {
    model_type: "llama",
    hidden_size: 16,
    intermediate_size: 32,
    num_hidden_layers: 3,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 4,
    vocab_size: 64,
    max_position_embeddings: 128,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    hidden_act: "silu",
    tie_word_embeddings: false,
  },
  vision_config: {
    model_type: "clip_vision_model",
    hidden_size: 16,
    intermediate_size: 32,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    image_size: 16,
    patch_size: 8,
    projection_dim: 16,
  },
  tie_word_embeddings: false,
  torch_dtype: "bfloat16",
};

/** Shapes of a Llama-type attention block. */
function attention(prefix, { hidden_size: h, head_dim: d, num_attention_heads: q, num_key_value_heads: kv }) {
  return {
    [`${prefix}.self_attn.q_proj.weight`]: [q * d, h],
    [`${prefix}.self_attn.k_proj.weight`]: [kv * d, h],
    [`${prefix}.self_attn.v_proj.weight`]: [kv * d, h],
    [`${prefix}.self_attn.o_proj.weight`]: [h, q * d],
    [`${prefix}.input_layernorm.weight`]: [h],
    [`${prefix}.post_attention_layernorm.weight`]: [h],
  };
}

function expertsShapes(config) {
  const { hidden_size: h, intermediate_size: f, vocab_size: v } = config;
  const shapes = { "model.embed_tokens.weight": [v, h] };
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const prefix = `model.layers.${layer}`;
    Object.assign(shapes, attention(prefix, config));
    shapes[`${prefix}.block_sparse_moe.gate.weight`] = [config.num_local_experts, h];
    for (let expert = 0; expert < config.num_local_experts; expert++) {
      const at = `${prefix}.block_sparse_moe.experts.${expert}`;
      Object.assign(shapes, { [`${at}.w1.weight`]: [f, h], [`${at}.w2.weight`]: [h, f], [`${at}.w3.weight`]: [f, h] });
    }
  }
  return { ...shapes, "model.norm.weight": [h], "lm_head.weight": [v, h] };
}

function visionShapes({ text_config: text, vision_config: tower }) {
  const { hidden_size: h, intermediate_size: f, vocab_size: v } = text;
  const { hidden_size: w, intermediate_size: g, patch_size: p } = tower;
  const top = "vision_tower.vision_model";
  const positions = (tower.image_size / p) ** 2 + 1;
  const shapes = {
    [`${top}.embeddings.class_embedding`]: [w],
    [`${top}.embeddings.patch_embedding.weight`]: [w, 3, p, p],
    [`${top}.embeddings.position_embedding.weight`]: [positions, w],
    [`${top}.pre_layrnorm.weight`]: [w],
    [`${top}.pre_layrnorm.bias`]: [w],
  };
  for (let layer = 0; layer < tower.num_hidden_layers; layer++) {
    const at = `${top}.encoder.layers.${layer}`;
    for (const name of ["q_proj", "k_proj", "v_proj", "out_proj"]) {
      shapes[`${at}.self_attn.${name}.weight`] = [w, w];
      shapes[`${at}.self_attn.${name}.bias`] = [w];
    }
    for (const norm of ["layer_norm1", "layer_norm2"]) {
      shapes[`${at}.${norm}.weight`] = [w];
      shapes[`${at}.${norm}.bias`] = [w];
    }
    Object.assign(shapes, { [`${at}.mlp.fc1.weight`]: [g, w], [`${at}.mlp.fc1.bias`]: [g] });
    Object.assign(shapes, { [`${at}.mlp.fc2.weight`]: [w, g], [`${at}.mlp.fc2.bias`]: [w] });
  }
  Object.assign(shapes, { [`${top}.post_layernorm.weight`]: [w], [`${top}.post_layernorm.bias`]: [w] });
  for (const [name, width] of Object.entries({ linear_1: w, linear_2: h })) {
    shapes[`multi_modal_projector.${name}.weight`] = [h, width];
    shapes[`multi_modal_projector.${name}.bias`] = [h];
  }
  shapes["language_model.model.embed_tokens.weight"] = [v, h];
  for (let layer = 0; layer < text.num_hidden_layers; layer++) {
    const prefix = `language_model.model.layers.${layer}`;
    Object.assign(shapes, attention(prefix, text));
    shapes[`${prefix}.mlp.gate_proj.weight`] = [f, h];
    shapes[`${prefix}.mlp.up_proj.weight`] = [f, h];
    shapes[`${prefix}.mlp.down_proj.weight`] = [h, f];
  }
  return { ...shapes, "language_model.model.norm.weight": [h], "language_model.lm_head.weight": [v, h] };
}

/** Numbers from -1 to 1 (splitmix32), the same wherever they are made. */
function numbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 31 - 1;
  };
}

/** BF16, rounded toward zero: any number that BF16 has will do. */
function bytesOf(shape, isNorm, next) {
  const count = shape.reduce((product, size) => product * size, 1);
  const values = Float32Array.from({ length: count }, () => (isNorm ? 1 + 0.1 * next() : 0.2 * next()));
  return Buffer.from(Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16).buffer);
}

function write(name, config, shapes, seed) {
  const header = { __metadata__: { format: "pt" } };
  const parts = [];
  let offset = 0;
  for (const [k, [tensor, shape]] of Object.entries(shapes).sort().entries()) {
    const bytes = bytesOf(shape, /norm\d?\.weight$/.test(tensor), numbers(seed * 1000 + k));
    header[tensor] = { dtype: "BF16", shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
    parts.push(bytes);
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  mkdirSync(join(models, name), { recursive: true });
  writeFileSync(join(models, name, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
  writeFileSync(join(models, name, "model.safetensors"), Buffer.concat([length, padded, ...parts]));
}

write("experts-a", experts, expertsShapes(experts), 1);
write("experts-b", experts, expertsShapes(experts), 2);
write("vision-a", vision, visionShapes(vision), 3);
write("vision-b", vision, visionShapes(vision), 4);
