// npm run bench:fp8: models of fp8 codes with block scales, merged into the same, against the same models in bf16. One thread, pairs.
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { benchFolder, repositoryRoot } from "./folders.mjs";
import { measure, median, settleDisk, warm } from "./measure.mjs";
import { fixed, machineLine, markdownTable, replaceRegion } from "./report.mjs";

const { values: options } = parseArgs({
  options: { runs: { type: "string", default: "5" }, "write-docs": { type: "boolean", default: false } },
});
const MODELS = 4; // the base is the first
const BLOCK = 128;
const [ROWS, COLUMNS, TENSORS] = [2048, 4096, 8];
const ELEMENTS = ROWS * COLUMNS * TENSORS;
const METHODS = {
  linear: "merge_method: linear\nparameters: {weight: 0.25}\n",
  ties: "merge_method: ties\nparameters: {weight: 0.3, density: 0.5}\n",
};

const folder = join(benchFolder, "fp8");
const out = join(folder, "out");
const main = join(repositoryRoot, "dist", "cli", "main.js");
rmSync(folder, { recursive: true, force: true });
const nameOf = (k) => (k === 0 ? "base" : `tune-${k}`);
for (const form of ["bf16", "fp8"]) for (let k = 0; k < MODELS; k++) writeModel(form, k);

const rows = [];
for (const [method, head] of Object.entries(METHODS)) {
  const seconds = { bf16: [], fp8: [] };
  for (let run = 0; run < Number(options.runs); run++) {
    for (const form of run % 2 === 0 ? ["bf16", "fp8"] : ["fp8", "bf16"])
      seconds[form].push(await processorSeconds(method, head, form));
  }
  const nanoseconds = (form) => (median(seconds[form]) / (ELEMENTS * MODELS)) * 1e9;
  const ratio = median(seconds.fp8.map((time, run) => time / seconds.bf16[run]));
  rows.push([method, ...[nanoseconds("bf16"), nanoseconds("fp8"), ratio].map(fixed(2))]);
}
rmSync(folder, { recursive: true, force: true });
const text = [
  `${machineLine()}. ${MODELS} models of ${TENSORS} matrices [${ROWS}, ${COLUMNS}], blocks of ${BLOCK} x ${BLOCK}; one thread, medians of ${options.runs} pairs.`,
  markdownTable(
    ["method", "bf16, ns of the processor an element and model", "fp8 with block scales", "fp8 / bf16"],
    rows,
  ),
].join("\n\n");
process.stdout.write(`${text}\n`);
if (options["write-docs"]) replaceRegion(join(repositoryRoot, "docs", "performance.md"), "fp8", text);

/** Of the merge alone: what a plan takes is taken off. */
async function processorSeconds(method, head, form) {
  const base = method === "linear" ? "" : `base_model: ${form}/base\n`;
  const models = Array.from({ length: MODELS }, (_, k) => `  - model: ${form}/${nameOf(k)}\n`).slice(
    method === "linear" ? 0 : 1,
  );
  const dtypes = form === "fp8" ? "dtype: bfloat16\nout_dtype: float8_e4m3fn\n" : "dtype: bfloat16\n";
  const recipe = join(folder, `${method}-${form}.yml`);
  writeFileSync(recipe, `${head}${base}${dtypes}models:\n${models.join("")}`);
  settleDisk(out);
  warm(Array.from({ length: MODELS }, (_, k) => join(folder, form, nameOf(k), "model.safetensors")));
  const run = async (...args) =>
    (await measure(process.execPath, [join(repositoryRoot, "bench", "peak.mjs"), main, ...args])).processorSeconds;
  const planned = await run("plan", recipe);
  return (await run("merge", recipe, out, "--threads", "1", "--quiet")) - planned;
}

/** Codes of about the same size, scales around 2^-9; in bf16 normal numbers of the same size. */
function writeModel(form, k) {
  const path = join(folder, form, nameOf(k));
  mkdirSync(path, { recursive: true });
  const isFp8 = form === "fp8";
  const quantization_config = { quant_method: "fp8", weight_block_size: [BLOCK, BLOCK] };
  const config = {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    num_hidden_layers: TENSORS,
    torch_dtype: "bfloat16",
  };
  writeFileSync(join(path, "config.json"), JSON.stringify(isFp8 ? { ...config, quantization_config } : config));
  const scales = [ROWS / BLOCK, COLUMNS / BLOCK];
  const entries = {};
  const parts = [];
  let at = 0;
  const add = (name, dtype, shape, bytes) => {
    entries[name] = { dtype, shape, data_offsets: [at, at + bytes.length] };
    at += bytes.length;
    parts.push(bytes);
  };
  for (let t = 0; t < TENSORS; t++) {
    const name = `model.layers.${t}.mlp.up_proj.weight`;
    const next = xorshift(1 + t + 1000 * k);
    const words = Uint32Array.from({ length: (ROWS * COLUMNS) / 4 }, next);
    if (isFp8) {
      // Signs and mantissas at random, exponents of 2^-1 to 2^6: no NaN.
      const codes = new Uint8Array(words.buffer).map((code) => (code & 0xbf) | 0x30);
      add(name, "F8_E4M3", [ROWS, COLUMNS], codes);
      const numbers = Float32Array.from({ length: scales[0] * scales[1] }, (_, b) => (1 + (b % 7) / 8) * 2 ** -9);
      add(`${name}_scale_inv`, "F32", scales, new Uint8Array(numbers.buffer));
    } else {
      const twice = Uint32Array.from(
        { length: (ROWS * COLUMNS) / 2 },
        (_, i) => ((words[i >> 1] ^ (i << 7)) & 0x83ff83ff) | 0x3c003c00,
      );
      add(name, "BF16", [ROWS, COLUMNS], new Uint8Array(twice.buffer));
    }
  }
  const header = Buffer.from(JSON.stringify(entries));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(header.length));
  const file = openSync(join(path, "model.safetensors"), "w");
  for (const bytes of [size, header, ...parts]) writeSync(file, bytes);
  closeSync(file);
}

function xorshift(seed) {
  let state = seed * 2_654_435_761;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
