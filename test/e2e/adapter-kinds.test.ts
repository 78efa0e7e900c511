import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readCheckpoint } from "../support/read-safetensors.ts";
import { runMerge } from "../support/run-merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

// As PEFT 0.21.2 computes them, seen with its own models: logits of model and adapter are those of the output.

type Matrix = readonly (readonly number[])[];

const tensor = (name: string, values: Matrix | readonly number[]) => {
  const flat = Float32Array.from(values.flat());
  const [first] = values;
  const shape = Array.isArray(first) ? [values.length, first.length] : [values.length];
  return { name, dtype: "F32", shape, bytes: new Uint8Array(flat.buffer) };
};

const embedding = [
  [1, 2],
  [3, 4],
  [5, 6],
];
const weight = [
  [3, 4],
  [1, 0],
];

function folder(tied: boolean, config: object, adapter: Readonly<Record<string, Matrix | readonly number[]>>): string {
  const root = temporaryFolder();
  const head = tied ? [] : [tensor("lm_head.weight", embedding)];
  writeSafetensors(join(root, "base", "model.safetensors"), [
    tensor("model.embed_tokens.weight", embedding),
    tensor("model.layers.0.mlp.up_proj.weight", weight),
    ...head,
  ]);
  const settings = { model_type: "llama", num_hidden_layers: 1, vocab_size: 3, tie_word_embeddings: tied };
  writeFileSync(join(root, "base", "config.json"), JSON.stringify(settings));
  mkdirSync(join(root, "lora"));
  writeSafetensors(
    join(root, "lora", "adapter_model.safetensors"),
    Object.entries(adapter).map(([name, values]) => tensor(`base_model.model.${name}`, values)),
  );
  const plain = { peft_type: "LORA", r: 1, lora_alpha: 2, init_lora_weights: true, ...config };
  writeFileSync(join(root, "lora", "adapter_config.json"), JSON.stringify(plain));
  return root;
}

async function merged(root: string) {
  const out = join(root, "out");
  const run = await runMerge("merge_method: passthrough\nmodels: [{model: base+lora}]", out, { models: root });
  expect(run.outcome).toMatchObject({ outcome: "done" });
  const valuesOf = ({ bytes }: { readonly bytes: Buffer }) => {
    const copy = Uint8Array.from(bytes);
    return [...new Float32Array(copy.buffer)];
  };
  const values = new Map([...readCheckpoint(out)].map(([name, found]) => [name, valuesOf(found)]));
  return { values, config: JSON.parse(readFileSync(join(out, "config.json"), "utf8")), findings: run.planFindings };
}

const onWeight = {
  "model.layers.0.mlp.up_proj.lora_A.weight": [[1, 0]],
  "model.layers.0.mlp.up_proj.lora_B.weight": [[0], [1]],
};
/** [rank, rows] and [columns, rank]: row 1 gets 2 * 10 * [1, 2]. */
const onEmbedding = {
  "model.embed_tokens.lora_embedding_A": [[0, 10, 0]],
  "model.embed_tokens.lora_embedding_B": [[1], [2]],
};
const adapted = [1, 2, 23, 44, 5, 6];

test("LoRA on an embedding adds its product transposed", async () => {
  const { values } = await merged(folder(false, {}, onEmbedding));
  expect(values.get("model.embed_tokens.weight")).toEqual(adapted);
  expect(values.get("lm_head.weight")).toEqual(embedding.flat());
});

test.each([
  ["LoRA on it", {}, onEmbedding],
  [
    "a copy of it",
    { modules_to_save: ["embed_tokens"] },
    {
      ...onWeight,
      "model.embed_tokens.weight": [
        [1, 2],
        [23, 44],
        [5, 6],
      ],
    },
  ],
])("an embedding that is its head and is trained as %s leaves the head as it was", async (_, config, tensors) => {
  const { values, config: written } = await merged(folder(true, config, tensors));
  expect(values.get("model.embed_tokens.weight")).toEqual(adapted);
  expect(values.get("lm_head.weight")).toEqual(embedding.flat());
  expect(written.tie_word_embeddings).toBe(false);
  const kept = await merged(folder(true, { ...config, ensure_weight_tying: true }, tensors));
  expect(kept.values.has("lm_head.weight")).toBe(false);
  expect(kept.values.get("model.embed_tokens.weight")).toEqual(adapted);
  expect(kept.config.tie_word_embeddings).toBe(true);
});

test("DoRA gives every row of the sum the length of its magnitude", async () => {
  const magnitudes = { "model.layers.0.mlp.up_proj.lora_magnitude_vector": [10, 6] };
  const { values } = await merged(folder(false, { use_dora: true }, { ...onWeight, ...magnitudes }));
  // [3, 4] of length 5, and [1, 0] + 2 * [1, 0] of length 3.
  expect(values.get("model.layers.0.mlp.up_proj.weight")).toEqual([6, 8, 6, 0]);
  const short = { "model.layers.0.mlp.up_proj.lora_magnitude_vector": [10] };
  await expect(merged(folder(false, { use_dora: true }, { ...onWeight, ...short }))).rejects.toThrow(
    "1 magnitudes for 2 rows",
  );
});

test.each(["cat", "svd", "linear"])("DoRAs are not merged as adapters by %s", async (method) => {
  const magnitudes = { "model.layers.0.mlp.up_proj.lora_magnitude_vector": [10, 6] };
  const root = folder(false, { use_dora: true }, { ...onWeight, ...magnitudes });
  const recipe = `merge_method: ${method}\nparameters: {weight: 1${method === "svd" ? ", rank: 1" : ""}}\nmodels: [{model: lora}, {model: ./lora}]`;
  await expect(runMerge(recipe, join(root, "out"), { models: root })).rejects.toThrow(/is a DoRA/);
});
