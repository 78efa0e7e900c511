import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { openAdapter } from "../../checkpoint/index.ts";
import { methodDeclarations } from "../../merge/methods/index.ts";
import { bindRecipe, parseRecipe, referencedModels } from "../../recipe/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { checkpointFromDirectory } from "./checkpoints.ts";

const cases = "test/golden/cases";
const methods = methodDeclarations();

interface GoldenCase {
  readonly method: string;
  readonly options?: readonly string[];
  /** Layer count, under the name that the model's config has for it, and vocabulary size. */
  readonly config: Record<string, number>;
  /** dtype, shape, two checksums. */
  readonly tensors: Record<string, [string, number[], number, number]>;
}

const golden = readdirSync(cases)
  .sort()
  .map((name) => ({
    name,
    text: readFileSync(join(cases, name, "recipe.yml"), "utf8"),
    expected: JSON.parse(readFileSync(join(cases, name, "case.json"), "utf8")) as GoldenCase,
  }))
  .filter(({ text, expected }) => methods.has(expected.method) && !/tokenizer/.test(text));

test("the golden cases that can be merged are found", () => {
  expect(golden).toHaveLength(45);
});

test.each(golden)(
  "$name is bound to the tensors, dtypes and shapes that mergekit writes",
  async ({ text, expected }) => {
    const parsed = parseRecipe(text, "recipe.yml", { methods, allowUnknownKeys: false });
    expect(parsed.faults).toEqual([]);
    const opened = referencedModels(parsed.recipe!).map(async (reference) => {
      const label = basename(reference.path);
      const folder = join("examples/models", label);
      if (reference.isAdapter !== true) return { reference, label, checkpoint: checkpointFromDirectory(folder) };
      const adapter = await openAdapter(new FileStore(), { root: placeOf(join(process.cwd(), folder)) }, label);
      return { reference, label, checkpoint: adapter.checkpoint, adapter };
    });
    const inputs = await Promise.all(opened);
    const binding = bindRecipe(parsed.recipe!, inputs, {
      methods,
      cutEmbeddings: expected.options?.includes("--cut-embeddings") === true,
    });
    expect(binding.faults).toEqual([]);
    const bound = Object.fromEntries(binding.tasks.map(({ name, dtype, shape }) => [name, [dtype, shape]]));
    const wanted = Object.entries(expected.tensors).map(([name, [dtype, shape]]) => [name, [dtype, shape]]);
    expect(bound).toEqual(Object.fromEntries(wanted));
    expect(binding.layerCount).toBe(expected.config.num_hidden_layers ?? expected.config.n_layer);
    expect(binding.embeddingRows).toBe(expected.config.vocab_size);
  },
);
