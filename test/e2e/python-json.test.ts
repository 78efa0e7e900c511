import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runMerge } from "../support/run-merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

const config = `{
  "model_type": "llama", "num_hidden_layers": 1, "vocab_size": ROWS, "eos_token_id": EOS,
  "time_step_limit": [0.0, Infinity], "low": -Infinity, "rope_theta": 10000.0
}`;
const generation = '{"eos_token_id": [EOS], "a": NaN, "b": [1.0, -Infinity]}';
const tokenizerConfig =
  '{"model_max_length": 1000000000000000019884624838656, "x": Infinity, "added_tokens_decoder": {}}';

function write(folder: string, tokens: readonly string[]): void {
  const rows = tokens.length;
  const embedding = {
    name: "model.embed_tokens.weight",
    dtype: "F32",
    shape: [rows, 2],
    bytes: new Uint8Array(8 * rows),
  };
  const layer = { name: "model.layers.0.mlp.up_proj.weight", dtype: "F32", shape: [2, 2], bytes: new Uint8Array(16) };
  writeSafetensors(join(folder, "model.safetensors"), [embedding, layer]);
  const filled = (text: string) => text.replace("ROWS", `${rows}`).replace("EOS", `${tokens.indexOf("</s>")}`);
  writeFileSync(join(folder, "config.json"), filled(config));
  writeFileSync(join(folder, "generation_config.json"), filled(generation));
  writeFileSync(join(folder, "tokenizer_config.json"), tokenizerConfig);
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  writeFileSync(
    join(folder, "tokenizer.json"),
    JSON.stringify({ added_tokens: [], model: { type: "BPE", vocab, merges: [] } }),
  );
}

test("configs as Python's json writes them are written back as they stand, also where ids are renumbered", async () => {
  const models = temporaryFolder();
  write(join(models, "a"), ["x", "y", "</s>"]);
  write(join(models, "b"), ["w", "x", "y", "</s>"]);
  const weighted = "models: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 1}}]";
  const run = await runMerge(`merge_method: linear\ntokenizer_source: b\n${weighted}`, join(models, "out"), { models });
  expect(run.outcome.outcome).toBe("done");
  const written = (name: string) => readFileSync(join(models, "out", name), "utf8");
  expect(written("config.json")).toContain(
    '"time_step_limit": [0.0, Infinity], "low": -Infinity, "rope_theta": 10000.0',
  );
  expect(written("config.json")).toContain('"vocab_size": 4, "eos_token_id": 3');
  expect(written("generation_config.json")).toMatch(/"eos_token_id": \[\s*3\s*\], "a": NaN, "b": \[1\.0, -Infinity\]/);
  expect(written("tokenizer_config.json")).toContain('"model_max_length": 1000000000000000019884624838656');
  expect(written("tokenizer_config.json")).toContain('"x": Infinity');
});

test("a stack from a model with such a config has it, too", async () => {
  const models = temporaryFolder();
  write(join(models, "a"), ["x", "y", "</s>"]);
  const slice = "{sources: [{model: a, layer_range: [0, 1]}]}";
  const run = await runMerge(`merge_method: passthrough\nslices: [${slice}, ${slice}]`, join(models, "out"), {
    models,
  });
  expect(run.outcome.outcome).toBe("done");
  const written = readFileSync(join(models, "out", "config.json"), "utf8");
  expect(written).toContain('"num_hidden_layers": 2');
  expect(written).toContain('"time_step_limit": [0.0, Infinity], "low": -Infinity, "rope_theta": 10000.0');
});
