import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { numbersOf } from "../golden/compare.ts";
import { readCheckpoint } from "../support/read-safetensors.ts";
import { runMerge } from "../support/run-merge.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-text-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

type Json = Record<string, unknown>;

/** `t0` … with ids from 0 on, then the added ones. */
function tokenizer(normal: number, added: readonly string[]): Json {
  const vocab = Object.fromEntries(Array.from({ length: normal }, (_, id) => [`t${id}`, id]));
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const special = added.map((content, k) => ({ id: normal + k, content, ...flags }));
  return { version: "1.0", added_tokens: special, normalizer: null, model: { type: "BPE", vocab, merges: [] } };
}

function write(
  folder: string,
  files: Record<string, unknown>,
  shapes: Record<string, readonly number[]>,
  name: string,
) {
  mkdirSync(join(scratch, folder), { recursive: true });
  for (const [file, value] of Object.entries(files)) {
    writeFileSync(join(scratch, folder, file), typeof value === "string" ? value : JSON.stringify(value, null, 2));
  }
  const tensors = Object.entries(shapes).map(([tensor, shape], k) => {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(k + 1);
    return { name: tensor, dtype: "F32", shape, bytes: new Uint8Array(values.buffer) };
  });
  writeSafetensors(join(scratch, folder, name), tensors);
}

const q = "model.layers.0.self_attn.q_proj.weight";

/** A llama of one layer whose added tokens have the last rows. */
function writeModel(folder: string, added: readonly string[], ids: Json, settings: Json = {}): void {
  const rows = 4 + added.length;
  const config = {
    model_type: "llama",
    num_hidden_layers: 1,
    vocab_size: rows,
    text_config: { vocab_size: rows, ...ids },
    ...ids,
  };
  const files = {
    "config.json": config,
    "generation_config.json": ids,
    "tokenizer.json": tokenizer(4, added),
    "tokenizer_config.json": settings,
  };
  const shapes = { "model.embed_tokens.weight": [rows, 2], [q]: [2, 2], "lm_head.weight": [rows, 2] };
  write(folder, files, shapes, "model.safetensors");
}

function writeAdapter(folder: string, files: Record<string, unknown>, rows?: number): void {
  const config = { peft_type: "LORA", r: 1, lora_alpha: 1, target_modules: ["q_proj"] };
  const factor = `base_model.model.${q.replace(".weight", "")}.lora_`;
  const saved = {
    "base_model.model.model.embed_tokens.weight": [rows ?? 0, 2],
    "base_model.model.lm_head.weight": [rows ?? 0, 2],
  };
  const shapes = { [`${factor}A.weight`]: [1, 2], [`${factor}B.weight`]: [2, 1], ...(rows !== undefined && saved) };
  write(folder, { "adapter_config.json": config, ...files }, shapes, "adapter_model.safetensors");
}

beforeAll(() => {
  writeModel(
    "padded",
    ["<s>", "</s>", "<pad>"],
    { bos_token_id: 4, eos_token_id: [5, 6], pad_token_id: 6 },
    { bos_token: "<s>", pad_token: "<pad>", extra_special_tokens: { image_token: "<pad>" } },
  );
  writeModel("plain", ["<s>", "</s>"], { bos_token_id: 4, eos_token_id: 5 }, { pad_token: "</s>" });
  writeModel("turned", ["</s>", "<s>"], { bos_token_id: 5, eos_token_id: 4 });
  const text = {
    "tokenizer.json": tokenizer(4, ["<s>", "</s>", "<|user|>", "<|end|>"]),
    "tokenizer_config.json": { eos_token: "<|end|>" },
    "chat_template.jinja": "{{ messages }}",
  };
  writeAdapter("grown", text, 8);
  writeAdapter("rows-only", {}, 8);
  writeAdapter("more-tokens", text);
  writeAdapter("template-only", { "chat_template.jinja": "{{ own }}" });
  writeAdapter("settings-only", { "tokenizer_config.json": { eos_token: "t1" } });
});

async function merge(recipe: string, settings: { readonly cutEmbeddings?: boolean } = {}) {
  const out = mkdtempSync(join(scratch, "out-"));
  const { outcome, planFindings } = await runMerge(recipe, out, { models: scratch, ...settings });
  expect(outcome.outcome).toBe("done");
  const json = (name: string) => JSON.parse(readFileSync(join(out, name), "utf8")) as Json;
  const added = (json("tokenizer.json").added_tokens as { id: number; content: string }[]).map(
    ({ id, content }) => `${id} ${content}`,
  );
  const template = join(out, "chat_template.jinja");
  return {
    json,
    added,
    warnings: planFindings.map(({ code, message }) => `${code} ${message}`),
    rows: readCheckpoint(out).get("model.embed_tokens.weight")?.shape[0],
    embedding: [...numbersOf(readCheckpoint(out).get("model.embed_tokens.weight")!)],
    template: existsSync(template) ? readFileSync(template, "utf8") : undefined,
  };
}

const linear = (...models: string[]) =>
  `merge_method: linear\nparameters: {weight: 1}\nmodels: [${models.map((model) => `{model: ${model}}`).join(", ")}]\n`;

test("ids in config.json and generation_config.json are the output's; of tokens that are gone they are null, and told", async () => {
  const { json, warnings, added } = await merge(`${linear("padded", "turned")}tokenizer_source: turned\n`);
  expect(added).toEqual(["4 </s>", "5 <s>"]);
  const ids = { bos_token_id: 5, eos_token_id: [4], pad_token_id: null };
  expect(json("generation_config.json")).toEqual(ids);
  expect(json("config.json")).toMatchObject({ vocab_size: 6, ...ids, text_config: { vocab_size: 6, ...ids } });
  expect(warnings).toContain(
    'recipe/token-id pad_token_id in config.json names the id 6 ("<pad>"), which the output has no token for',
  );
  expect(warnings.filter((text) => text.startsWith("recipe/token-id"))).toHaveLength(6);
});

test("a tokenizer that has another token for the same use gives its id", async () => {
  const { json } = await merge(`${linear("padded", "plain")}tokenizer_source: plain\n`);
  expect(json("config.json")).toMatchObject({ bos_token_id: 4, eos_token_id: [5], pad_token_id: 5 });
});

test("where rows are cut their tokens leave tokenizer, settings and configs", async () => {
  const { json, added, rows, warnings } = await merge(linear("padded", "plain"), { cutEmbeddings: true });
  expect([rows, added]).toEqual([6, ["4 <s>", "5 </s>"]]);
  expect(json("config.json")).toMatchObject({ vocab_size: 6, bos_token_id: 4, eos_token_id: [5], pad_token_id: null });
  // Whoever loads a tokenizer adds the special tokens that its settings name and that it lacks, beyond the last row.
  expect(json("tokenizer_config.json")).toEqual({ bos_token: "<s>", extra_special_tokens: {} });
  expect(warnings).toContain('recipe/token-id the tokenizer\'s pad_token is "<pad>", which has no row in the output');
});

test("an output of one model keeps its files byte for byte", async () => {
  const { json } = await merge("merge_method: passthrough\nmodels: [{model: padded}]\n");
  expect(json("config.json")).toMatchObject({ pad_token_id: 6 });
});

test("a model with an adapter has the tokenizer, the template and the rows that lie beside the adapter", async () => {
  const alone = await merge("merge_method: passthrough\nmodels: [{model: plain+grown}]\n");
  const all = ["4 <s>", "5 </s>", "6 <|user|>", "7 <|end|>"];
  expect([alone.rows, alone.added, alone.template]).toEqual([8, all, "{{ messages }}"]);
  expect(alone.json("config.json")).toMatchObject({ vocab_size: 8, bos_token_id: 4 });
  expect(alone.json("tokenizer_config.json")).toEqual({ eos_token: "<|end|>" });
  const union = await merge(`${linear("plain", "plain+grown")}tokenizer_source: union\n`);
  expect([union.rows, union.added]).toEqual([8, all]);
  const named = await merge(`${linear("plain", "plain+grown")}tokenizer_source: grown\n`);
  expect([named.rows, named.added, named.template]).toEqual([8, all, "{{ messages }}"]);
});

test("settings beside an adapter without a vocabulary are no tokenizer", async () => {
  const { added, json } = await merge("merge_method: passthrough\nmodels: [{model: plain+settings-only}]\n");
  expect(added).toEqual(["4 <s>", "5 </s>"]);
  expect(json("tokenizer_config.json")).toEqual({ pad_token: "</s>" });
});

test.each([
  ["a list", [5, 1]],
  ["lists by module", { embed_tokens: [5, 1], lm_head: [9] }],
])("trained rows of an embedding stand in the rows that the adapter's config lists: %s", async (_, indices) => {
  const config = {
    peft_type: "LORA",
    r: 1,
    lora_alpha: 1,
    target_modules: ["q_proj"],
    trainable_token_indices: indices,
  };
  const factor = `base_model.model.${q.replace(".weight", "")}.lora_`;
  const name = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta";
  const shapes = { [`${factor}A.weight`]: [1, 2], [`${factor}B.weight`]: [2, 1], [name]: [2, 2] };
  write("trained", { "adapter_config.json": config }, shapes, "adapter_model.safetensors");
  const { embedding } = await merge("merge_method: passthrough\nmodels: [{model: plain+trained}]\n");
  // Of the base all are 1, of the adapter's third tensor 3.
  expect(embedding).toEqual([1, 1, 3, 3, 1, 1, 1, 1, 1, 1, 3, 3]);
  const union = await merge(`${linear("plain", "plain+trained")}tokenizer_source: turned\n`);
  // The rows of </s> and <s> change places; the trained one is that of </s>.
  expect(union.embedding).toEqual([1, 1, 2, 2, 1, 1, 1, 1, 2, 2, 1, 1]);
});

test("a later document takes them from an earlier one", async () => {
  const first = "name: tuned\nmerge_method: passthrough\nmodels: [{model: plain+grown}]\n";
  const chain = await merge(`${first}---\n${linear("tuned", "plain+grown")}`);
  expect([chain.rows, chain.added.length, chain.template]).toEqual([8, 4, "{{ messages }}"]);
  const made = `name: one\n${linear("padded", "turned")}tokenizer_source: turned\n`;
  const adapted = await merge(`${made}---\nmerge_method: passthrough\nmodels: [{model: one+template-only}]\n`);
  expect([adapted.added, adapted.template]).toEqual([["4 </s>", "5 <s>"], "{{ own }}"]);
  expect(adapted.json("config.json")).toMatchObject({ bos_token_id: 5, eos_token_id: [4], pad_token_id: null });
});

test("an adapter's tokens without rows are taken out of its tokenizer; its rows without tokens are told", async () => {
  const tokens = await merge("merge_method: passthrough\nmodels: [{model: plain+more-tokens}]\n");
  expect([tokens.rows, tokens.added, tokens.template]).toEqual([6, ["4 <s>", "5 </s>"], "{{ messages }}"]);
  expect(tokens.json("tokenizer_config.json")).toEqual({});
  const rows = await merge("merge_method: passthrough\nmodels: [{model: plain+rows-only}]\n");
  expect(rows.warnings).toContainEqual(expect.stringMatching(/^recipe\/tokenizer "rows-only" gives "plain" 8 rows/));
});
