// npm run bench:far-headers [-- --record] (into docs/performance.md): how long a recipe of 200 models of 4 shards takes to plan where each request
// takes 50 ms. Files of this disk behind a delay: opening, listing, looking, reading. What an open file is, and where links lead, is known then.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { prepare } from "../dist/prepare/index.js";
import { FileStore } from "../dist/storage/index.js";
import { benchFolder } from "./folders.mjs";
import { machineLine, markdownTable, replaceRegion } from "./report.mjs";

const MODELS = 200;
const SHARDS = 4;
const LAYERS_A_SHARD = 8;
const REQUEST_MS = 50;

const folder = join(benchFolder, "far-headers");
const names = Array.from({ length: MODELS }, (_, k) => `m${k}`);

function writeModel(name) {
  const path = join(folder, name);
  if (existsSync(path)) return;
  mkdirSync(path, { recursive: true });
  const map = {};
  for (let s = 0; s < SHARDS; s++) {
    const file = `model-0000${s + 1}-of-0000${SHARDS}.safetensors`;
    const header = {};
    let at = 0;
    for (let l = 0; l < LAYERS_A_SHARD; l++) {
      for (const part of ["q_proj", "k_proj", "v_proj", "o_proj"]) {
        const tensor = `model.layers.${s * LAYERS_A_SHARD + l}.self_attn.${part}.weight`;
        header[tensor] = { dtype: "BF16", shape: [4, 4], data_offsets: [at, at + 32] };
        map[tensor] = file;
        at += 32;
      }
    }
    const text = Buffer.from(JSON.stringify(header));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(text.length));
    writeFileSync(join(path, file), Buffer.concat([size, text, Buffer.alloc(at)]));
  }
  const json = (file, value) => writeFileSync(join(path, file), JSON.stringify(value));
  json("model.safetensors.index.json", { metadata: {}, weight_map: map });
  json("config.json", {
    ...{ architectures: ["LlamaForCausalLM"], model_type: "llama", num_hidden_layers: SHARDS * LAYERS_A_SHARD },
    ...{ hidden_size: 4, vocab_size: 4, tie_word_embeddings: false },
  });
  json("generation_config.json", { bos_token_id: 1 });
  const vocab = Object.fromEntries(["<unk>", "a", "b", "c"].map((token, id) => [token, id]));
  json("tokenizer.json", {
    model: { type: "WordLevel", vocab, unk_token: "<unk>" },
    added_tokens: [],
    decoder: { note: "x".repeat(2000) },
  });
  json("tokenizer_config.json", { unk_token: "<unk>", chat_template: "x".repeat(2000) });
}

/** The store behind requests that take their time. */
function farStore(store) {
  const seen = { requests: 0, inFlight: 0, most: 0 };
  const far = async (call) => {
    seen.requests++;
    seen.most = Math.max(seen.most, ++seen.inFlight);
    await delay(REQUEST_MS);
    return call().finally(() => seen.inFlight--);
  };
  const open = async (path, options = {}) => {
    const file = await far(() => store.open(path, options));
    const { firstBytes = 0 } = options;
    return {
      place: path,
      identity: () => file.identity(),
      // What was asked for with the opening is there.
      read: (at, into) => (at + into.length <= firstBytes ? file.read(at, into) : far(() => file.read(at, into))),
      close: () => file.close(),
    };
  };
  const behind = {
    open,
    identity: (path) => far(() => store.identity(path)),
    list: (path) => far(() => store.list(path)),
    realPlace: (path) => store.realPlace(path),
  };
  return { store: behind, seen };
}

for (const name of names) writeModel(name);
const recipe = join(folder, "recipe.yml");
const models = names.map((model) => `  - { model: ${join(folder, model)}, parameters: { weight: 0.1, density: 0.5 } }`);
writeFileSync(
  recipe,
  `merge_method: ties\nbase_model: ${join(folder, "m0")}\nmodels:\n${models.join("\n")}\ndtype: bfloat16\n`,
);

const options = { cwd: folder, environment: {}, seed: { low: 0, high: 0 }, sliceBytes: 32 * 2 ** 20, shardBytes: 5e9 };
async function planned(store) {
  const begun = performance.now();
  await prepare(store, recipe, { ...options, allowNonfinite: false, allowUnknownKeys: false });
  return (performance.now() - begun) / 1000;
}
const near = await planned(new FileStore());
const { store, seen } = farStore(new FileStore());
const far = await planned(store);
const table = markdownTable(
  ["models x shards", "on this disk", `behind ${REQUEST_MS} ms a request`, "requests", "a model", "most at once"],
  [
    [
      `${MODELS} x ${SHARDS}`,
      `${near.toFixed(2)} s`,
      `${far.toFixed(2)} s`,
      String(seen.requests),
      (seen.requests / MODELS).toFixed(1),
      String(seen.most),
    ],
  ],
);
console.log(table);
if (process.argv.includes("--record"))
  replaceRegion("docs/performance.md", "far-headers", `${machineLine()}\n\n${table}`);
