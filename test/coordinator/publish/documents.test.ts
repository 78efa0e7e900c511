import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { checkLayerCount, outputDocuments } from "../../../coordinator/publish/index.ts";
import { modelCard, recipeInCard } from "../../../coordinator/publish/model-card.ts";
import type { Plan } from "../../../merge/work/index.ts";
import { CONFIG, FakeOutput, fakePlan, RECIPE } from "./fake-output.ts";

async function documentsOf(fake: FakeOutput, change: Partial<Plan> = {}): Promise<Map<string, string>> {
  const definingCheckpoint = await fake.checkpoint();
  const plan = { ...(await fake.plan()), ...change };
  const documents = await outputDocuments(plan, { store: fake.store, recipeText: RECIPE, definingCheckpoint });
  return new Map(documents.map(({ name, bytes }) => [name, Buffer.from(bytes).toString("utf8")]));
}

async function configOf(config: string | object, change: Partial<Plan> = {}): Promise<string> {
  const fake = new FakeOutput();
  writeFileSync(join(fake.model, "config.json"), typeof config === "string" ? config : JSON.stringify(config));
  return (await documentsOf(fake, change)).get("config.json") ?? "";
}

describe("config.json", () => {
  test("gets layer count, dtype and vocabulary size, and stays as it was in all else", async () => {
    expect(await configOf(CONFIG, { layerCount: 3, embeddingRows: 40 })).toBe(
      CONFIG.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')
        .replace('"float32"', '"bfloat16"')
        .replace('"vocab_size": 32', '"vocab_size": 40'),
    );
  });

  test.each(["n_layer", "num_layers", "n_layers"])(
    "the layer count goes into %s where the config calls it so",
    async (key) => {
      const config = { model_type: "x", [key]: 2, dtype: "bfloat16", vocab_size: 32 };
      expect(JSON.parse(await configOf(config, { layerCount: 5 }))).toEqual({ ...config, [key]: 5 });
    },
  );

  test("of several towers the language model's values are set, and the whole's where they stand", async () => {
    const vision = { num_hidden_layers: 2, dtype: "float32" };
    const config = {
      dtype: "float32",
      text_config: { num_hidden_layers: 2, torch_dtype: "float32", vocab_size: 32 },
      vision,
    };
    expect(JSON.parse(await configOf(config, { layerCount: 4, embeddingRows: 48 }))).toEqual({
      dtype: "bfloat16",
      text_config: { num_hidden_layers: 4, torch_dtype: "bfloat16", vocab_size: 48 },
      vision,
    });
  });

  test("both dtype keys are set where both stand, and torch_dtype is added where none does", async () => {
    const both = { num_hidden_layers: 2, dtype: "float32", torch_dtype: "float32", vocab_size: 32 };
    expect(JSON.parse(await configOf(both))).toEqual({ ...both, dtype: "bfloat16", torch_dtype: "bfloat16" });
    const none = { num_hidden_layers: 2, vocab_size: 32 };
    expect(JSON.parse(await configOf(none))).toEqual({ ...none, torch_dtype: "bfloat16" });
  });

  test("the dtype is the one that most elements have, integers not counted", async () => {
    const plan = fakePlan();
    const [a, b, c, d] = plan.tasks;
    const tasks = [
      { ...a!, dtype: "F32" },
      { ...b!, dtype: "I64" },
      { ...c!, dtype: "F16" },
      { ...d!, dtype: "F32" },
    ] as const;
    expect(JSON.parse(await configOf(CONFIG, { tasks }))).toMatchObject({ torch_dtype: "float16" });
  });

  test("lists with an entry a layer follow the layers of a stack", async () => {
    const config = {
      num_hidden_layers: 3,
      layer_types: ["full", "sliding", "linear"],
      dtype: "bfloat16",
      vocab_size: 32,
    };
    const [like] = fakePlan().tasks;
    const tasks = [2, 0, 2, 1].map((from, layer) => {
      const models = [{ ...like!.models[0]!, tensor: `model.layers.${from}.w` }];
      return { ...like!, name: `model.layers.${layer}.w`, models };
    });
    expect(JSON.parse(await configOf(config, { layerCount: 4, tasks }))).toMatchObject({
      num_hidden_layers: 4,
      layer_types: ["linear", "full", "linear", "sliding"],
    });
  });
});

describe("checkLayerCount", () => {
  test("refuses a config without a key for a count that changes, naming the counts", async () => {
    const { tensors } = await new FakeOutput().checkpoint();
    const plan = { ...fakePlan(), layerCount: 3 };
    const keyless = { config: { depth: 2 }, tensors };
    expect(() => checkLayerCount(plan, keyless)).toThrow(/base: config.json has no key .* goes from 0 to 3/);
    checkLayerCount({ ...plan, layerCount: 0 }, keyless);
    checkLayerCount(plan, { config: { n_layer: 2 }, tensors });
    checkLayerCount(plan, { config: undefined, tensors });
  });
});

describe("other documents", () => {
  test("companions are copied byte by byte, those in folders too", async () => {
    const fake = new FakeOutput();
    const documents = await documentsOf(fake);
    for (const name of ["tokenizer.json", "additional_chat_templates/tool.jinja"]) {
      expect(documents.get(name)).toBe(readFileSync(join(fake.model, name), "utf8"));
    }
  });

  test("the recipe is the user's text; the card shows it and keeps paths of the machine out of all else", async () => {
    const documents = await documentsOf(new FakeOutput());
    expect(documents.get("mergekit_config.yml")).toBe(RECIPE);
    const card = documents.get("README.md") ?? "";
    expect(card).toContain(RECIPE);
    expect(card.replace(RECIPE, "")).not.toContain("/secret");
    const [, frontMatter = ""] = /^---\n(.*?)\n---\n/s.exec(card) ?? [];
    expect(parse(frontMatter)).toEqual({
      base_model: ["base"],
      library_name: "transformers",
      tags: ["merge", "deltaworks"],
    });
    expect(card).toContain("[arXiv:2203.05482](https://arxiv.org/abs/2203.05482)");
  });

  test.each(["a: 1", "a: 1\n", "a: 1\n\n", "a: |\n  ```yaml\n  ````\n", "# é\r\na: 1\r\n", "```"])(
    "the recipe %j is found again in the card",
    (recipe) => {
      expect(recipeInCard(modelCard(fakePlan(), recipe))).toContain(recipe);
    },
  );

  test("there is an index for several shards only, with every tensor's shard and the size of all", async () => {
    expect((await documentsOf(new FakeOutput())).has("model.safetensors.index.json")).toBe(false);
    const documents = await documentsOf(new FakeOutput({ shardBytes: 250_000 }));
    expect(JSON.parse(documents.get("model.safetensors.index.json") ?? "")).toEqual({
      metadata: { total_size: 2 * (32 * 8 + 512 * 512 + 100 * 120 + 8) },
      weight_map: {
        "a.weight": "model-00001-of-00003.safetensors",
        "layers.0.b.weight": "model-00002-of-00003.safetensors",
        "layers.1.c.weight": "model-00003-of-00003.safetensors",
        "norm.weight": "model-00003-of-00003.safetensors",
      },
    });
  });

  test("a model that is one file without a config gives none", async () => {
    const fake = new FakeOutput();
    rmSync(join(fake.model, "config.json"));
    expect((await documentsOf(fake)).has("config.json")).toBe(false);
  });
});
