import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { verifyCommand } from "../../cli/commands/verify.ts";
import { methodDeclarations } from "../../merge/methods/index.ts";
import { CapturedIo } from "../cli/captured-io.ts";
import { runMerge } from "../support/run-merge.ts";

const recipes = join(import.meta.dirname, "../../examples/recipes");
const models = join(import.meta.dirname, "../../examples/models");
const names = readdirSync(recipes).filter((name) => name.endsWith(".yml"));

const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-examples-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe("examples/recipes", () => {
  test.each(names)("%s merges without a warning, and its output is whole", async (name) => {
    const out = join(scratch, name);
    const run = await runMerge(readFileSync(join(recipes, name), "utf8"), out, { models: recipes });
    expect(run).toMatchObject({ outcome: { outcome: "done" }, planWarnings: [], warnings: [] });
    const io = new CapturedIo();
    expect(await verifyCommand([out], { json: false }, io), io.out).toBe(0);
  });

  test("there is one for each method", () => {
    const used = names.map((name) => /^merge_method: (\w+)$/m.exec(readFileSync(join(recipes, name), "utf8"))?.[1]);
    expect([...methodDeclarations().keys()].filter((method) => !used.includes(method))).toEqual([]);
  });
});

test("the models that were not trained are what the script that makes them writes", () => {
  const made = ["experts-a", "experts-b", "vision-a", "vision-b"];
  const bytes = () => made.map((name) => readFileSync(join(models, name, "model.safetensors")).toString("base64"));
  const before = bytes();
  execFileSync(process.execPath, [join(models, "../../scripts/make-example-models.mjs")]);
  expect(bytes()).toEqual(before);
});
