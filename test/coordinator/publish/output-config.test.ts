import { expect, test } from "vitest";
import type { TensorEntry } from "../../../checkpoint/index.ts";
import { outputConfig } from "../../../coordinator/publish/config/output-config.ts";
import { fakePlan } from "./fake-output.ts";

test("a number of tokens that is not the rows stays where the rows do: tables of several codebooks have more", () => {
  const config = { num_hidden_layers: 2, vocab_size: 8, dtype: "bfloat16" };
  const embedding = { name: "model.embed_tokens.weight", shape: [32, 4] } as unknown as TensorEntry;
  const defining = { config, tensors: new Map([[embedding.name, embedding]]) };
  const rowsOf = (embeddingRows: number) =>
    JSON.parse(outputConfig(JSON.stringify(config), defining, { ...fakePlan(), embeddingRows })).vocab_size;
  expect([32, 40].map(rowsOf)).toEqual([8, 40]);
});
