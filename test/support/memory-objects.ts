import { createHash } from "node:crypto";
import {
  type BegunUpload,
  type CopiedRange,
  type DirectoryEntry,
  type FileIdentity,
  hashDiffers,
  isBelow,
  nameOf,
  namesBelow,
  type Objects,
  PART_MIN_BYTES,
  type Place,
  type PutCondition,
  type Readable,
  type StorageCode,
  StorageError,
  type UploadId,
  type UploadPart,
  type Version,
} from "../../storage/index.ts";

interface Stored {
  readonly bytes: Uint8Array;
  readonly version: Version;
  readonly partsSha256?: string;
}

interface Upload {
  readonly place: Place;
  readonly begunMs: number;
  readonly parts: Map<number, UploadPart & { readonly bytes: Uint8Array }>;
  /** Once it is complete: what became of it. */
  completed?: Version;
}

/** An object store in memory, as strict as the strictest. Places are `mem://bucket/key`; all is lost with it. */
export class MemoryObjects implements Objects {
  readonly #objects = new Map<Place, Stored>();
  readonly #uploads = new Map<UploadId, Upload>();
  #changes = 0;

  async open(place: Place): Promise<Readable> {
    const { bytes, version } = this.#found("open", place);
    let isOpen = true;
    const check = () => {
      if (!isOpen) throw refusal("storage/io", `cannot read ${place}: it was closed before`);
    };
    return {
      place,
      identity: async () => {
        check();
        return { kind: "file", sizeBytes: bytes.length, version };
      },
      read: async (offsetBytes, into) => {
        check();
        // As with a condition on each range: bytes of what came later are never given.
        if (this.#objects.get(place)?.version !== version) throw refusal("storage/changed", `${place} was replaced`);
        if (offsetBytes + into.length > bytes.length) {
          throw refusal("storage/short-read", `cannot read ${place}: it ends at byte ${bytes.length}`);
        }
        into.set(bytes.subarray(offsetBytes, offsetBytes + into.length));
      },
      close: async () => {
        isOpen = false;
      },
    };
  }

  async identity(place: Place): Promise<FileIdentity | undefined> {
    const stored = this.#objects.get(place);
    if (stored !== undefined) return { kind: "file", sizeBytes: stored.bytes.length, version: stored.version };
    return this.#below(place).length === 0 ? undefined : { kind: "directory", sizeBytes: 0, version: "" };
  }

  async list(folder: Place): Promise<readonly DirectoryEntry[]> {
    const below = this.#below(folder);
    if (this.#objects.has(folder)) throw refusal("storage/not-a-directory", `cannot list ${folder}: it is an object`);
    if (below.length === 0) throw refusal("storage/not-found", `cannot list ${folder}: nothing is there`);
    const kinds = new Map(
      below.map(([name = "", ...more]) => [name, more.length === 0 ? "file" : "directory"] as const),
    );
    return [...kinds].map(([name, kind]) => ({ name, kind })).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async realPlace(place: Place): Promise<Place> {
    if ((await this.identity(place)) === undefined) this.#found("resolve", place);
    return place;
  }

  async put(place: Place, bytes: Uint8Array, condition?: PutCondition): Promise<Version> {
    this.#check(place, condition);
    const version = this.#newVersion(bytes);
    this.#objects.set(place, { bytes: bytes.slice(), version });
    return version;
  }

  async remove(place: Place, condition: { readonly ifVersion?: Version } = {}): Promise<void> {
    const stored = this.#objects.get(place);
    if (stored === undefined) return;
    if (condition.ifVersion !== undefined && condition.ifVersion !== stored.version) throw changed(place);
    this.#objects.delete(place);
  }

  async beginUpload(place: Place): Promise<UploadId> {
    const id = `upload-${++this.#changes}`;
    this.#uploads.set(id, { place, begunMs: Date.now(), parts: new Map() });
    return id;
  }

  async putPart(place: Place, id: UploadId, number: number, bytes: Uint8Array, known?: string): Promise<UploadPart> {
    const { parts } = this.#upload(place, id);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    if (known !== undefined && known !== sha256) throw hashDiffers(place, "SHA-256", sha256, known);
    const part = { number, sizeBytes: bytes.length, sha256, version: this.#newVersion(bytes) };
    parts.set(number, { ...part, bytes: bytes.slice() });
    return part;
  }

  async copyPart(place: Place, id: UploadId, number: number, from: CopiedRange): Promise<UploadPart> {
    const { bytes, version } = this.#found("copy", from.place);
    if (version !== from.version) throw changed(from.place);
    return this.putPart(place, id, number, bytes.subarray(from.offsetBytes, from.offsetBytes + from.sizeBytes));
  }

  async listUploads(folder: Place): Promise<readonly BegunUpload[]> {
    return [...this.#uploads]
      .filter(([, { place, completed }]) => completed === undefined && isBelow(folder, place))
      .map(([upload, { place, begunMs }]) => ({ place, upload, begunMs }))
      .sort((a, b) => (a.place < b.place ? -1 : 1));
  }

  async listParts(place: Place, id: UploadId): Promise<readonly UploadPart[]> {
    return [...this.#upload(place, id).parts.values()]
      .map(({ bytes: _, ...part }) => part)
      .sort((a, b) => a.number - b.number);
  }

  async completeUpload(
    place: Place,
    id: UploadId,
    parts: readonly UploadPart[],
    condition?: PutCondition,
  ): Promise<Version> {
    const known = this.#uploads.get(id);
    if (known?.place === place && known.completed !== undefined) return known.completed;
    const upload = this.#upload(place, id);
    const pieces = parts.map((part, k) => {
      const there = upload.parts.get(part.number);
      if (there?.version !== part.version || there.sha256 !== part.sha256) throw changed(place);
      if (k > 0 && part.number <= (parts[k - 1]?.number ?? 0)) throw changed(place);
      if (k < parts.length - 1 && there.sizeBytes < PART_MIN_BYTES) {
        throw refusal("storage/io", `part ${part.number} of ${place} has ${there.sizeBytes} bytes, too few`);
      }
      return there.bytes;
    });
    const version = await this.put(place, Buffer.concat(pieces), condition);
    const hash = createHash("sha256");
    for (const { sha256 } of parts) hash.update(Buffer.from(sha256 ?? "", "hex"));
    this.#objects.set(place, {
      bytes: Buffer.concat(pieces),
      version,
      partsSha256: `${hash.digest("hex")}-${parts.length}`,
    });
    upload.completed = version;
    upload.parts.clear();
    return version;
  }

  async partsSha256(place: Place): Promise<string | undefined> {
    return this.#found("examine", place).partsSha256;
  }

  async abortUpload(_place: Place, id: UploadId): Promise<void> {
    if (this.#uploads.get(id)?.completed === undefined) this.#uploads.delete(id);
  }

  #below(folder: Place): readonly (readonly string[])[] {
    return [...this.#objects.keys()].flatMap((place) => {
      const names = namesBelow(folder, place);
      return names === undefined ? [] : [names];
    });
  }

  #found(action: string, place: Place): Stored {
    const stored = this.#objects.get(place);
    if (stored !== undefined) return stored;
    const [code, what] =
      this.#below(place).length > 0
        ? (["storage/not-a-file", "it is a folder"] as const)
        : (["storage/not-found", `no ${nameOf(place)} is there`] as const);
    throw refusal(code, `cannot ${action} ${place}: ${what}`);
  }

  #upload(place: Place, id: UploadId): Upload {
    const upload = this.#uploads.get(id);
    if (upload?.place === place && upload.completed === undefined) return upload;
    throw refusal("storage/not-found", `there is no upload ${id} of ${place}`);
  }

  #check(place: Place, condition: PutCondition | undefined): void {
    const there = this.#objects.get(place);
    if (condition === undefined) return;
    if ("ifAbsent" in condition) {
      if (there !== undefined) throw refusal("storage/exists", `cannot put ${place}: it is there already`);
    } else if (there?.version !== condition.ifVersion) throw changed(place);
  }

  #newVersion(bytes: Uint8Array): Version {
    return `${createHash("md5").update(bytes).digest("hex")}-${++this.#changes}`;
  }
}

function changed(place: Place): StorageError {
  return refusal("storage/changed", `${place} is another version`);
}

function refusal(code: StorageCode, message: string): StorageError {
  return new StorageError(code, message, { hint: "In memory." });
}
