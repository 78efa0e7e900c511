import { statSync } from "node:fs";
import { join } from "node:path";
import { dtypeBytes, type FloatDtype } from "../../../checkpoint/index.ts";
import { openDevice } from "../../../merge/engines/index.ts";
import type { JobDescription, StoredSource, TensorSource } from "../../../merge/work/index.ts";
import { FiniteWatch } from "../../../runtime/finite-watch.ts";
// The door offers whole slices; what one source gives is for tests only.
import { InputFiles } from "../../../runtime/input-files.ts";
import { LastProduct } from "../../../runtime/sources/product-source.ts";
import { SourceReader } from "../../../runtime/sources/source-reader.ts";
import { FileStore, fileVersion, placeOf } from "../../../storage/index.ts";
import { codings } from "../../merge/engines/awkward-values.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { writeSafetensors } from "../../support/write-safetensors.ts";

export interface HandTensor {
  readonly name: string;
  readonly dtype: FloatDtype;
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** Tensors in one file, and where they lie in it. */
export class StoredTensors {
  readonly job: JobDescription;
  readonly #sources = new Map<string, StoredSource>();

  constructor(tensors: readonly HandTensor[]) {
    const path = join(temporaryFolder(), "model.safetensors");
    const written = tensors.map(({ name, dtype, shape, values }) => ({
      name,
      dtype,
      shape,
      bytes: bytesOf(dtype, values),
    }));
    writeSafetensors(path, written);
    const { size, mtimeNs, ino } = statSync(path, { bigint: true });
    let offsetBytes = Number(size) - written.reduce((sum, { bytes }) => sum + bytes.length, 0);
    for (const { name, dtype, shape, bytes } of written) {
      const storedRowLength = shape.at(-1) ?? 1;
      this.#sources.set(name, {
        input: 0,
        file: 0,
        tensor: name,
        dtype: dtype as FloatDtype,
        offsetBytes,
        storedRowLength,
      });
      offsetBytes += bytes.length;
    }
    const file = { path: placeOf(path), sizeBytes: Number(size), version: fileVersion({ inode: ino, mtimeNs }) };
    this.job = {
      seed: { low: 0, high: 0 },
      allowNonfinite: false,
      inputs: [{ label: "model", files: [file] }],
      shardPaths: [],
    };
  }

  source(name: string): StoredSource {
    const source = this.#sources.get(name);
    if (source === undefined) throw new Error(`there is no tensor ${name}`);
    return source;
  }

  /** Elements of one source as numbers, and how many bytes were read for them. */
  async read(
    source: TensorSource,
    first: number,
    count: number,
    { engine = "wasm", keptBytes = 1e6, rowLength = source.storedRowLength }: ReadSettings = {},
  ): Promise<number[]> {
    const reader = await this.reader([source], engine, keptBytes);
    return elementsOf(reader, source, rowLength, first, count);
  }

  async reader(sources: readonly TensorSource[], engine = "wasm", keptBytes = 1e6) {
    const files = new InputFiles(new FileStore({ blocking: true }), this.job, 8);
    const arena = (await openDevice(engine)).open(2 ** 26);
    const reader = new SourceReader({ arena, files, watch: new FiniteWatch(arena) }, sources, {
      keptBytes,
      heldBytes: 0,
      products: new LastProduct(),
      mergedBlocks: { block: noMerged, blocks: noMerged },
    });
    reader.check = true;
    return reader;
  }
}

function noMerged(): never {
  throw new Error("no merged sources here");
}

interface ReadSettings {
  readonly engine?: "wasm" | "reference";
  readonly keptBytes?: number;
  readonly rowLength?: number;
}

export async function elementsOf(
  reader: SourceReader,
  source: TensorSource,
  rowLength: number,
  first: number,
  count: number,
): Promise<number[]> {
  const { arena } = reader;
  const place = arena.allocate(count * 8);
  await reader.read(source, rowLength, first, count, place);
  await reader.watch.check();
  const bytes = (await arena.download(place, count * dtypeBytes[source.dtype])).slice();
  if (source.dtype !== "F32") throw new Error(`${source.tensor} is not derived`);
  return [...new Float32Array(bytes.buffer)];
}

export function bytesOf(dtype: FloatDtype, values: readonly number[]): Uint8Array {
  const array =
    dtype === "F64"
      ? Float64Array.from(values)
      : dtype === "F32"
        ? Float32Array.from(values)
        : codings[dtype].array(values.map(codings[dtype].encode));
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
