import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { hashesOf, MODELS, run } from "./cli-process.ts";

/** An element-wise document, one that surveys what the first makes, and one that surveys both. */
const documents = {
  half: `merge_method: linear
models:
  - model: tiny-python
    parameters: {weight: 0.5}
  - model: tiny-prose
    parameters: {weight: 0.5}
dtype: bfloat16
`,
  trimmed: `merge_method: ties
base_model: tiny-base
models:
  - model: half
    parameters: {weight: 1, density: 0.4}
  - model: tiny-python
    parameters: {weight: 0.3, density: 0.7}
dtype: float32
`,
  last: `merge_method: slerp
base_model: half
models:
  - model: half
  - model: trimmed
parameters: {t: 0.3}
dtype: bfloat16
`,
};

/** Tensors, config and tokenizer; card, recipe and manifest say how it was made. */
function madeBytes(out: string): Record<string, string> {
  const told = ["README.md", "mergekit_config.yml", "deltaworks.manifest.json", "SHA256SUMS"];
  return Object.fromEntries(Object.entries(hashesOf(out)).filter(([name]) => !told.includes(name)));
}

test("a chain has the bytes of its documents merged one after the other, whatever is cut, and leaves no intermediate behind", async () => {
  const folder = temporaryFolder();
  const merge = (args: readonly string[]) =>
    run(["merge", ...args, "--models-root", MODELS, "--cut-embeddings", "--json"], folder);
  for (const [name, text] of Object.entries(documents)) {
    writeFileSync(join(folder, `${name}.yml`), text);
    expect((await merge([`${name}.yml`, name])).code).toBe(0);
  }
  const { half, trimmed, last } = documents;
  writeFileSync(join(folder, "chain.yml"), `name: half\n${half}---\nname: trimmed\n${trimmed}---\n${last}`);
  // Beside the chain stand folders of the names of its documents: the documents count.
  for (const [out, ...options] of [
    ["whole"],
    ["cut", "--slice-size", "65536", "--memory", "180MB"],
    ["plain", "--engine", "reference"],
  ]) {
    const chained = await merge(["chain.yml", out ?? "", ...options]);
    expect(chained.code, chained.stderr).toBe(0);
    expect(madeBytes(join(folder, out ?? ""))).toEqual(madeBytes(join(folder, "last")));
  }
  const before = readdirSync(folder).length;
  const kept = await merge(["chain.yml", "again", "--keep", "trimmed", "--keep", "half=here"]);
  expect(kept.code, kept.stderr).toBe(0);
  expect(readdirSync(folder).length).toBe(before + 3);
  expect(madeBytes(join(folder, "again-trimmed"))).toEqual(madeBytes(join(folder, "trimmed")));
  expect(madeBytes(join(folder, "here"))).toEqual(madeBytes(join(folder, "half")));
  expect((await merge(["chain.yml", "x", "--keep", "thirds"])).code).toBe(2);
  expect(existsSync(join(folder, "x"))).toBe(false);
});

test("a chain whose documents know nothing of whole tensors reads its inputs once", async () => {
  const folder = temporaryFolder();
  const scaled = "merge_method: passthrough\nmodels:\n  - model: half\n    parameters: {scale: 0.5}\ndtype: float32\n";
  writeFileSync(join(folder, "chain.yml"), `name: half\n${documents.half}---\n${scaled}`);
  writeFileSync(join(folder, "half.yml"), documents.half);
  const options = ["--models-root", MODELS, "--json"];
  const bytesRead = async (recipe: string, out: string) =>
    (await run(["merge", recipe, out, ...options], folder)).events.find(({ event }) => event === "done")?.bytesRead;
  expect(await bytesRead("chain.yml", "chained")).toBe(await bytesRead("half.yml", "half"));
});
