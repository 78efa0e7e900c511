import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import type { ModelOrigin } from "../../checkpoint/index.ts";
import type { Plan } from "../../merge/work/index.ts";
import { modelCard } from "../../output/documents/model-card.ts";
import { fakePlan } from "./fake-output.ts";

const planOf = (labels: readonly string[]): Plan => ({
  ...fakePlan(),
  inputs: labels.map((label) => ({ label, files: [] })),
  definingInput: 0,
});
const cardOf = (
  labels: readonly string[],
  origins: readonly (ModelOrigin | undefined)[],
  config: Record<string, unknown> = { architectures: ["LlamaForCausalLM"] },
  given: ReadonlyMap<number, readonly string[]> = new Map([[0, ["config", "tokenizer"]]]),
) => modelCard({ plan: planOf(labels), recipeText: "a: 1\n", config, origins, given });
const headOf = (card: string) => parse(/^---\n(.*?)\n---\n/s.exec(card)?.[1] ?? "");

describe("the card of a merge", () => {
  test("names parents as the Hub does, where it knows them, and says that it is a merge", () => {
    const card = cardOf(["base", "local"], [{ hubId: "owner/base" }, undefined]);
    expect(headOf(card)).toEqual({
      base_model: ["owner/base", "local"],
      base_model_relation: "merge",
      library_name: "transformers",
      tags: ["merge", "deltaworks"],
    });
  });

  test("has a licence only where all parents name the same", () => {
    const [mit, llama] = [{ license: "mit" }, { license: "other", licenseName: "llama3", licenseLink: "LICENSE" }];
    expect(headOf(cardOf(["a", "b"], [mit, mit])).license).toBe("mit");
    expect(headOf(cardOf(["a", "b"], [llama, llama]))).toMatchObject({
      ...{ license: "other", license_name: "llama3", license_link: "LICENSE" },
    });
    for (const others of [
      [mit, llama],
      [mit, undefined],
      [llama, { ...llama, licenseName: "llama3.1" }],
    ])
      expect(headOf(cardOf(["a", "b"], others))).not.toHaveProperty("license");
  });

  test("lists each parent with its licence and what it was made from", () => {
    const card = cardOf(
      ["a", "b"],
      [
        { license: "mit", baseModels: ["o/first"] },
        { license: "other", licenseName: "gemma" },
      ],
    );
    expect(card).toContain("- `a` (config and tokenizer; licence `mit`; itself made from `o/first`)\n");
    expect(card).toContain("- `b` (licence `gemma`)\n");
  });

  test("says of each parent what the output has of its files", () => {
    const of = (...given: [number, string[]][]) => cardOf(["a", "b"], [], undefined, new Map(given));
    expect(of([0, ["config"]])).toContain("- `a` (config)\n- `b`\n");
    expect(of([0, ["config"]], [1, ["tokenizer"]])).toContain("- `a` (config)\n- `b` (tokenizer)\n");
    expect(of([0, ["config", "tokenizer", "chat template"]])).toContain("(config, tokenizer and chat template)");
    expect(of()).toContain("- `a`\n- `b`\n");
  });

  test("loads a tokenizer only where there is one", () => {
    expect(cardOf(["a"], [])).toContain("from transformers import AutoModelForCausalLM, AutoTokenizer\n");
    expect(cardOf(["a"], [], undefined, new Map([[0, ["config"]]]))).not.toMatch(/tokenizer = |AutoTokenizer/);
  });

  test.each([
    [["LlamaForCausalLM"], {}, "AutoModelForCausalLM"],
    [["GPT2LMHeadModel"], {}, "AutoModelForCausalLM"],
    [["BertForMaskedLM"], {}, "AutoModelForMaskedLM"],
    [["T5ForConditionalGeneration"], {}, "AutoModelForSeq2SeqLM"],
    [["LlavaForConditionalGeneration"], { vision_config: {} }, "AutoModelForImageTextToText"],
    [["BertModel"], {}, "AutoModel"],
    [undefined, {}, "AutoModel"],
  ])("says how to load %j", (architectures, more, auto) => {
    expect(cardOf(["a"], [], { architectures, ...more })).toContain(`model = ${auto}.from_pretrained(`);
  });

  test("says that a model with code of its own is loaded with it, and of others nothing", () => {
    const own = {
      architectures: ["OwnForCausalLM"],
      auto_map: { AutoModelForCausalLM: "modeling_own.OwnForCausalLM" },
    };
    expect(cardOf(["a"], [undefined], own).match(/, trust_remote_code=True\)/g)).toHaveLength(2);
    expect(cardOf(["a"], [undefined])).not.toContain("trust_remote_code");
  });

  test("of an adapter: the model that it is for", () => {
    const config = { base_model_name_or_path: "owner/base" };
    const plan = { ...planOf(["one", "two"]), adapter: {} };
    const card = modelCard({ plan, recipeText: "a: 1\n", config, origins: [], given: new Map() });
    expect(headOf(card)).toMatchObject({
      base_model: ["owner/base"],
      base_model_relation: "adapter",
      library_name: "peft",
    });
    expect(card).toContain('PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("owner/base"),');
  });

  test("a name that is odd breaks neither head nor text", () => {
    const odd = 'a"b`c: {x}';
    const card = cardOf([odd, "x.safetensors#2", "gpt2", "a/b"], []);
    // The Hub refuses cards with such names for bases.
    expect(headOf(card).base_model).toEqual(["gpt2", "a/b"]);
    expect(card).toContain(`\`\` ${odd} \`\``);
    expect(headOf(cardOf([odd], []))).not.toHaveProperty("base_model_relation");
  });
});
