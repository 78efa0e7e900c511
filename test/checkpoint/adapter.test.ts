import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Adapter, openAdapter, openModelOrAdapter, rankAndScale } from "../../checkpoint/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

const plain = { peft_type: "LORA", r: 8, lora_alpha: 16, target_modules: ["q"] };
const modules = { "x.q.lora_A.weight": [8, 3], "x.q.lora_B.weight": [5, 8] } as const;

function open(
  config: Record<string, unknown> | string = plain,
  tensors: Readonly<Record<string, readonly number[]>> = modules,
  prefix = "base_model.model.",
): Promise<Adapter> {
  const folder = placeOf(temporaryFolder());
  const entries = Object.entries(tensors).map(([name, shape]) => {
    const bytes = new Uint8Array(4 * shape.reduce((product, size) => product * size, 1));
    return { name: prefix + name, dtype: "F32", shape, bytes };
  });
  writeSafetensors(join(folder, "adapter_model.safetensors"), entries);
  const text = typeof config === "string" ? config : JSON.stringify(config);
  if (text !== "") writeFileSync(join(folder, "adapter_config.json"), text);
  return openAdapter(new FileStore(), { root: folder }, "tuned");
}

test.each([
  ["as PEFT writes them", "x.q.lora_A.weight", "x.q.lora_B.weight"],
  ["with the adapter's own name", "x.q.lora_A.default.weight", "x.q.lora_B.default.weight"],
])("factors are found under names %s", async (_, a, b) => {
  const adapter = await open(plain, { [a]: [8, 3], [b]: [5, 8] });
  expect([...adapter.pairs]).toMatchObject([["x.q", { a: { shape: [8, 3] }, b: { shape: [5, 8] } }]]);
  expect(adapter.saved.size).toBe(0);
});

test("saved modules and biases go by the name that they have in the base", async () => {
  const { saved } = await open(plain, {
    ...modules,
    "lm_head.weight": [2],
    "score.modules_to_save.default.weight": [2],
    "embed.modules_to_save.weight": [2],
    "x.q.base_layer.bias": [2],
    "x.k.bias": [2],
  });
  expect([...saved.keys()].sort()).toEqual(["embed.weight", "lm_head.weight", "score.weight", "x.k.bias", "x.q.bias"]);
});

test("a model that was saved with its adapter in it is neither a model nor an adapter", async () => {
  const files = (...names: string[]) => {
    const root = temporaryFolder();
    const entries = names.map((name) => ({ name, dtype: "F32", shape: [1, 1], bytes: new Uint8Array(4) }));
    writeSafetensors(join(root, "model.safetensors"), entries);
    return openModelOrAdapter(new FileStore(), { root: placeOf(root) }, "tuned");
  };
  const factors = ["h.0.q.lora_A.default.weight", "h.0.q.lora_B.default.weight"];
  await expect(files("h.0.q.base_layer.weight", ...factors, "norm.weight")).rejects.toMatchObject({
    code: "checkpoint/adapter-unsupported",
    message: expect.stringContaining('"h.0.q.base_layer.weight" beside lora_A'),
  });
  for (const own of [factors, ["h.0.q.lora_A", "h.0.q.lora_B"]])
    await expect(files("h.0.q.weight", ...own)).rejects.toMatchObject({ code: "checkpoint/adapter-unsupported" });
  // PEFT saves an embedding that was made longer with the adapter.
  expect(await files("embed_tokens.base_layer.weight", ...factors)).toHaveProperty("adapter");
});

// Worked out from PEFT's rule: the first key that is the name, or its end after a dot.
test.each([
  [{}, "model.layers.0.q", 8, 2],
  [{ rank_pattern: { q: 4 } }, "model.layers.0.q", 4, 4],
  [{ rank_pattern: { q: 4 } }, "model.layers.0.xq", 8, 2],
  [{ rank_pattern: { "layers.0.q": 4 }, alpha_pattern: { "model.layers.0.q": 2 } }, "model.layers.0.q", 4, 0.5],
  [{ rank_pattern: { "layers.[02].q": 4, q: 2 } }, "model.layers.1.q", 2, 8],
  [{ rank_pattern: { "^model.*.q": 4 } }, "model.layers.1.q", 4, 4],
  [{ rank_pattern: { "k|q": 16 } }, "model.layers.1.q", 16, 1],
  [{ rank_pattern: { "(?P<n>[01]).(?P=n).q": 16 } }, "model.1.1.q", 16, 1],
  [{ rank_pattern: { "(?P<n>[01]).(?P=n).q": 16 } }, "model.0.1.q", 8, 2],
  [{ use_rslora: true, r: 16 }, "q", 16, 4],
  [{ use_rslora: true, alpha_pattern: { q: 6 }, rank_pattern: { q: 9 } }, "q", 9, 2],
])("rank and scale with %j", async (keys, module, rank, scale) => {
  const { config } = await open({ ...plain, ...keys });
  expect(rankAndScale(config, module, 0, "tuned")).toEqual({ rank, scale });
});

test.each([
  ["DoRA without magnitudes", { use_dora: true }, {}],
  [
    "DoRA on an embedding",
    { use_dora: true },
    { "x.q.lora_magnitude_vector": [5], "e.lora_embedding_A": [8, 5], "e.lora_embedding_B": [5, 8] },
  ],
  ["QALoRA", { use_qalora: true }, {}],
  ["bias in B", { lora_bias: true }, {}],
  ["parameters instead of modules", { target_parameters: ["experts"] }, {}],
  ["rows of the embedding", { trainable_token_indices: [1] }, {}],
  ["several times", { layer_replication: [[0, 2]] }, {}],
  ["aLoRA", { alora_invocation_tokens: [7] }, {}],
  ["alter the base's weights", { init_lora_weights: "pissa" }, {}],
  ["alter the base's weights", { init_lora_weights: "olora" }, {}],
  ["adapters of that type", { peft_type: "IA3" }, {}],
  ["magnitudes that do not count", {}, { "x.q.lora_magnitude_vector.weight": [5] }],
  ["bias", {}, { "x.q.lora_B.bias": [5] }],
  ["no LoRA", {}, { "x.q.hada_w1_a": [5] }],
  ["not written by PEFT", {}, { "x.q.lora_down.weight": [5] }],
])("what is more than plain A and B is refused by name: %s, %j %j", async (named, keys, tensors) => {
  const opened = open({ ...plain, ...keys }, { ...modules, ...tensors });
  await expect(opened).rejects.toMatchObject({ code: "checkpoint/adapter-unsupported" });
  await expect(opened).rejects.toThrow(named);
});

test("keys that leave their thing out are no reason to refuse", async () => {
  const off = { use_dora: false, target_parameters: null, layer_replication: null, trainable_token_indices: [] };
  await open({ ...plain, ...off, init_lora_weights: "gaussian", kasa_config: {} });
});

test.each([
  ["r", { r: 0 }],
  ["r", { r: "8" }],
  ["lora_alpha", { lora_alpha: null }],
  ["rank_pattern.q", { rank_pattern: { q: 1.5 } }],
  ["alpha_pattern", { alpha_pattern: [] }],
])("%s must be what it should be: %j", async (key, keys) => {
  await expect(open({ ...plain, ...keys })).rejects.toMatchObject({ code: "checkpoint/adapter-config" });
  await expect(open({ ...plain, ...keys })).rejects.toThrow(`"${key}"`);
});

test.each([
  ["no config", "", "adapter_config.json is not there"],
  ["a list", "[]", "must be a JSON object"],
])("a config that is %s is a fault", async (_, text, message) => {
  await expect(open(text)).rejects.toMatchObject({ code: "checkpoint/adapter-config" });
  await expect(open(text)).rejects.toThrow(message);
});

test("a pattern that is no expression is a fault, when it is needed", async () => {
  const { config } = await open({ ...plain, rank_pattern: { "(?#x)q": 4 } });
  expect(() => rankAndScale(config, "x.q", 0, "tuned")).toThrow("no regular expression");
});

test.each([
  ["A without B", { "x.q.lora_A.weight": [8, 3] }, "has lora_A only"],
  ["nothing", { "lm_head.weight": [2] }, "no lora_A and lora_B"],
  ["two adapters", { ...modules, "x.q.lora_A.other.weight": [8, 3] }, "several adapters"],
])("a file with %s is a fault", async (_, tensors, message) => {
  await expect(open(plain, tensors)).rejects.toMatchObject({ code: "checkpoint/adapter-tensor" });
  await expect(open(plain, tensors)).rejects.toThrow(message);
});
