import { expect, test } from "vitest";
import { modelFacts } from "../../checkpoint/index.ts";
import { checkpointOf, tinyLlama } from "../recipe/checkpoints.ts";

test("layers are counted by stack; linear modules of a projector with activations between them are none", () => {
  const checkpoint = checkpointOf([
    ...tinyLlama(2),
    ["visual.blocks.0.attn.qkv.weight", [4, 4]],
    ["visual.merger.mlp.0.weight", [4, 4]],
    ["visual.merger.mlp.2.weight", [4, 4]],
    ["resampler.layers.0.q_proj.weight", [4, 4]],
  ]);
  expect(modelFacts(checkpoint).stacks.map(({ prefix, layers }) => [prefix, layers])).toEqual([
    ["model.layers", 2],
    ["visual.blocks", 1],
    ["resampler.layers", 1],
  ]);
});

test("of head and embedding that are one parameter, the head counts the vocabulary where only it is stored", () => {
  const tensors = tinyLlama(1).filter(([name]) => !name.includes("embed_tokens"));
  const vocabularyOf = (config: Record<string, unknown>) => modelFacts(checkpointOf(tensors, config)).vocabulary;
  const config = { model_type: "llama", vocab_size: 12 };
  expect(vocabularyOf({ ...config, tie_word_embeddings: true })).toEqual({ rows: 10, configured: 12, head: "tied" });
  expect(vocabularyOf({ ...config, tie_word_embeddings: false })).toBeUndefined();
});
