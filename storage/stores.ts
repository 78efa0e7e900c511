import { StorageError } from "./errors.ts";
import { FileStore, type FileStoreOptions } from "./file/file-store.ts";
import { foundOnce } from "./found-once.ts";
import type { HttpRanges } from "./http/http-ranges.ts";
import type { FarOptions } from "./http/open-ranges.ts";
import { type Place, schemeOf } from "./place.ts";
import type {
  DirectoryEntry,
  FileIdentity,
  Files,
  Lock,
  LockOptions,
  Objects,
  Readable,
  ReadOptions,
  Signing,
  Source,
  StoredFile,
  UploadPart,
  WriteOptions,
} from "./port.ts";
import { UploadSlots } from "./upload-slots.ts";

export interface StoresOptions extends FileStoreOptions, FarOptions {}

/** All stores of this program. `blocking`, `takeOver`: as of the file store. */
export function openStores(options: StoresOptions = {}): Stores {
  const files = new FileStore(options);
  return new Stores(files, farStores(files, options));
}

/** What opens the store of a scheme; asked once, when the first place of it is. */
export type Openers = Readonly<Record<string, () => Promise<Source>>>;

/** Stores of this program beside the files, each loaded where a place asks for it; they share their connections. */
function farStores(files: Source, options: StoresOptions): Openers {
  let opened: Promise<HttpRanges> | undefined;
  const ranges = () => {
    opened ??= import("./http/open-ranges.ts").then(({ openRanges }) => openRanges(files, options));
    return opened;
  };
  const web = async () => new (await import("./http/http-source.ts")).HttpSource(await ranges());
  const hub = async () => {
    const { HubSource } = await import("./hub/hub-source.ts");
    return new HubSource({
      ...{ http: await ranges(), files: new FileStore(), environment: process.env, resolvesOnce: true },
    });
  };
  const s3 = async () => {
    const [{ S3Buckets }, { S3Objects }, { readAwsSettings }] = await Promise.all([
      import("./s3/s3-buckets.ts"),
      import("./s3/s3-objects.ts"),
      import("./s3/aws-settings.ts"),
    ]);
    return new S3Objects(new S3Buckets(await ranges(), () => readAwsSettings(files, process.env)));
  };
  return { https: web, http: web, hf: hub, s3 };
}

/**
 * All places: what is read comes from the store that a place's scheme names, what is written goes to files.
 * All methods besides throw StorageError `storage/scheme`: of a scheme that no store here has, and where files alone can do it.
 */
export class Stores implements Files {
  readonly #files: Files;
  readonly #openers: Openers;
  readonly #open = new Map<string, Promise<Source>>();
  readonly #slots = new Map<string, Promise<UploadSlots>>();

  constructor(files: Files, others: Openers) {
    this.#files = files;
    this.#openers = others;
  }

  async open(place: Place, options?: ReadOptions): Promise<Readable> {
    return (await this.#sourceOf("open", place)).open(place, options);
  }

  async identity(place: Place): Promise<FileIdentity | undefined> {
    return (await this.#sourceOf("examine", place)).identity(place);
  }

  async list(folder: Place): Promise<readonly DirectoryEntry[]> {
    return (await this.#sourceOf("list", folder)).list(folder);
  }

  async realPlace(place: Place): Promise<Place> {
    return (await this.#sourceOf("resolve", place)).realPlace(place);
  }

  async openForWriting(place: Place, options?: WriteOptions): Promise<StoredFile> {
    return this.#filesAt("write", place).openForWriting(place, options);
  }

  async rename(from: Place, to: Place): Promise<void> {
    this.#filesAt("rename", from);
    return this.#filesAt("rename to", to).rename(from, to);
  }

  async remove(place: Place): Promise<void> {
    return this.#filesAt("remove", place).remove(place);
  }

  async removeDirectory(place: Place): Promise<void> {
    return this.#filesAt("remove", place).removeDirectory(place);
  }

  async makeDirectory(place: Place): Promise<void> {
    return this.#filesAt("make the folder", place).makeDirectory(place);
  }

  async syncDirectory(place: Place): Promise<void> {
    return this.#filesAt("sync the folder", place).syncDirectory(place);
  }

  async lock(place: Place, options?: LockOptions): Promise<Lock> {
    return this.#filesAt("lock", place).lock(place, options);
  }

  /** The object store of a place. @throws StorageError `storage/scheme` where what has it is none */
  async objects(place: Place): Promise<Objects> {
    const source = await this.#sourceOf("write", place);
    if (isObjects(source)) return source;
    throw new StorageError("storage/scheme", `cannot write ${place}: ${schemeOf(place)}:// is no object store`, {
      hint: "Give s3://bucket/prefix.",
    });
  }

  /** What gives others addresses to a place that stand for keys; undefined where its store has nothing of the kind. */
  async signing(place: Place): Promise<Signing | undefined> {
    const source = await this.#sourceOf("sign for", place);
    return isSigning(source) ? source : undefined;
  }

  /** Puts a part into a slot of an object store: see UploadSlots. */
  async putPart(slot: Place, offsetBytes: number, bytes: Uint8Array, sha256: string): Promise<UploadPart> {
    const slots = await foundOnce(this.#slots, schemeOf(slot), async () => new UploadSlots(await this.objects(slot)));
    return slots.put(slot, offsetBytes, bytes, sha256);
  }

  #filesAt(action: string, place: Place): Files {
    const scheme = schemeOf(place);
    if (scheme === "file") return this.#files;
    throw new StorageError("storage/scheme", `cannot ${action} ${place}: only files can be written and locked here`, {
      hint: "Give a path of this machine.",
    });
  }

  async #sourceOf(action: string, place: Place): Promise<Source> {
    const scheme = schemeOf(place);
    if (scheme === "file") return this.#files;
    const opener = Object.hasOwn(this.#openers, scheme) ? this.#openers[scheme] : undefined;
    if (opener === undefined) {
      const known = Object.keys(this.#openers).map((name) => `${name}://`);
      throw new StorageError("storage/scheme", `cannot ${action} ${place}: ${scheme}:// is no store here`, {
        hint: `Give ${["a path of this machine", ...known].join(", or ")}.`,
      });
    }
    return foundOnce(this.#open, scheme, opener);
  }
}

function isSigning(source: Source): source is Source & Signing {
  return "signRead" in source;
}

function isObjects(source: Source): source is Objects {
  return "beginUpload" in source;
}
