import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readSafetensors } from "../support/read-safetensors.ts";
import { runMerge } from "../support/run-merge.ts";
import { compareTensors } from "./compare.ts";

// What PEFT's merge_and_unload makes of adapters of its own: scripts/golden-peft.py.

const cases = new URL("./peft/", import.meta.url).pathname;
const models = new URL("../../examples/models/", import.meta.url).pathname;
const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-peft-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const names = readdirSync(cases).sort();

test("there are cases for DoRA, patterns, rslora with saved modules, and fan_in_fan_out", () => {
  expect(names).toEqual(["dora", "fan-in-fan-out", "patterns", "plain", "rslora-saved"]);
});

test.each(names)("adapter %s gives what PEFT merges, and changes nothing else", async (name) => {
  const folder = join(cases, name);
  const { tolerance, changed } = JSON.parse(readFileSync(join(folder, "case.json"), "utf8"));
  const [, base = ""] = /models\/([\w-]+)\+adapter/.exec(readFileSync(join(folder, "recipe.yml"), "utf8"))!;
  const recipe = `merge_method: passthrough\ndtype: float32\nmodels: [{model: ${base}+${join(folder, "adapter")}}]\n`;
  const out = join(scratch, name);
  expect((await runMerge(recipe, out, { models })).outcome.outcome).toBe("done");
  await runMerge(recipe.replace(/\+[^}]*/, ""), `${out}-base`, { models });

  const ours = readSafetensors(join(out, "model.safetensors"));
  const plain = readSafetensors(join(`${out}-base`, "model.safetensors"));
  const expected = readSafetensors(join(folder, "expected.safetensors"));
  expect([...expected.keys()].sort()).toEqual(changed);
  const differing = [...ours].filter(([tensor, { bytes }]) => !bytes.equals(plain.get(tensor)!.bytes));
  expect(differing.map(([tensor]) => tensor).sort()).toEqual(changed);
  for (const [tensor, value] of expected) {
    expect(ours.get(tensor)).toMatchObject({ dtype: value.dtype, shape: value.shape });
    expect(compareTensors(ours.get(tensor)!, value, tolerance), tensor).toMatchObject({ outside: 0 });
  }
});
