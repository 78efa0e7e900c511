import { expect, test } from "vitest";
import type { TensorEntry } from "../../checkpoint/index.ts";
import { outputConfig } from "../../output/documents/config/output-config.ts";
import { fakePlan } from "./fake-output.ts";

test("the number of tokens is what the plan says, also where the rows stay; what is no number stays with them", () => {
  const embedding = { name: "model.embed_tokens.weight", shape: [32, 4] } as unknown as TensorEntry;
  const sizeIn = (vocabSize: number | null, embeddingRows?: number) => {
    const config = { num_hidden_layers: 2, vocab_size: vocabSize, dtype: "bfloat16" };
    const defining = { config, tensors: new Map([[embedding.name, embedding]]) };
    const { embeddingRows: _, ...rest } = fakePlan();
    const plan = embeddingRows === undefined ? rest : { ...rest, embeddingRows };
    return JSON.parse(outputConfig(JSON.stringify(config), defining, plan)).vocab_size;
  };
  expect([sizeIn(8), sizeIn(8, 32), sizeIn(8, 40), sizeIn(null, 32), sizeIn(null, 40)]).toEqual([8, 32, 40, null, 40]);
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
