import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  copyNames,
  headBeside,
  inputEmbedding,
  openCheckpoint,
  saysTied,
  tiedHeadName,
} from "../../checkpoint/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

const matrices = (...names: string[]) => new Map(names.map((name) => [name, { shape: [4, 2] }]));

test.each<[object | undefined, boolean | undefined]>([
  [{ tie_word_embeddings: true }, true],
  [{ tie_word_embeddings: false, model_type: "gemma2" }, false],
  [{ model_type: "gemma2" }, true],
  [{ model_type: "llama" }, false],
  [{ model_type: "aria" }, undefined], // tied in transformers 4, not in 5
  [{ model_type: "nobody" }, undefined],
  [{ model_type: "nobody", text_config: { tie_word_embeddings: true } }, true],
  [{ model_type: "nobody", text_config: { model_type: "gemma3_text" } }, true],
  [{ model_type: "nobody", llm_config: { model_type: "qwen2" } }, false],
  [{ model_type: "gemma3", tie_word_embeddings: false, text_config: { model_type: "gemma3_text" } }, false],
  [{ tie_word_embeddings: false, text_config: { tie_word_embeddings: true } }, undefined],
  [{ tie_word_embeddings: true, text_config: { tie_word_embeddings: false } }, true],
  [{ tie_word_embeddings: null, model_type: "gpt2" }, true],
  [{}, undefined],
  [undefined, undefined],
])("a config %j says of a tied head: %s", (config, tied) => {
  expect(saysTied(config as Record<string, unknown> | undefined)).toBe(tied);
});

test.each<[string, readonly string[]]>([
  ["model.embed_tokens.weight", ["lm_head.weight"]],
  ["transformer.wte.weight", ["transformer.wpe.weight", "lm_head.weight"]],
  ["model.language_model.embed_tokens.weight", ["model.vision_tower.embeddings.weight", "lm_head.weight"]],
  ["shared.weight", ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]],
  ["model.embed_tokens.weight", ["model.layers.1.embed_tokens.weight", "model.embed_tokens_per_layer.weight"]],
  ["model.decoder.embed_tokens.weight", ["model.decoder.embed_positions.weight"]],
])("%s is the input embedding, whatever stands beside it", (embedding, others) => {
  expect(inputEmbedding(matrices(...others, embedding))).toBe(embedding);
});

test("copies are known by their names, and what they are copies of", () => {
  const of = (...names: string[]) => copyNames(matrices(...names)).map(({ name, of: original }) => [name, original]);
  expect(of("lm_head.weight", "model.embed_tokens.weight")).toEqual([["lm_head.weight", "model.embed_tokens.weight"]]);
  expect(of("prophetnet.word_embeddings.weight", "prophetnet.encoder.word_embeddings.weight")).toEqual([
    ["prophetnet.encoder.word_embeddings.weight", "prophetnet.word_embeddings.weight"],
  ]);
  expect(of("lm_head.decoder.bias", "lm_head.bias")).toEqual([["lm_head.decoder.bias", "lm_head.bias"]]);
  expect(of("model.embed_tokens.weight", "model.layers.61.embed_tokens.weight")).toEqual([
    ["model.layers.61.embed_tokens.weight", "model.embed_tokens.weight"],
  ]);
  // Towers of models that have nothing in common, and a head without an embedding.
  expect(of("encoder.embed_tokens.weight", "talker.embed_tokens.weight", "lm_head.decoder.weight").length).toBe(1);
  expect(of("lm_head.weight")).toEqual([]);
});

test("a head lies where the embedding's model does", () => {
  const beside = (embedding: string) => headBeside(embedding, "model.lm_head.weight");
  expect(beside("model.embed_tokens.weight")).toBe("lm_head.weight");
  expect(beside("model.language_model.embed_tokens.weight")).toBe("lm_head.weight");
  expect(beside("language_model.model.embed_tokens.weight")).toBe("language_model.lm_head.weight");
  expect(beside("thinker.model.embed_tokens.weight")).toBe("thinker.lm_head.weight");
  expect(beside("transformer.wte.weight")).toBe("lm_head.weight");
});

/** 40,000 rows of two: more than is compared whole. */
const ROWS = 40_000;
function headOf(change: (head: Float32Array) => void, dtype = "F32") {
  const folder = placeOf(temporaryFolder());
  const embedding = Float32Array.from({ length: 2 * ROWS }, (_, k) => k);
  const head = embedding.slice();
  change(head);
  const tensor = (name: string, values: Float32Array, own = "F32") => ({
    ...{ name, dtype: own, shape: own === "F32" ? [ROWS, 2] : [ROWS, 4] },
    bytes: new Uint8Array(values.buffer),
  });
  writeSafetensors(
    join(folder, "model.safetensors"),
    [tensor("model.embed_tokens.weight", embedding), tensor("lm_head.weight", head, dtype)],
    {
      format: "pt",
      "model.alias.weight": "lm_head.weight",
      "lm_head.weight": "model.embed_tokens.weight",
      odd: "nothing",
    },
  );
  writeFileSync(join(folder, "config.json"), "{}");
  return openCheckpoint(new FileStore({ blocking: true }), { root: folder }, "model");
}

test("whether a head is a copy of the embedding is read, from beginning to end; aliases are those of tensors that are there", async () => {
  const equal = await headOf(() => {});
  expect([...(equal.copies ?? [])]).toEqual([["lm_head.weight", true]]);
  expect([...(equal.aliases ?? [])]).toEqual([["model.alias.weight", "lm_head.weight"]]);
  for (const at of [0, 2 * ROWS - 1]) {
    const other = await headOf((head) => head.fill(-1, at, at + 1));
    expect(other.copies?.get("lm_head.weight")).toBe(false);
  }
  const mean = await headOf((head) => head.set(head.map((value) => value + 1)));
  expect(mean.copies?.get("lm_head.weight")).toBe(false);
  const halves = await headOf(() => {}, "F16");
  expect(halves.copies?.get("lm_head.weight")).toBe(false);
});

// As transformers 5.24 calls the head of the class, of what its files hold where the head is tied.
test.each<[string, string, string | undefined, readonly string[]]>([
  ["lm_head.weight", "model.embed_tokens.weight", "gemma3_text", []],
  ["language_model.lm_head.weight", "language_model.model.embed_tokens.weight", undefined, []],
  ["lm_head.decoder.weight", "roberta.embeddings.word_embeddings.weight", "roberta", ["lm_head.dense.weight"]],
  ["lm_head.decoder.weight", "bert.embeddings.word_embeddings.weight", "bert-generation", ["lm_head.bias"]],
  ["lm_head.weight", "transformer.w.weight", "ctrl", ["lm_head.bias"]],
  ["cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight", "bert", ["cls.predictions.bias"]],
  [
    "text_decoder.cls.predictions.decoder.weight",
    "text_decoder.bert.embeddings.word_embeddings.weight",
    "blip",
    ["text_decoder.cls.predictions.bias"],
  ],
  ["predictions.decoder.weight", "albert.embeddings.word_embeddings.weight", "albert", ["predictions.dense.bias"]],
  ["vocab_projector.weight", "distilbert.embeddings.word_embeddings.weight", "distilbert", ["vocab_transform.bias"]],
  ["lm_loss.weight", "transformer.word_embedding.weight", "xlnet", ["lm_loss.bias"]],
  ["proj_out.weight", "model.decoder.embed_tokens.weight", "whisper", []],
  ["decoder.weight", "model.embeddings.tok_embeddings.weight", "modernbert-decoder", ["lm_head.dense.weight"]],
])("a tied head is called %s beside %s of a %s", (head, embedding, type, others) => {
  expect(tiedHeadName(embedding, matrices(embedding, ...others), { model_type: type })).toBe(head);
});
