import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runMerge } from "../support/run-merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

type Files = Readonly<Record<string, string>>;

function write(folder: string, files: Files): void {
  const f32 = (name: string, rows: number) => {
    return { name, dtype: "F32", shape: [rows, 2], bytes: new Uint8Array(8 * rows) };
  };
  writeSafetensors(join(folder, "model.safetensors"), [
    f32("model.embed_tokens.weight", 3),
    f32("model.layers.0.mlp.up_proj.weight", 2),
  ]);
  writeFileSync(join(folder, "config.json"), '{"model_type": "llama", "num_hidden_layers": 1, "vocab_size": 3}');
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
}

const ids = (...tokens: string[]) => JSON.stringify(Object.fromEntries(tokens.map((token, id) => [token, id])));
const fast = (...tokens: string[]) =>
  JSON.stringify({ added_tokens: [], model: { type: "BPE", vocab: JSON.parse(ids(...tokens)), merges: [] } });
const lines = (...tokens: string[]) => `${tokens.join("\n")}\n`;

/** The codes of what is said of a and b; c is like b. */
async function said(models: Readonly<Record<"a" | "b", Files>>, more: Files = models.b, options = {}) {
  const root = temporaryFolder();
  for (const [name, files] of Object.entries({ ...models, c: more })) write(join(root, name), files);
  const listed = ["a", "b", "c"].map((model) => `{model: ${model}, parameters: {weight: 1}}`).join(", ");
  return runMerge(`merge_method: linear\nmodels: [${listed}]`, join(root, "out"), { models: root, ...options });
}

test.each<[string, Files, Files]>([
  ["vocab.json", { "vocab.json": ids("x", "y", "z") }, { "vocab.json": ids("x", "z", "y") }],
  ["vocab.txt", { "vocab.txt": lines("x", "y", "z") }, { "vocab.txt": lines("x", "z", "y") }],
  ["tiktoken", { "a.tiktoken": "IQ== 0\nIg== 1\n" }, { "a.tiktoken": "Ig== 0\nIQ== 1\n" }],
  [
    "added tokens",
    { "vocab.txt": lines("x"), "added_tokens.json": '{"y": 1, "z": 2}' },
    { "vocab.txt": lines("x"), "added_tokens.json": '{"z": 1, "y": 2}' },
  ],
  ["a fast one and vocab.json", { "tokenizer.json": fast("x", "y", "z") }, { "vocab.json": ids("x", "z", "y") }],
  ["vocab.txt and a fast one", { "vocab.txt": lines("x", "y", "z") }, { "tokenizer.json": fast("x", "z", "y") }],
])("models that give ids to other tokens in %s are refused", async (_, a, b) => {
  await expect(said({ a, b })).rejects.toThrow(/the id [01] is ".*" in "a" and ".*" in "b"; 2 ids below 3 differ/);
  await expect(said({ a: b, b })).resolves.toMatchObject({ outcome: { outcome: "done" } });
});

test("a model whose files cannot be compared with the others' does not keep these from being compared", async () => {
  const [a, b, c] = [
    { "own.tiktoken": "IQ== 0\n" },
    { "vocab.txt": lines("x", "y") },
    { "vocab.txt": lines("y", "x") },
  ];
  await expect(said({ a, b }, c)).rejects.toThrow(/"x" in "b" and "y" in "c"/);
  await expect(said({ a, b })).resolves.toMatchObject({ outcome: { outcome: "done" } });
});
