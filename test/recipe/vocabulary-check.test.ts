import { expect, test } from "vitest";
import { Findings } from "../../recipe/findings.ts";
import type { LayerSource, RecipeInput } from "../../recipe/index.ts";
import { mainEmbedding } from "../../recipe/main-embedding.ts";
import { VocabularyCheck } from "../../recipe/vocabulary-check.ts";
import { checkpointOf, tinyLlama } from "./checkpoints.ts";

const EMBEDDING = "model.embed_tokens.weight";

test("models without tokenizers are looked at once each, and not in pairs", () => {
  const looksAt = (count: number) => {
    let looks = 0;
    const checkpoint = checkpointOf(tinyLlama(1, 10), { num_hidden_layers: 1, vocab_size: 10 });
    const inputs = Array.from({ length: count }, (_, k): RecipeInput => {
      const input = { reference: { text: `m${k}`, path: `m${k}`, adapters: [] }, label: `m${k}` };
      return Object.defineProperty({ ...input, checkpoint } as unknown as RecipeInput, "checkpoint", {
        get() {
          looks++;
          return checkpoint;
        },
      });
    });
    const options = { allowMismatch: false, cutsRows: false, isOfOneOrder: false };
    const source = { place: { line: 1, column: 1 } } as unknown as LayerSource;
    const sources = inputs.map((_, inputIndex) => ({ source, inputIndex }));
    new VocabularyCheck(inputs, 0, new Findings("recipe.yml"), options).check(EMBEDDING, 10, sources);
    return looks;
  };
  expect(looksAt(40)).toBeLessThanOrEqual(4 * looksAt(10));
});

test("the names of a checkpoint are gone through once to find its embedding", () => {
  const checkpoint = checkpointOf(tinyLlama(1, 10), { num_hidden_layers: 1, vocab_size: 10 });
  expect(mainEmbedding(checkpoint)).toEqual({ name: EMBEDDING, rows: 10 });
  (checkpoint.tensors as Map<string, unknown>).clear();
  expect(mainEmbedding(checkpoint)).toEqual({ name: EMBEDDING, rows: 10 });
});
