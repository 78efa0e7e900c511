import { sha256Hex } from "../checkpoint/index.ts";
import { join, type Place, readWhole, type Source, StorageError, type Version } from "../storage/index.ts";
import type { OutputFile } from "./records/manifest.ts";

/** Of a piece that is sent: TLS encrypts each at once. */
const PIECE_BYTES = 2 ** 18;
const READ_BYTES = 2 ** 22;

/**
 * An output that is finished, in a folder or a bucket, on its way elsewhere. Its files are hashed when it is verified, and not again on their
 * way: that they are still the same is seen by their versions, which are noted when it is opened, so before. All methods throw StorageError
 * `storage/changed` of a file that is another one by then.
 */
export class FinishedOutput {
  readonly place: Place;
  /** All of them: manifest and SHA256SUMS too. */
  readonly files: readonly OutputFile[];
  readonly #store: Source;
  readonly #versions: ReadonlyMap<string, Version>;

  private constructor(
    store: Source,
    place: Place,
    files: readonly OutputFile[],
    versions: ReadonlyMap<string, Version>,
  ) {
    this.#store = store;
    this.place = place;
    this.files = files;
    this.#versions = versions;
  }

  static async open(store: Source, place: Place, files: readonly OutputFile[]): Promise<FinishedOutput> {
    const versions = new Map<string, Version>();
    for (const { name } of files) {
      const identity = await store.identity(join(place, name));
      if (identity !== undefined) versions.set(name, identity.version);
    }
    return new FinishedOutput(store, place, files, versions);
  }

  /** All bytes of a small file. */
  async bytesOf({ name, sizeBytes, sha256 }: OutputFile): Promise<Uint8Array> {
    const bytes = await readWhole(this.#store, join(this.place, name), sizeBytes);
    if (sha256Hex(bytes) === sha256) return bytes;
    throw this.#changed(name);
  }

  /** A range of a file, piece by piece; whoever gets a piece owns it. */
  async *pieces(name: string, offsetBytes: number, sizeBytes: number): AsyncGenerator<Uint8Array> {
    const file = await this.#store.open(join(this.place, name));
    const check = async () => {
      if ((await file.identity()).version !== this.#versions.get(name)) throw this.#changed(name);
    };
    try {
      await check();
      const end = offsetBytes + sizeBytes;
      for (let at = offsetBytes; at < end; at += READ_BYTES) {
        const read = Buffer.allocUnsafe(Math.min(READ_BYTES, end - at));
        await file.read(at, read);
        if (at + read.length === end) await check();
        for (let from = 0; from < read.length; from += PIECE_BYTES) yield read.subarray(from, from + PIECE_BYTES);
      }
    } finally {
      await file.close();
    }
  }

  /** Fills `into` from `offsetBytes`. */
  async read(name: string, offsetBytes: number, into: Uint8Array): Promise<void> {
    let at = 0;
    for await (const piece of this.pieces(name, offsetBytes, into.length)) {
      into.set(piece, at);
      at += piece.length;
    }
  }

  #changed(name: string): StorageError {
    const message = `cannot publish ${join(this.place, name)}: it changed meanwhile`;
    return new StorageError("storage/changed", message, {
      hint: "Nothing was published. Run the same command again once nobody writes to the output.",
    });
  }
}
