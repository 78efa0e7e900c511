import { cpSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { planCommand } from "../../cli/commands/plan.ts";
import { defaultsOf } from "../../options/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";
import { CapturedIo } from "./captured-io.ts";

const root = join(import.meta.dirname, "../..");
const options = { ...defaultsOf("plan"), json: false, verbose: false };

async function planned(recipe: string, changes: object = {}): Promise<CapturedIo> {
  const io = new CapturedIo();
  const path = join(root, "examples/recipes", recipe);
  expect(await planCommand([path], { ...options, ...changes }, io), io.err).toBe(0);
  return io;
}

describe("deltaworks plan says in a few lines", () => {
  test("what goes in, what comes out and what was decided", async () => {
    const { out } = await planned("ties.yml");
    expect(out.split("\n").slice(0, 4)).toEqual([
      expect.stringMatching(/^plan \w{4}…\w\w {2}ties, 3 models, 57 tensors, 1 slice, 12\.2 MiB to read$/),
      "uses    tiny-python 100 %, tiny-prose 100 %, tiny-base 100 %",
      "makes   LlamaForCausalLM, 1.62 M parameters, 6 layers, 2,000 rows of vocabulary, BF16, 3.1 MiB in 1 shard",
      "decided config from tiny-base",
    ]);
  });

  test.each([
    ["passthrough-stack.yml", /^makes .* 8 layers,/m],
    ["experts.yml", /^makes {3}MixtralForCausalLM, .* 4 experts a layer, BF16/m],
    ["modules-vision.yml", /^makes .* 4 and 2 layers,/m],
    ["passthrough-stack.yml", /^decided config and tokenizer from tiny-/m],
    ["della.yml", /^decided .*masks from seed 0 \(--random-seed\)$/m],
    [
      "adapters-cat.yml",
      /^makes {3}an adapter,.*\ndecided adapter_config\.json from tiny-lora-go; F32 as tiny-lora-go has it/m,
    ],
    ["tokenizer-union.yml", /2,048 rows of vocabulary/],
  ])("%s", async (recipe, line) => {
    expect((await planned(recipe)).out).toMatch(line);
  });

  test("the same in JSON", async () => {
    const [line] = (await planned("experts.yml", { json: true })).objects();
    expect(line).toMatchObject({
      output: { architecture: "MixtralForCausalLM", elements: 16080, experts: { count: 4, layout: "apart" } },
      decisions: ["config from experts-a"],
      usage: [{ model: "experts-b", share: 1 }, { model: "experts-a" }],
    });
  });
});

test("README and guide show what the first plan really prints", async () => {
  const { out } = await planned("ties.yml");
  const shown = out.split("\n").slice(0, 4).join("\n");
  for (const page of ["README.md", "docs/guide.md"])
    expect(readFileSync(join(root, page), "utf8").includes(`\n${shown}\n`), `${page} should show\n${shown}`).toBe(true);
});

test("a folder whose name holds + and @ is that folder; where there is none, a model with an adapter is meant", async () => {
  const folder = temporaryFolder();
  const plan = async (model: string): Promise<CapturedIo> => {
    const io = new CapturedIo();
    writeFileSync(join(folder, "recipe.yml"), `merge_method: passthrough\nmodels: [{model: "${model}"}]\n`);
    await planCommand([join(folder, "recipe.yml")], { ...options, json: true } as never, io);
    return io;
  };
  cpSync(join(root, "examples/models/experts-a"), join(folder, "a+b c+d@2"), { recursive: true });
  expect((await plan("a+b c+d@2")).objects()).toMatchObject([{ usage: [{ model: "a+b c+d@2", share: 1 }] }]);
  expect((await plan("./a+b c+d@2/")).objects()).toHaveLength(1);
  renameSync(join(folder, "a+b c+d@2"), join(folder, "a"));
  expect((await plan("a+b c")).err).toContain("b c: nothing is there");
  expect((await plan("./A")).err).toContain("./A: nothing is there");
  mkdirSync(join(folder, "a+"));
  expect((await plan("a+b c")).err).toContain("b c: nothing is there");
});

test("that the head is tied no longer is said once, in however many places the config says it", async () => {
  const folder = temporaryFolder();
  const tensor = (name: string) => ({ name, dtype: "F32", shape: [2, 2], bytes: new Uint8Array(16) });
  for (const [name, flag, names] of [
    ["a", true, ["embed_tokens", "layers.0.mlp.up_proj"]],
    ["b", false, ["embed_tokens", "layers.0.mlp.up_proj", "lm_head"]],
  ] as const) {
    mkdirSync(join(folder, name));
    const written = names.map((one) => tensor(`${one === "lm_head" ? "" : "model."}${one}.weight`));
    writeSafetensors(join(folder, name, "model.safetensors"), written);
    const config = { model_type: "qwen2", num_hidden_layers: 1, vocab_size: 2, tie_word_embeddings: flag };
    writeFileSync(join(folder, name, "config.json"), JSON.stringify({ ...config, text_config: config }));
  }
  const recipe = join(folder, "recipe.yml");
  writeFileSync(recipe, "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a}, {model: b}]\n");
  const io = new CapturedIo();
  expect(await planCommand([recipe], { ...options } as never, io), io.err).toBe(0);
  expect(io.out.split("tied to the embedding")).toHaveLength(2);
});

test("the plans that the guide and the README print are those of now", async () => {
  const [guide, readme] = ["docs/guide.md", "README.md"].map((page) => readFileSync(join(root, page), "utf8"));
  const linesOf = async (path: string): Promise<string> => {
    const io = new CapturedIo();
    expect(await planCommand([path], { ...options } as never, io), io.err).toBe(0);
    return io.out.split("\n").slice(0, 4).join("\n");
  };
  for (const recipe of ["ties.yml", "slerp.yml"])
    expect(guide).toContain(await linesOf(join(root, "examples/recipes", recipe)));
  expect(readme).toContain(await linesOf(join(root, "examples/recipes/ties.yml")));
  const folder = temporaryFolder();
  const [written = ""] = /(?<=```yaml\n)merge_method: task_arithmetic\n[^`]*/.exec(guide ?? "") ?? [];
  const recipe = written.replaceAll("models/", `${join(root, "examples/models")}/`);
  writeFileSync(join(folder, "recipe.yml"), `${recipe}tokenizer_source: base\n`);
  expect(guide).toContain(await linesOf(join(folder, "recipe.yml")));
});
