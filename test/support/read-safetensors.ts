/**
 * An independent reader of safetensors for tests: JSON.parse and Buffer, no line shared with checkpoint/.
 * It trusts the file's structure but asserts what a misplaced offset would break.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface ReadTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Buffer;
}

interface HeaderJson {
  readonly [name: string]: {
    readonly dtype: string;
    readonly shape: number[];
    readonly data_offsets: [number, number];
  };
}

/** All tensors of one file, in the order of the header. `__metadata__` is left out: see readMetadata. */
export function readSafetensors(path: string): Map<string, ReadTensor> {
  const file = readFileSync(path);
  const { header, dataStart } = headerOf(file);
  const tensors = new Map<string, ReadTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [begin, end] = entry.data_offsets;
    assert(begin <= end && dataStart + end <= file.length, `${path}: ${name} lies outside of the file`);
    tensors.set(name, {
      dtype: entry.dtype,
      shape: entry.shape,
      bytes: file.subarray(dataStart + begin, dataStart + end),
    });
  }
  return tensors;
}

/** The string map under `__metadata__`; empty where there is none. */
export function readMetadata(path: string): Record<string, string> {
  const { header } = headerOf(readFileSync(path));
  return (header.__metadata__ ?? {}) as unknown as Record<string, string>;
}

/** All tensors of a checkpoint directory: of the files its index names, else of model.safetensors, else of every file. */
export function readCheckpoint(directory: string): Map<string, ReadTensor> {
  const index = join(directory, "model.safetensors.index.json");
  if (existsSync(index)) {
    const { weight_map } = JSON.parse(readFileSync(index, "utf8")) as { weight_map: Record<string, string> };
    const files = new Map<string, Map<string, ReadTensor>>();
    const tensors = new Map<string, ReadTensor>();
    for (const [name, file] of Object.entries(weight_map)) {
      let contents = files.get(file);
      if (contents === undefined) {
        contents = readSafetensors(join(directory, file));
        files.set(file, contents);
      }
      const tensor = contents.get(name);
      assert(tensor !== undefined, `${directory}: the index places ${name} in ${file}, which lacks it`);
      tensors.set(name, tensor);
    }
    return tensors;
  }
  if (existsSync(join(directory, "model.safetensors"))) return readSafetensors(join(directory, "model.safetensors"));
  const names = readdirSync(directory).filter((name) => name.endsWith(".safetensors"));
  assert(names.length > 0, `${directory}: no safetensors file`);
  return new Map(names.sort().flatMap((name) => [...readSafetensors(join(directory, name))]));
}

function headerOf(file: Buffer): { header: HeaderJson; dataStart: number } {
  const headerBytes = Number(file.readBigUInt64LE(0));
  const dataStart = 8 + headerBytes;
  return { header: JSON.parse(file.toString("utf8", 8, dataStart)) as HeaderJson, dataStart };
}
