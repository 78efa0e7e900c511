import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { compileInto } from "../support/compile.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const MB = 1e6;

// Peak growth over an idle process, in a process of its own: the header counts as part of it.
test("a header of 95 MB needs at most itself + 64 MB when refused, six times itself + 64 MB when accepted", () => {
  const folder = temporaryFolder();
  compileInto(folder, ["checkpoint/index.ts", "storage/index.ts"]);
  // Out of order, so that the check of overlaps and holes has to sort.
  const headerBytes = writeHeader(join(folder, "good.safetensors"), 0);
  expect(headerBytes).toBeGreaterThan(94 * MB);
  writeHeader(join(folder, "hole.safetensors"), 1); // the very last check fails
  const refused = open(folder, "hole.safetensors");
  expect(refused.result).toBe("checkpoint/offsets-hole");
  expect(refused.peakBytes).toBeLessThan(headerBytes + 64 * MB);
  const accepted = open(folder, "good.safetensors");
  expect(accepted.result).toBe("accepted");
  expect(accepted.peakBytes).toBeLessThan(6 * headerBytes + 64 * MB);
}, 300_000);

/** A million tensors less a few; `extraBytes` of data belong to none. Returns the header's size. */
function writeHeader(path: string, extraBytes: number): number {
  const count = 980_000;
  const entries: string[] = [];
  for (let k = 0; k < count; k++) {
    const begin = 4 * ((k * 7919) % count);
    const name = `model.layers.${k}.`.padEnd(31, "w");
    entries.push(`"${name}":{"dtype":"BF16","shape":[1,2],"data_offsets":[${begin},${begin + 4}]}`);
  }
  const header = Buffer.from(`{${entries.join(",")}}`);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.length));
  const descriptor = openSync(path, "w");
  writeSync(descriptor, prefix);
  for (let done = 0; done < header.length; ) done += writeSync(descriptor, header, done);
  ftruncateSync(descriptor, 8 + header.length + 4 * count + extraBytes);
  closeSync(descriptor);
  return header.length;
}

function open(folder: string, file: string): { result: string; peakBytes: number } {
  const url = (path: string) => JSON.stringify(pathToFileURL(join(folder, path)).href);
  const script = `
    const { openCheckpoint } = await import(${url("checkpoint/index.js")});
    const { FileStore } = await import(${url("storage/index.js")});
    const peak = () => process.resourceUsage().maxRSS * 1024;
    const idle = peak();
    const location = { root: ${JSON.stringify(folder)}, file: ${JSON.stringify(file)} };
    const result = await openCheckpoint(new FileStore(), location, "m").then(() => "accepted", (error) => error.code);
    console.log(JSON.stringify({ result, peakBytes: peak() - idle }));`;
  return JSON.parse(execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" }));
}
