/**
 * Plans merges as `deltaworks plan` does, one a line of standard input, `{"recipe", "out"}`, and writes what of the output needs no tensor
 * byte: config.json, and each shard's header before a hole. Answers with the exit code and the lines of errors and warnings.
 */
import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { printWarnings, reportError } from "../../dist/cli/report-error.js";
import { outputDocuments } from "../../dist/output/index.js";
import { prepare } from "../../dist/prepare/index.js";
import { FileStore } from "../../dist/storage/index.js";

const store = new FileStore({ blocking: false });
for await (const line of createInterface({ input: process.stdin })) {
  const { recipe, out } = JSON.parse(line);
  const said = [];
  const io = { stdout: () => {}, stderr: (text) => said.push(text) };
  let code = 0;
  try {
    await plan(recipe, out, io);
  } catch (error) {
    code = reportError(io, error);
  }
  process.stdout.write(`${JSON.stringify({ code, said: said.join("") })}\n`);
}

async function plan(recipe, out, io) {
  rmSync(out, { recursive: true, force: true });
  const prepared = await prepare(store, recipe, {
    ...{ seed: "0", sliceBytes: 2 ** 25, shardBytes: 5e9, allowNonfinite: false, allowUnknownKeys: false },
    ...{ cwd: dirname(recipe), environment: {} },
  });
  printWarnings(io, prepared.warnings, false);
  const { recipeText, definingCheckpoint, text } = prepared;
  mkdirSync(out);
  for (const { name, bytes } of await outputDocuments(prepared.plan, { store, recipeText, definingCheckpoint, text }))
    if (name === "config.json") writeFileSync(join(out, name), bytes);
  for (const { name, header, sizeBytes } of prepared.plan.shards) {
    const file = openSync(join(out, name), "w");
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
    writeSync(file, Buffer.concat([size, Buffer.from(header)]));
    ftruncateSync(file, sizeBytes);
    closeSync(file);
  }
}
