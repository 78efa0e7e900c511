// npm run bench:adapters: adapters on one base against full models, everything in memory, one thread.
// A layer of the 336 M model of bench/checkpoints.mjs, and its share of embedding and head; ties over 20 adapters of rank 16 applied
// on the fly takes how many times the arithmetic of 20 full models, whose reading is not counted? docs/performance.md has the target.
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { openDevice } from "../dist/merge/engines/index.js";
import { prepareText } from "../dist/prepare/index.js";
import { SliceWorker } from "../dist/runtime/index.js";
import { FileStore } from "../dist/storage/index.js";
import { repositoryRoot } from "./folders.mjs";
import { median } from "./measure.mjs";
import { fixed, machineLine, markdownTable, replaceRegion } from "./report.mjs";

const { values: options } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    models: { type: "string", default: "20" },
    rank: { type: "string", default: "16" },
    method: { type: "string", default: "ties" },
    "write-docs": { type: "boolean", default: false },
  },
});
const count = Number(options.models);
const rank = Number(options.rank);

const hidden = 1024;
const modules = {
  "self_attn.q_proj": [hidden, hidden],
  "self_attn.k_proj": [256, hidden],
  "self_attn.v_proj": [256, hidden],
  "self_attn.o_proj": [hidden, hidden],
  "mlp.gate_proj": [2816, hidden],
  "mlp.up_proj": [2816, hidden],
  "mlp.down_proj": [hidden, 2816],
};
/** A 24th of the rows. */
const embeddings = { "model.embed_tokens": [1333, hidden], lm_head: [1333, hidden] };
const weights = Object.entries(modules).map(([name, shape]) => [`model.layers.0.${name}`, shape]);
const tensors = [...weights, ...Object.entries(embeddings)].map(([name, shape]) => [`${name}.weight`, shape]);
const parameters = tensors.reduce((sum, [, [rows, columns]]) => sum + rows * columns, 0);

const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "deltaworks-adapters-"));
try {
  const base = tensors.map(([name, shape], k) => [name, shape, normals(shape, k, 0.02)]);
  writeModel(join(folder, "base"), base);
  for (let n = 1; n <= count; n++) {
    writeAdapter(join(folder, `lora-${n}`), n);
    const full = base.map(([name, shape, values], k) => {
      const sums = normals(shape, 100 * n + k, 1e-3);
      for (let at = 0; at < sums.length; at++) sums[at] += values[at];
      return [name, shape, sums];
    });
    writeModel(join(folder, `full-${n}`), full);
  }
  await compare();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function compare() {
  const full = [];
  const fullReading = [];
  const adapters = [];
  const adapterReading = [];
  for (let run = 0; run < Number(options.runs); run++) {
    const one = await merged((n) => `full-${n}`);
    full.push(one.seconds - one.reading);
    fullReading.push(one.reading);
    const two = await merged((n) => `base+lora-${n}`);
    adapters.push(two.seconds);
    adapterReading.push(two.reading);
  }
  const perElement = (seconds) => (seconds * 1e9) / parameters / count;
  const rows = [
    ["full models, without their reading", median(full), perElement(median(full)), median(fullReading)],
    ["adapters, all in all", median(adapters), perElement(median(adapters)), median(adapterReading)],
  ].map(([what, ...numbers]) => [what, ...numbers.map(fixed(2))]);
  const ratios = adapters.map((seconds, k) => seconds / full[k]);
  const text =
    `${machineLine()}. ${options.method}, ${count} models of ${(parameters / 1e6).toFixed(1)} M parameters, rank ${rank}, one thread, medians of ${options.runs} runs.\n\n` +
    `${markdownTable(["", "seconds", "ns an element and model", "of it reading"], rows)}\n\n` +
    `adapters / full models: ${median(ratios).toFixed(2)} (target: at most 4)`;
  process.stdout.write(`${text}\n`);
  if (options["write-docs"]) replaceRegion(join(repositoryRoot, "docs", "performance.md"), "adapters", text);
}

/**
 * One merge in this process, into memory of the system; the processor's seconds that it took, which what else runs here alters little, and
 * those that went into reading inputs.
 */
async function merged(model) {
  const store = watchedStore();
  const lines = Array.from({ length: count }, (_, k) => `  - {model: ${model(k + 1)}}`);
  const recipe = [
    `merge_method: ${options.method}`,
    "base_model: base",
    "dtype: bfloat16",
    "parameters: {weight: 0.2, density: 0.5}",
    "models:",
    ...lines,
    "",
  ].join("\n");
  const { plan, inputs } = await prepareText(store, recipe, "recipe.yml", {
    ...{ seed: "0", sliceBytes: 2 ** 26, shardBytes: 2 ** 40, allowNonfinite: false, allowUnknownKeys: false },
    ...{ modelsRoot: folder, cwd: folder, environment: {} },
  });
  const shardPaths = plan.shards.map(({ name }) => join(folder, `out-${name}`));
  const job = { seed: { low: 0, high: 0 }, allowNonfinite: false, inputs, shardPaths };
  const arena = (await openDevice("wasm")).open(2 ** 31);
  const budget = {
    rangeElements: 2 ** 26,
    spareBytes: 2 ** 25,
    heldBytes: 2 ** 28,
    pieceElements: 32_768,
    openFilesMax: 100,
  };
  const worker = new SliceWorker(arena, store, job, budget, { grant: async () => true, pause: async () => {} });
  store.reads.length = 0;
  const start = process.cpuUsage();
  for (const slice of plan.slices) {
    const tasks = slice.parts.map(({ task }) => plan.tasks[task]);
    const written = await worker.execute({ kind: "slice", slice, tasks, verdicts: [], unit: slice.id, attempt: 1 });
    await written.durable;
  }
  const { user, system } = process.cpuUsage(start);
  const seconds = (user + system) / 1e6;
  await worker.close();
  return { seconds, reading: await replayed(store.reads) };
}

/** A store that remembers what was read. */
function watchedStore() {
  const store = new FileStore({ blocking: true });
  const open = store.open.bind(store);
  const watched = Object.assign(store, { reads: [] });
  watched.open = async (path) => {
    const file = await open(path);
    const read = file.read.bind(file);
    file.read = (offsetBytes, into) => {
      watched.reads.push(path, offsetBytes, into.length);
      return read(offsetBytes, into);
    };
    return file;
  };
  return watched;
}

/** The processor's seconds that these reads take by themselves. */
async function replayed(reads) {
  const store = new FileStore({ blocking: true });
  const files = new Map();
  const into = new Uint8Array(2 ** 22);
  for (let k = 0; k < reads.length; k += 3) {
    if (!files.has(reads[k])) files.set(reads[k], await store.open(reads[k]));
  }
  const start = process.cpuUsage();
  for (let k = 0; k < reads.length; k += 3) {
    await files.get(reads[k]).read(reads[k + 1], into.subarray(0, reads[k + 2]));
  }
  const { user, system } = process.cpuUsage(start);
  for (const file of files.values()) await file.close();
  return (user + system) / 1e6;
}

function writeAdapter(path, seed) {
  const factors = weights.flatMap(([name, [rows, columns]], k) => [
    [`base_model.model.${name}.lora_A.weight`, [rank, columns], normals([rank, columns], 1000 * seed + k, 0.02)],
    [`base_model.model.${name}.lora_B.weight`, [rows, rank], normals([rows, rank], 2000 * seed + k, 0.01)],
  ]);
  writeTensors(join(path, "adapter_model.safetensors"), "F32", factors);
  const config = { peft_type: "LORA", r: rank, lora_alpha: rank, target_modules: Object.keys(modules) };
  writeFileSync(join(path, "adapter_config.json"), JSON.stringify(config));
}

function writeModel(path, all) {
  writeTensors(join(path, "model.safetensors"), "BF16", all);
  const config = { model_type: "llama", num_hidden_layers: 1, vocab_size: 1333, torch_dtype: "bfloat16" };
  writeFileSync(join(path, "config.json"), JSON.stringify(config));
}

function writeTensors(path, dtype, all) {
  const header = { __metadata__: { format: "pt" } };
  const data = [];
  let end = 0;
  for (const [name, shape, values] of all) {
    const bytes = dtype === "F32" ? Buffer.from(values.buffer) : bf16(values);
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    end += bytes.length;
    data.push(bytes);
  }
  const json = JSON.stringify(header);
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, Buffer.concat([length, text, ...data]));
}

function bf16(values) {
  const bits = new Uint32Array(values.buffer);
  const rounded = new Uint16Array(bits.length);
  for (let k = 0; k < bits.length; k++) rounded[k] = (bits[k] + 0x8000) >>> 16;
  return Buffer.from(rounded.buffer);
}

/** Sums of four uniform words: near enough to a normal distribution, the same for a seed. */
function normals([rows, columns], seed, deviation) {
  let state = (seed * 2654435761 + 12345) >>> 0;
  const values = new Float32Array(rows * columns);
  const scale = deviation / Math.sqrt(4 / 12) / 2 ** 32;
  for (let k = 0; k < values.length; k++) {
    let sum = -2 * 2 ** 32;
    for (let i = 0; i < 4; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      sum += state;
    }
    values[k] = sum * scale;
  }
  return values;
}
