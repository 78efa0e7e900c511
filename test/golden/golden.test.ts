import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { methodDeclarations } from "../../merge/methods/index.ts";
import { readCheckpoint, readSafetensors } from "../support/read-safetensors.ts";
import { compareTensors, type GoldenCase, numbersOf, readCase } from "./compare.ts";

const cases = new URL("./cases/", import.meta.url).pathname;
const models = new URL("../../examples/models/", import.meta.url).pathname;
const main = new URL("../../dist/cli/main.js", import.meta.url).pathname;

/** Recipes of methods and keys that are there. */
function isCovered(name: string): boolean {
  return methodDeclarations().has(readCase(join(cases, name)).method);
}

const covered = readdirSync(cases).filter(isCovered);
const scratch = mkdtempSync(join(tmpdir(), "deltaworks-golden-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

test("58 of the golden cases are covered", () => {
  expect(covered).toHaveLength(58);
});

describe.each(covered)("golden %s", (name) => {
  const folder = join(cases, name);
  const golden = readCase(folder);
  const out = join(scratch, name);

  test("is merged to the expected tensors", () => {
    const seed = ["--random-seed", String(golden.random_seed)];
    execFileSync(process.execPath, [
      main,
      "merge",
      join(folder, "recipe.yml"),
      out,
      "--quiet",
      "--models-root",
      models,
      ...seed,
      ...(golden.options ?? []),
    ]);
    const ours = readCheckpoint(out);

    const described = Object.fromEntries([...ours].map(([tensor, { dtype, shape }]) => [tensor, [dtype, shape]]));
    expect(described).toEqual(
      Object.fromEntries(Object.entries(golden.tensors).map(([tensor, [dtype, shape]]) => [tensor, [dtype, shape]])),
    );

    const expected = readSafetensors(join(folder, "expected.safetensors"));
    const results = [...expected].map(([tensor, value]) => ({
      tensor,
      ...compareTensors(ours.get(tensor)!, value, golden.tolerance),
    }));
    const total = (count: (result: (typeof results)[number]) => number) =>
      results.reduce((sum, result) => sum + count(result), 0);
    const elements = total((result) => result.elements);
    const outside = total((result) => result.outside);
    expect(outside, JSON.stringify(results.filter((result) => result.outside > 0))).toBeLessThanOrEqual(
      golden.tolerance.max_outside * elements,
    );
    if (golden.tolerance.max_not_equal !== undefined) {
      expect(total((result) => result.notEqual) / elements).toBeLessThanOrEqual(golden.tolerance.max_not_equal);
    }

    // Tensors that are not kept whole are held by their sums and norms.
    for (const [tensor, [, , sum, norm]] of Object.entries(golden.tensors)) {
      const values = numbersOf(ours.get(tensor)!);
      const norms = Math.sqrt(values.reduce((total, value) => total + value * value, 0));
      const slack = golden.tolerance.rtol * 10 + golden.tolerance.max_outside + 1e-5;
      expect(Math.abs(norms - norm), `norm of ${tensor}`).toBeLessThanOrEqual(slack * (norm + 1));
      const sums = values.reduce((total, value) => total + value, 0);
      expect(Math.abs(sums - sum), `sum of ${tensor}`).toBeLessThanOrEqual(
        slack * (norm + 1) * Math.sqrt(values.length),
      );
    }

    const config = JSON.parse(readFileSync(join(out, "config.json"), "utf8"));
    expect(config).toMatchObject(golden.config);
    if (golden.vocabulary !== undefined) checkVocabulary(out, ours, golden.vocabulary);
  });
});

/** Embeddings and tokenizer.json have the vocabulary of the case: every token has a row, and new ones the ids expected. */
function checkVocabulary(
  out: string,
  tensors: ReturnType<typeof readCheckpoint>,
  { size, rows, beyond_base: beyondBase }: NonNullable<GoldenCase["vocabulary"]>,
): void {
  for (const name of ["model.embed_tokens.weight", "lm_head.weight"]) expect(tensors.get(name)?.shape[0]).toBe(rows);
  const tokenizer = JSON.parse(readFileSync(join(out, "tokenizer.json"), "utf8")) as {
    readonly model: { readonly vocab: Record<string, number> };
    readonly added_tokens: readonly { readonly content: string; readonly id: number }[];
  };
  const ids = new Map(Object.entries(tokenizer.model.vocab));
  for (const { content, id } of tokenizer.added_tokens) ids.set(content, id);
  expect([...ids.values()].sort((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, id) => id));
  expect(Object.fromEntries([...ids].filter(([, id]) => id >= 2000))).toEqual(beyondBase);
}
