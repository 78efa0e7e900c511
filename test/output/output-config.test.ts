import { expect, test } from "vitest";
import type { TensorEntry } from "../../checkpoint/index.ts";
import { outputConfig } from "../../output/documents/config/output-config.ts";
import { fakePlan } from "./fake-output.ts";

test("a number of tokens that is not the rows stays where the rows do: tables of several codebooks have more", () => {
  const config = { num_hidden_layers: 2, vocab_size: 8, dtype: "bfloat16" };
  const embedding = { name: "model.embed_tokens.weight", shape: [32, 4] } as unknown as TensorEntry;
  const defining = { config, tensors: new Map([[embedding.name, embedding]]) };
  const rowsOf = (embeddingRows: number) =>
    JSON.parse(outputConfig(JSON.stringify(config), defining, { ...fakePlan(), embeddingRows })).vocab_size;
  expect([32, 40].map(rowsOf)).toEqual([8, 40]);
});

test("what a config tells of quantisation goes with the codes, in every part; all else stays as it is written", () => {
  const text = `{
  "num_hidden_layers": 2,
  "quantization_config": {"quant_method": "gptq"},
  "text_config": {"rms_norm_eps": 1e-05, "compression_config": {"bits": 4}, "vocab_size": 32},
  "torch_dtype": "bfloat16"
}`;
  const edited = outputConfig(text, { config: JSON.parse(text), tensors: new Map() }, fakePlan());
  expect(edited).toBe(`{
  "num_hidden_layers": 2,
  "text_config": {"rms_norm_eps": 1e-05, "vocab_size": 32},
  "torch_dtype": "bfloat16"
}`);
});
