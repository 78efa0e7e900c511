/** One bit of a published output flips, anywhere: verify finds and names it, repair restores the bytes. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { repairSource } from "../../app/repair-source.ts";
import { repairOutput, verifyOutput } from "../../output/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { runMerge } from "../support/run-merge.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { hashesOf, MODELS, run } from "./cli-process.ts";

/** A tensor of several blocks is cut, small ones are bundled, several shards with an index. */
const RECIPE = `merge_method: ties
base_model: gpt2-base
models:
  - {model: gpt2-python, parameters: {weight: 0.6, density: 0.5}}
  - {model: gpt2-prose, parameters: {weight: 0.3, density: 0.4}}
dtype: float32
`;
const FLIPS = 100;
const SEED = 11;

const scratch = placeOf(mkdtempSync(join(tmpdir(), "deltaworks-damage-")));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const out = placeOf(join(scratch, "out"));
const store = new FileStore();
let expected: Record<string, string>;
let names: readonly string[];

beforeAll(async () => {
  const { outcome } = await runMerge(RECIPE, out, { models: MODELS, sliceBytes: 32_768, shardBytes: 300_000 });
  expect(outcome.outcome).toBe("done");
  expected = hashesOf(out);
  names = Object.keys(expected);
  expect(names).toEqual(expect.arrayContaining(["SHA256SUMS", "deltaworks.manifest.json", "README.md", "config.json"]));
  expect(names.filter((name) => name.startsWith("model-")).length).toBeGreaterThan(2);
});

const random = seededRandom(SEED);

/** Every other time any byte of the output is as likely as any other; in between, any file, so that small ones get their share. */
function bitOf(flip: number): { readonly name: string; readonly offsetBytes: number; readonly bit: number } {
  const bit = Math.floor(random() * 8);
  const sizes = names.map((name) => statSync(join(out, name)).size);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  const at = random() * bytes;
  let end = 0;
  const ofByte = sizes.findIndex((size) => {
    end += size;
    return at < end;
  });
  const file = flip % 2 === 0 ? ofByte : Math.floor(random() * names.length);
  const offsetBytes = Math.floor(random() * sizes[file]!);
  return { name: names[file]!, offsetBytes, bit };
}

function flip({ name, offsetBytes, bit }: ReturnType<typeof bitOf>): void {
  const bytes = readFileSync(join(out, name));
  bytes[offsetBytes]! ^= 1 << bit;
  writeFileSync(join(out, name), bytes);
}

function sourceOf() {
  return repairSource({ store, out: placeOf(out), modelsRoot: placeOf(MODELS), cwd: scratch, environment: {} });
}

test(`${FLIPS} flipped bits: verify names the file each time, repair restores every byte`, async () => {
  const hit = new Map<string, number>();
  for (let k = 0; k < FLIPS; k++) {
    const place = bitOf(k);
    const text = `seed ${SEED}, flip ${k}: bit ${place.bit} of byte ${place.offsetBytes} of ${place.name}`;
    hit.set(place.name, (hit.get(place.name) ?? 0) + 1);
    flip(place);
    const report = await verifyOutput(store, out);
    expect(report.ok, text).toBe(false);
    expect([...new Set(report.findings.map(({ file }) => file))], text).toEqual([place.name]);
    if (place.name.endsWith(".safetensors")) expectLocated(report.findings, place, text);
    const { report: after, repaired } = await repairOutput(store, out, sourceOf());
    expect(after.ok, text).toBe(true);
    expect(
      repaired.map(({ file }) => file),
      text,
    ).toEqual([place.name]);
    expect(hashesOf(out), text).toEqual(expected);
  }
  expect(hit.get("deltaworks.manifest.json"), "the manifest was hit").toBeGreaterThan(0);
  expect(hit.get("SHA256SUMS"), "SHA256SUMS was hit").toBeGreaterThan(0);
});

/** In a shard exactly one place is damaged: the slice, or the header, that holds the byte. */
function expectLocated(
  findings: Awaited<ReturnType<typeof verifyOutput>>["findings"],
  { offsetBytes }: { readonly offsetBytes: number },
  text: string,
): void {
  expect(findings, text).toHaveLength(1);
  const { kind, offsetBytes: from = -1, sizeBytes = 0 } = findings[0]!;
  expect(["slice", "header"], text).toContain(kind);
  expect(from <= offsetBytes && offsetBytes < from + sizeBytes, text).toBe(true);
}

describe("through the commands", () => {
  const shard = /^model-00002/;
  test.each([
    ["a shard", shard],
    ["the manifest", /manifest\.json$/],
    ["SHA256SUMS", /^SHA256SUMS$/],
    ["the config", /^config\.json$/],
  ])("damage of %s: verify exits with 3 and names it, repair exits with 0", async (_, pattern) => {
    const name = names.find((candidate) => pattern.test(candidate))!;
    const offsetBytes = Math.floor(random() * statSync(join(out, name)).size);
    flip({ name, offsetBytes, bit: 3 });
    const verified = await run(["verify", out]);
    expect(verified.code, verified.stderr).toBe(3);
    expect(verified.stdout).toContain(name);
    const repaired = await run(["repair", out, "--models-root", MODELS]);
    expect(repaired.code, repaired.stderr).toBe(0);
    expect(hashesOf(out)).toEqual(expected);
    expect((await run(["verify", out])).code).toBe(0);
  });

  test("several damaged files, one of them gone, are repaired at once", async () => {
    for (const name of names.filter((candidate) => shard.test(candidate) || candidate === "README.md"))
      flip({ name, offsetBytes: 100, bit: 0 });
    rmSync(join(out, "tokenizer.json"));
    expect((await run(["verify", out])).code).toBe(3);
    const repaired = await run(["repair", out, "--models-root", MODELS]);
    expect(repaired.code, repaired.stderr).toBe(0);
    expect(hashesOf(out)).toEqual(expected);
  });
});
