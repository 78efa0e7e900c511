/** Models that are far: how many requests a plan takes, and how many of them wait at once. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { prepare } from "../../prepare/index.ts";
import { FileStore, type Place, placeOf, type Readable, type ReadOptions, type Source } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

const MODELS = 40;
const SHARDS = 4;

function writeModel(folder: string): void {
  mkdirSync(folder);
  const map: Record<string, string> = {};
  for (let shard = 1; shard <= SHARDS; shard++) {
    const file = `model-0000${shard}-of-0000${SHARDS}.safetensors`;
    const name = `model.layers.${shard - 1}.mlp.up_proj.weight`;
    writeSafetensors(join(folder, file), [{ name, dtype: "F32", shape: [2, 2], bytes: new Uint8Array(16) }]);
    map[name] = file;
  }
  const json = (name: string, value: object) => writeFileSync(join(folder, name), JSON.stringify(value));
  json("model.safetensors.index.json", { metadata: {}, weight_map: map });
  json("config.json", { architectures: ["LlamaForCausalLM"], model_type: "llama", num_hidden_layers: SHARDS });
  json("generation_config.json", { bos_token_id: 1 });
  // Longer than what git-lfs leaves in place of a file: that is looked into.
  const decoder = { type: "long enough", note: "x".repeat(1000) };
  const model = { type: "WordLevel", vocab: { a: 0, b: 1 }, unk_token: "a" };
  json("tokenizer.json", { model, added_tokens: [], decoder });
  json("tokenizer_config.json", { unk_token: "a", note: "x".repeat(1000) });
  json("preprocessor_config.json", { do_rescale: true, note: "x".repeat(1000) });
  json("sentence_bert_config.json", { do_lower_case: false, note: "x".repeat(1000) });
}

/** Every request waits until nothing else can begin; so those that wait at once are all that might be under way at once. */
class FarStore {
  requests = 0;
  mostAtOnce = 0;
  #inFlight = 0;
  readonly #files = new FileStore();

  async #far<T>(call: () => Promise<T>): Promise<T> {
    this.requests++;
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#inFlight);
    await new Promise((resolve) => setImmediate(resolve));
    try {
      return await call();
    } finally {
      this.#inFlight--;
    }
  }

  /** Opening a file brings the first bytes that are asked for, and what the file is; where links lead is known. */
  asSource(): Source {
    const open = async (path: Place, options: ReadOptions = {}): Promise<Readable> => {
      const file = await this.#far(() => this.#files.open(path));
      const isThere = (end: number) => end <= (options.firstBytes ?? 0);
      return {
        place: path,
        identity: () => file.identity(),
        read: (at, into) => (isThere(at + into.length) ? file.read(at, into) : this.#far(() => file.read(at, into))),
        close: () => file.close(),
      };
    };
    const store = {
      open,
      identity: (path: Place) => this.#far(() => this.#files.identity(path)),
      list: (path: Place) => this.#far(() => this.#files.list(path)),
      realPlace: (path: Place) => this.#files.realPlace(path),
    };
    return store as unknown as Source;
  }
}

test("headers of many shards and models are read side by side, within a bound, one request for each small file", async () => {
  const folder = temporaryFolder();
  const names = Array.from({ length: MODELS }, (_, k) => `m${k}`);
  for (const name of names) writeModel(join(folder, name));
  const models = names.map((name) => `  - { model: ${name}, parameters: { weight: 1 } }`).join("\n");
  writeFileSync(join(folder, "r.yml"), `merge_method: linear\nmodels:\n${models}\n`);
  const far = new FarStore();
  const prepared = await prepare(far.asSource(), placeOf(join(folder, "r.yml")), {
    ...{ cwd: placeOf(folder), environment: {}, seed: "0", sliceBytes: 2 ** 25, shardBytes: 5e9 },
    ...{ allowNonfinite: false, allowUnknownKeys: false },
  });
  expect(prepared.inputs.map(({ label }) => label)).toEqual(names);
  expect(prepared.plan.inputs.map(({ files }) => files.length)).toEqual(names.map(() => SHARDS));
  expect(far.mostAtOnce).toBe(32);
  // Four shards; index, config, generation config (short), tokenizer_config.json and preprocessor_config.json (which tell of others) once;
  // tokenizer.json and one file of settings twice: looked into, and read. One list, one look at where the model is. And the recipe.
  // Settings that are compared, and what is copied, were read by then.
  expect(far.requests).toBe(15 * MODELS + 1);
});

test("of several models that cannot be opened each is told, in the recipe's order", async () => {
  const folder = temporaryFolder();
  for (const name of ["a", "c"]) writeModel(join(folder, name));
  for (const name of ["b", "d"]) mkdirSync(join(folder, name));
  const models = ["b", "a", "d", "c"].map((name) => `  - { model: ${name}, parameters: { weight: 1 } }`).join("\n");
  writeFileSync(join(folder, "r.yml"), `merge_method: linear\nmodels:\n${models}\n`);
  const failed = await prepare(new FileStore(), placeOf(join(folder, "r.yml")), {
    ...{ cwd: placeOf(folder), environment: {}, seed: "0", sliceBytes: 2 ** 25, shardBytes: 5e9 },
    ...{ allowNonfinite: false, allowUnknownKeys: false },
  }).catch((error: unknown) => error);
  const { failures } = failed as { readonly failures: readonly { readonly message: string }[] };
  expect(failures.map(({ message }) => message.slice(0, 2))).toEqual(["b:", "d:"]);
});
