/** A merge with a vocabulary of its own: bits whatever the cuts, and an output that can be verified and repaired. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { repairSource } from "../../app/repair-source.ts";
import { repairOutput, verifyOutput } from "../../output/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { type MergeSettings, mergedTensors, runMerge } from "../support/run-merge.ts";
import { hashesOf, MODELS } from "./cli-process.ts";

/** Rows of the model, of others, means over two, zeros, and padding behind them. */
const recipe = (method: string) => `merge_method: ${method}
dtype: float32
base_model: tiny-base
tokenizer:
  source: union
  pad_to_multiple_of: 300
  tokens:
    <|tool|>: {source: {kind: model_token, model: tiny-prose, token: <|page|>}}
    <|none|>: {source: {kind: zero}}
chat_template: chatml
parameters: {weight: 0.5}
models: [{model: tiny-prose}, {model: tiny-json}, {model: tiny-c}]
`;
const embeddings = ["model.embed_tokens.weight", "lm_head.weight"];

const scratch = placeOf(mkdtempSync(join(tmpdir(), "deltaworks-vocabulary-")));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

async function merged(method: string, settings: Partial<MergeSettings> = {}) {
  const out = mkdtempSync(join(scratch, "out-"));
  const { tensors, run } = await mergedTensors(recipe(method), out, { models: MODELS, ...settings });
  return { out, run, rows: embeddings.map((name) => tensors.get(name)!) };
}

test.each(["task_arithmetic", "ties"])("%s: gathered rows have the same bits however they are cut", async (method) => {
  const whole = await merged(method);
  expect(whole.rows.map(({ shape }) => shape)).toEqual([
    [2100, 128],
    [2100, 128],
  ]);
  const inPlan = await merged(method, { sliceBytes: 1, surveyElements: 1, workers: 3 });
  // Blocks of 512 rows.
  expect(inPlan.run.plan.slices.filter(({ parts }) => parts.some(({ partCount }) => partCount === 5))).toHaveLength(10);
  const inWorker = await merged(method, {
    budget: { rangeElements: 1, spareBytes: 0, heldBytes: 0, pieceElements: 1000 },
  });
  const reference = await merged(method, { engine: "reference" });
  for (const other of [inPlan, inWorker, reference]) {
    expect(other.rows.map(({ bytes }, k) => Buffer.compare(bytes, whole.rows[k]!.bytes))).toEqual([0, 0]);
  }
});

test("what is written for the tokenizer is verified, and repaired from the inputs", async () => {
  const out = placeOf(join(scratch, "repaired"));
  const { outcome } = await runMerge(recipe("task_arithmetic"), out, { models: MODELS, sliceBytes: 200_000 });
  expect(outcome.outcome).toBe("done");
  const expected = hashesOf(out);
  const damaged = [
    "tokenizer.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "config.json",
    "model.safetensors",
  ];
  for (const name of damaged) {
    const bytes = readFileSync(join(out, name));
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(join(out, name), bytes);
  }
  const store = new FileStore();
  const { ok, findings } = await verifyOutput(store, out);
  expect(ok).toBe(false);
  expect(new Set(findings.map(({ file }) => file))).toEqual(new Set(damaged));
  const source = repairSource({ store, out: placeOf(out), modelsRoot: placeOf(MODELS), cwd: scratch, environment: {} });
  expect((await repairOutput(store, out, source)).report.ok).toBe(true);
  expect(hashesOf(out)).toEqual(expected);
});

test("another tokenizer is another plan: what it says is part of the digest", async () => {
  const digests = new Set<string>();
  for (const text of [
    recipe("task_arithmetic"),
    recipe("task_arithmetic").replace("<|none|>", "<|nil|>"),
    recipe("task_arithmetic").replace("chatml", "alpaca"),
  ]) {
    const { plan } = await runMerge(text, mkdtempSync(join(scratch, "out-")), { models: MODELS });
    digests.add(JSON.stringify([plan.vocabulary, plan.chatTemplateSha256]));
  }
  expect(digests.size).toBe(3);
});

test("a document builds on the vocabulary that an earlier one made, as if that had been written", async () => {
  const first = recipe("task_arithmetic").replace("pad_to_multiple_of: 300", "pad_to_multiple_of: 7");
  const second = (model: string) => `merge_method: task_arithmetic
dtype: float32
base_model: tiny-base
tokenizer: {source: union, tokens: {<|none|>: {source: ${model}, force: true}}}
models:
  - {model: ${model}, parameters: {weight: 0.5}}
  - {model: tiny-json, parameters: {weight: 0.2}}
`;
  const folder = mkdtempSync(join(scratch, "steps-"));
  await runMerge(first, join(folder, "earlier"), { models: MODELS });
  const [stepwise, chained] = [join(folder, "stepwise"), join(folder, "chained")];
  await runMerge(second(join(folder, "earlier")), stepwise, { models: MODELS });
  const { outcome } = await runMerge(`name: earlier\n${first}---\n${second("earlier")}`, chained, { models: MODELS });
  expect(outcome.outcome).toBe("done");
  const [a, b] = [hashesOf(stepwise), hashesOf(chained)];
  const made = [
    "model.safetensors",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
  ];
  expect(made.map((name) => b[name])).toEqual(made.map((name) => a[name]));
  expect(JSON.parse(readFileSync(join(chained, "config.json"), "utf8")).vocab_size).toBe(2006);
});
