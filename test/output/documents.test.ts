import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import type { Plan } from "../../merge/work/index.ts";
import { modelCard, recipeInCard } from "../../output/documents/model-card.ts";
import { withChatTemplate } from "../../output/documents/output-text.ts";
import { checkLayerCount, type OutputText, outputDocuments } from "../../output/index.ts";
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

function counted(layers: number, ...parents: string[]): NonNullable<Plan["configValues"]> {
  return [{ path: [...parents, "num_hidden_layers"], value: layers }];
}

describe("config.json", () => {
  test("gets what the plan says of layers, dtype and vocabulary size, and stays as it was in all else", async () => {
    expect(await configOf(CONFIG, { layerCount: 3, configValues: counted(3), embeddingRows: 40 })).toBe(
      CONFIG.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')
        .replace('"float32"', '"bfloat16"')
        .replace('"vocab_size": 32', '"vocab_size": 40'),
    );
  });

  test("entries of lists keep the text that they had, and numbers between them their type", async () => {
    const text =
      '{"num_hidden_layers": 2, "rates": [0.950, 0.0], "kinds": [{"n": 1.0}, {"n": 2}], "vocab_size": 32, "dtype": "bfloat16"}';
    const configValues = [
      { path: ["rates"], value: [0, 1, 0.95] },
      { path: ["kinds"], value: [{ n: 2 }, { n: 1 }] },
    ];
    expect(await configOf(text, { configValues })).toBe(
      text.replace("[0.950, 0.0]", "[0.0,1.0,0.950]").replace('{"n": 1.0}, {"n": 2}', '{"n": 2},{"n": 1.0}'),
    );
  });

  test("every name of the number of tokens is set, and that of a table for each layer by its own rows", async () => {
    const perLayer = { ...fakePlan().tasks[0]!, name: "model.embed_tokens_per_layer.weight", shape: [38, 16] };
    const config = {
      num_hidden_layers: 2,
      vocab_size: 34,
      padded_vocab_size: 36,
      vocab_size_per_layer_input: 34,
      type_vocab_size: 34,
    };
    expect(
      JSON.parse(await configOf(config, { embeddingRows: 40, tasks: [...fakePlan().tasks, perLayer] })),
    ).toMatchObject({
      ...{ vocab_size: 40, padded_vocab_size: 40, vocab_size_per_layer_input: 38, type_vocab_size: 34 },
    });
  });

  test("of several towers the language model's values are set, and the whole's where they stand", async () => {
    const vision = { num_hidden_layers: 2, dtype: "float32" };
    const config = {
      dtype: "float32",
      text_config: { num_hidden_layers: 2, torch_dtype: "float32", vocab_size: 32 },
      vision,
    };
    expect(JSON.parse(await configOf(config, { configValues: counted(4, "text_config"), embeddingRows: 48 }))).toEqual({
      dtype: "bfloat16",
      text_config: { num_hidden_layers: 4, torch_dtype: "bfloat16", vocab_size: 48 },
      vision,
    });
  });

  test("parts of other towers have the output's dtype where all of it is of one", async () => {
    const config = {
      ...{ num_hidden_layers: 2, torch_dtype: "float32", vocab_size: 32 },
      vision_config: { torch_dtype: "float32", inner_config: { dtype: "float16" }, other: { dtype: "float32" } },
      audio_config: { dtype: "auto" },
    };
    const { tasks } = fakePlan();
    const all = (dtype: "F16" | "F32") =>
      tasks.map((task, k) => ({ ...task, dtype: k === 0 ? dtype : "F16" }) as const);
    expect(JSON.parse(await configOf(config, { tasks: all("F16") }))).toEqual({
      ...{ ...config, torch_dtype: "float16" },
      vision_config: { torch_dtype: "float16", inner_config: { dtype: "float16" }, other: { dtype: "float32" } },
    });
    expect(JSON.parse(await configOf(config, { tasks: all("F32") }))).toEqual({ ...config, torch_dtype: "float16" });
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
});

describe("checkLayerCount", () => {
  test("refuses a config without a key for a count that changes, naming the counts", async () => {
    const { tensors } = await new FakeOutput().checkpoint();
    const plan = { ...fakePlan(), layerCount: 3 };
    const keyless = { config: { depth: 2 }, tensors };
    expect(() => checkLayerCount(plan, keyless)).toThrow(/base: config.json has no key .* goes from 0 to 3/);
    checkLayerCount({ ...plan, layerCount: 0 }, keyless);
    checkLayerCount({ ...plan, configValues: [{ path: ["n_layer"], value: 3 }] }, { config: { n_layer: 2 }, tensors });
    checkLayerCount(plan, { config: undefined, tensors });
    const listing = { config: { layers_block_type: ["a", "b"] }, tensors };
    checkLayerCount({ ...plan, configValues: [{ path: ["layers_block_type"], value: ["a", "b", "b"] }] }, listing);
    expect(() => checkLayerCount(plan, listing)).toThrow(/goes from 0 to 3/);
  });
});

describe("a chat template that the recipe asks for", () => {
  const document = (name: string, text: string) => ({ name, bytes: Buffer.from(text) });
  const written = (documents: readonly { readonly name: string; readonly bytes: Uint8Array }[]) =>
    Object.fromEntries(
      withChatTemplate(documents, "new").map(({ name, bytes }) => [name, Buffer.from(bytes).toString("utf8")]),
    );

  test("takes the place of the default one, and templates of other names stay", () => {
    const rag = document("additional_chat_templates/rag.jinja", "rag");
    const others = ["chat_template.json", "chat_template.jinja", "additional_chat_templates/default.jinja"];
    expect(written([rag, ...others.map((name) => document(name, "old"))])).toEqual({
      "additional_chat_templates/rag.jinja": "rag",
      "chat_template.jinja": "new",
    });
  });

  test("of a list in the tokenizer's config the others stay there, and in files, where newer readers look", () => {
    const list = [
      { name: "rag", template: "old rag" },
      { name: "default", template: "old" },
      { name: "tool_use", template: "tool" },
      { name: "../x", template: "x" },
    ];
    const files = written([
      document("additional_chat_templates/rag.jinja", "rag"),
      document("tokenizer_config.json", JSON.stringify({ a: 1.5, chat_template: list })),
    ]);
    const config = JSON.parse(files["tokenizer_config.json"] ?? "");
    const [rag, , ...rest] = list;
    expect(config).toEqual({ a: 1.5, chat_template: [{ name: "default", template: "new" }, rag, ...rest] });
    expect(Object.keys(files).sort()).toEqual([
      ...["additional_chat_templates/rag.jinja", "additional_chat_templates/tool_use.jinja"],
      ...["chat_template.jinja", "tokenizer_config.json"],
    ]);
    expect(files["additional_chat_templates/tool_use.jinja"]).toBe("tool");
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
      base_model_relation: "merge",
      library_name: "transformers",
      tags: ["merge", "deltaworks"],
    });
    expect(card).toContain("[arXiv:2203.05482](https://arxiv.org/abs/2203.05482)");
  });

  test("the card says which input gave config, tokenizer and a chat template of its own", async () => {
    const fake = new FakeOutput();
    const [defining, other] = [await fake.checkpoint(), await fake.checkpoint()];
    const inputs = ["one", "two"].map((label) => ({ label, files: [] }));
    const modelsOf = async (names: readonly string[], text: OutputText, config: object | undefined = {}) => {
      const definingCheckpoint = { ...defining, companions: names, config: config as Record<string, unknown> };
      const plan = { ...(await fake.plan()), inputs };
      const documents = await outputDocuments(plan, { store: fake.store, recipeText: "", definingCheckpoint, text });
      const card = documents.find(({ name }) => name === "README.md")?.bytes ?? "";
      return /## Models\n\n(.*?)\n\n/s.exec(Buffer.from(card).toString("utf8"))?.[1];
    };
    const [tokenizer, template] = ["tokenizer.json", "additional_chat_templates/tool.jinja"];
    expect(await modelsOf([tokenizer, template], {})).toBe("- `one` (config and tokenizer)\n- `two`");
    expect(await modelsOf([], {})).toBe("- `one` (config)\n- `two`");
    expect(await modelsOf([template], {})).toBe("- `one` (config and chat template)\n- `two`");
    const tokenizerFrom = { ...other, companions: [tokenizer] };
    expect(await modelsOf([], { tokenizerFrom, tokenizerOf: 1 })).toBe("- `one` (config)\n- `two` (tokenizer)");
    const templateFrom = { ...other, companions: [template] };
    expect(await modelsOf([tokenizer, template], { templateFrom, templateOf: 1 })).toBe(
      "- `one` (config and tokenizer)\n- `two` (chat template)",
    );
  });

  test.each(["a: 1", "a: 1\n", "a: 1\n\n", "a: |\n  ```yaml\n  ````\n", "# é\r\na: 1\r\n", "```"])(
    "the recipe %j is found again in the card",
    (recipe) => {
      const card = modelCard({
        plan: fakePlan(),
        recipeText: recipe,
        config: undefined,
        origins: [],
        given: new Map(),
      });
      expect(recipeInCard(card)).toContain(recipe);
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
