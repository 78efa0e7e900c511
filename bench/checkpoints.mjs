// Writes Llama-shaped bf16 checkpoints, the same bytes everywhere: a base and fine-tunes of it.
// As a command: node bench/checkpoints.mjs [first] [short] [small]
import { once } from "node:events";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { benchFolder } from "./folders.mjs";

/** Part of every folder's name: raise it whenever the bytes change, and old checkpoints are left alone. */
const GENERATION = 1;
const THREADS = 2;

/** 336 million parameters with 5 fine-tunes, 16 million with up to 200. */
export const sets = {
  first: {
    fineTunes: 5,
    shape: { hidden: 1024, layers: 24, intermediate: 2816, vocabulary: 32000, keyValue: 256, headWidth: 64 },
  },
  /** For quick tries: as the first, of 4 layers, 111 million parameters. */
  short: {
    fineTunes: 5,
    shape: { hidden: 1024, layers: 4, intermediate: 2816, vocabulary: 32000, keyValue: 256, headWidth: 64 },
  },
  small: {
    fineTunes: 200,
    shape: { hidden: 256, layers: 12, intermediate: 704, vocabulary: 14848, keyValue: 64, headWidth: 32 },
  },
};

/** The folder of a set; its models are base, tune-001, tune-002 ... */
export function setFolder(set) {
  return join(benchFolder, `checkpoints-${GENERATION}`, set);
}

/** `index` 0 is the base. */
export function modelName(index) {
  return index === 0 ? "base" : `tune-${String(index).padStart(3, "0")}`;
}

export function weightsPath(set, index) {
  return join(setFolder(set), modelName(index), "model.safetensors");
}

/** Bytes of one model's file. */
export function modelBytes(set) {
  const { header, dataBytes } = layout(sets[set].shape);
  return header.length + dataBytes;
}

/** Writes what is missing of the base and the first `fineTunes` models, a file a thread. Files appear when complete. */
export async function makeCheckpoints(set, fineTunes = sets[set].fineTunes) {
  const { shape } = sets[set];
  const { header, tensors, dataBytes } = layout(shape);
  const config = `${JSON.stringify(configOf(shape), null, 2)}\n`;
  const missing = [];
  for (let index = 0; index <= fineTunes; index++) {
    const folder = join(setFolder(set), modelName(index));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "config.json"), config);
    const path = weightsPath(set, index);
    if (statSync(path, { throwIfNoEntry: false })?.size !== header.length + dataBytes) missing.push({ path, index });
  }
  if (missing.length === 0) return;
  const gigabytes = ((missing.length * (header.length + dataBytes)) / 1e9).toFixed(1);
  process.stderr.write(`writing ${missing.length} checkpoints of the ${set} set, ${gigabytes} GB\n`);
  const next = () => missing.shift();
  const threads = Array.from({ length: Math.min(THREADS, missing.length) }, () => writeInThread(next, header, tensors));
  await Promise.all(threads);
}

async function writeInThread(next, header, tensors) {
  const worker = new Worker(new URL("./checkpoint-worker.mjs", import.meta.url), { workerData: { header, tensors } });
  try {
    for (let file = next(); file !== undefined; file = next()) {
      worker.postMessage(file);
      await once(worker, "message"); // rejects if the worker fails
    }
  } finally {
    await worker.terminate();
  }
}

/** The header of every model of a shape, and its tensors in file order. `mean`: of the base's values. */
function layout({ hidden, layers, intermediate, vocabulary, keyValue }) {
  const tensors = [];
  const add = (name, shape, mean = 0) =>
    tensors.push({ name, shape, mean, elements: shape.reduce((product, length) => product * length, 1) });
  add("model.embed_tokens.weight", [vocabulary, hidden]);
  for (let layer = 0; layer < layers; layer++) {
    const prefix = `model.layers.${layer}`;
    add(`${prefix}.input_layernorm.weight`, [hidden], 1);
    add(`${prefix}.self_attn.q_proj.weight`, [hidden, hidden]);
    add(`${prefix}.self_attn.k_proj.weight`, [keyValue, hidden]);
    add(`${prefix}.self_attn.v_proj.weight`, [keyValue, hidden]);
    add(`${prefix}.self_attn.o_proj.weight`, [hidden, hidden]);
    add(`${prefix}.post_attention_layernorm.weight`, [hidden], 1);
    add(`${prefix}.mlp.gate_proj.weight`, [intermediate, hidden]);
    add(`${prefix}.mlp.up_proj.weight`, [intermediate, hidden]);
    add(`${prefix}.mlp.down_proj.weight`, [hidden, intermediate]);
  }
  add("model.norm.weight", [hidden], 1);
  add("lm_head.weight", [vocabulary, hidden]);

  const entries = { __metadata__: { format: "pt" } };
  let dataBytes = 0;
  for (const { name, shape, elements } of tensors) {
    entries[name] = { dtype: "BF16", shape, data_offsets: [dataBytes, dataBytes + 2 * elements] };
    dataBytes += 2 * elements;
  }
  const json = JSON.stringify(entries);
  const padded = json.padEnd(Math.ceil(json.length / 8) * 8); // data begin at a multiple of 8, as the format asks
  const header = new Uint8Array(8 + padded.length);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded.length), true);
  header.set(new TextEncoder().encode(padded), 8);
  return { header, tensors, dataBytes };
}

function configOf({ hidden, layers, intermediate, vocabulary, keyValue, headWidth }) {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: hidden,
    intermediate_size: intermediate,
    num_hidden_layers: layers,
    num_attention_heads: hidden / headWidth,
    num_key_value_heads: keyValue / headWidth,
    head_dim: headWidth,
    vocab_size: vocabulary,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    hidden_act: "silu",
    tie_word_embeddings: false,
    bos_token_id: 1,
    eos_token_id: 2,
    torch_dtype: "bfloat16",
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const asked = process.argv.slice(2);
  for (const set of asked.length > 0 ? asked : Object.keys(sets)) await makeCheckpoints(set);
}
