import { sha256Hex } from "../checkpoint/index.ts";
import { partBytesOf } from "../plan/index.ts";
import {
  hashDiffers,
  ifThere,
  inParallel,
  join,
  type Objects,
  type Place,
  readWhole,
  type UploadPart,
  UploadSlots,
} from "../storage/index.ts";
import { PublishError } from "./errors.ts";
import type { FinishedOutput } from "./finished-output.ts";
import { ObjectOutput } from "./object-output.ts";
import { CLAIM_PATH, isWeights, OWNER_NAME, STAGE_PATH, SUMS_NAME } from "./records/file-names.ts";
import type { OutputFile } from "./records/manifest.ts";
import { refusesOtherBytes } from "./refuses-other-bytes.ts";
import { hashFile } from "./seal/read-back.ts";

export interface BucketPublicationOptions {
  readonly output: FinishedOutput;
  /** `s3://bucket/prefix` */
  readonly to: Place;
  /** Whether another checkpoint that is there may be replaced. */
  readonly overwrite: boolean;
  /** Holder of a claim of whom somebody is certain that it has ended. */
  readonly takeOver?: string | undefined;
  /** Of a part, at least; 32 MiB if it is not said. */
  readonly partBytes?: number;
}

/** What whoever watches is told. */
export interface BucketPublicationPorts {
  /** How much is about to be sent: shards of which parts are missing. */
  readonly sending?: (missing: { readonly files: number; readonly ofFiles: number; readonly bytes: number }) => void;
  readonly sent?: (bytes: number) => void;
}

/** What is in the bucket. `replaced`: names of the checkpoint that is there, or was when this one was begun. */
interface Found {
  readonly isThere: boolean;
  /** Something is left of this same publication, which was begun before: its stage, or a claim. */
  readonly isStaged: boolean;
  readonly replaced: readonly string[];
}

interface Shard {
  readonly file: OutputFile;
  readonly slot: Place;
  readonly partBytes: number;
  /** By number; all of them where it is closed. */
  readonly held: ReadonlyMap<number, UploadPart> | "closed";
}

const PART_BYTES = 32 * 2 ** 20;
const PARTS_AT_ONCE = 4;
/** In the stage, so that it goes with it: what was there when it was begun. */
const REPLACED_NAME = ".replaced.json";
const RECORD_BYTES_MAX = 2 ** 26;

/**
 * An output that is finished in a folder, on its way to a prefix of a bucket: shards in parts, each with its SHA-256, which the store compares;
 * then all of it is put in its place as `ObjectOutput` does it, and what leads readers to it comes last. Begun again after a failure at any
 * moment it sends the parts that are not there.
 */
export class BucketPublication {
  readonly #objects: Objects;
  readonly #options: BucketPublicationOptions;
  readonly #output: ObjectOutput;
  readonly #slots: UploadSlots;
  readonly #stage: Place;
  /** Whose the stage is: of equal outputs it is the same. */
  readonly #owner: string;
  #found: Found = { isThere: false, isStaged: false, replaced: [] };

  private constructor(objects: Objects, options: BucketPublicationOptions) {
    const { to, takeOver, output } = options;
    this.#objects = objects;
    this.#options = options;
    this.#output = new ObjectOutput(objects, to, { takeOver });
    this.#slots = new UploadSlots(objects);
    this.#stage = join(to, STAGE_PATH);
    this.#owner = `publication of ${sumsOf(output.files)}`;
  }

  /** Looks at what is there; nothing is changed. @throws PublishError `publish/not-empty`, `publish/foreign-file`; StorageError */
  static async begin(objects: Objects, options: BucketPublicationOptions): Promise<BucketPublication> {
    const publication = new BucketPublication(objects, options);
    publication.#found = await publication.#look();
    return publication;
  }

  get isThere(): boolean {
    return this.#found.isThere;
  }

  /** @throws StorageError `storage/locked` where another process writes there */
  async send(ports: BucketPublicationPorts = {}): Promise<{ readonly url: string; readonly wasThere: boolean }> {
    const end = (wasThere: boolean) => ({ url: this.#options.to, wasThere });
    if (this.#found.isThere && !this.#found.isStaged) return end(true);
    const lock = await this.#output.lock(this.#owner);
    try {
      // Until it was locked somebody may have written.
      const { isThere, isStaged, replaced } = await this.#look();
      if (!isThere) {
        if (!isStaged) await this.#beginStage(replaced);
        await this.#sendShards(ports);
        await this.#sendDocuments();
        await this.#output.publish(this.#options.output.files, replaced);
      } else if ((await this.#output.staged())?.owner === this.#owner) await this.#output.discard();
      return end(isThere);
    } finally {
      await lock.release();
    }
  }

  async #look(): Promise<Found> {
    const { to, output, overwrite } = this.#options;
    const staged = await this.#output.staged();
    const isOurs = staged?.owner === this.#owner;
    if (await this.#isThere()) {
      const isClaimed = (await this.#objects.identity(join(to, CLAIM_PATH))) !== undefined;
      return { isThere: true, isStaged: isOurs || isClaimed, replaced: [] };
    }
    const recorded = isOurs ? await this.#recordedReplaced() : undefined;
    if (recorded !== undefined) return { isThere: false, isStaged: true, replaced: recorded };
    if (staged !== undefined && !isOurs && !overwrite) {
      throw new PublishError("publish/not-empty", `${to} holds an output that is not finished`, {
        hint: "Run the command that makes it again, choose another prefix, or give it up with --overwrite.",
      });
    }
    // No plan is this one: of the same plan other records may be there, of another version say.
    const { replaced } = await this.#output.claim({ planDigest: `publication of ${output.place}`, overwrite });
    return { isThere: false, isStaged: false, replaced };
  }

  /** Whether all of it is there: what is published last is the same, and every file has its size. */
  async #isThere(): Promise<boolean> {
    const { to, output } = this.#options;
    const sums = await this.#maybeRead(join(to, SUMS_NAME));
    if (sums === undefined || sha256Hex(sums) !== sumsOf(output.files)) return false;
    const sizes = await inParallel(output.files, PARTS_AT_ONCE, async ({ name, sizeBytes }) => {
      return (await this.#objects.identity(join(to, name)))?.sizeBytes === sizeBytes;
    });
    return sizes.every((isSame) => isSame);
  }

  async #recordedReplaced(): Promise<readonly string[] | undefined> {
    const bytes = await this.#maybeRead(join(this.#stage, REPLACED_NAME));
    if (bytes === undefined) return undefined;
    const names: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
    return Array.isArray(names) ? names.map(String) : undefined;
  }

  async #beginStage(replaced: readonly string[]): Promise<void> {
    if ((await this.#output.staged()) !== undefined) await this.#output.discard();
    await this.#objects.put(join(this.#stage, OWNER_NAME), Buffer.from(this.#owner));
    // From here on it is this publication's, and what is there of it is no longer looked at as somebody else's.
    await this.#objects.put(join(this.#stage, REPLACED_NAME), Buffer.from(JSON.stringify(replaced)));
  }

  async #sendShards({ sending, sent }: BucketPublicationPorts): Promise<void> {
    const files = this.#options.output.files.filter(({ name }) => isWeights(name));
    const shards = await inParallel(files, PARTS_AT_ONCE, (file) => this.#beginShard(file));
    const missing = shards.map((shard) => partsOf(shard).filter(({ isHeld }) => !isHeld));
    sending?.({
      files: missing.filter((parts) => parts.length > 0).length,
      ofFiles: files.length,
      bytes: missing.flat().reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    });
    const buffers: Uint8Array[] = [];
    for (const shard of shards) {
      if (shard.held === "closed") continue;
      const sha256s = await inParallel(partsOf(shard), PARTS_AT_ONCE, async (part) => {
        const buffer = buffers.pop() ?? new Uint8Array(Math.max(...shards.map(({ partBytes }) => partBytes)));
        const sha256 = await this.#sendPart(shard, part, buffer.subarray(0, part.sizeBytes), sent);
        buffers.push(buffer);
        return sha256;
      });
      await this.#slots.close(shard.slot, sha256s);
    }
    if (await refusesOtherBytes(this.#objects, this.#stage)) return;
    // Nobody has looked at them on their way.
    for (const { slot, file } of shards) await this.#checkRead(slot, file);
  }

  async #checkRead(slot: Place, { sha256 }: OutputFile): Promise<void> {
    const found = (await hashFile(this.#objects, slot)).sha256;
    if (found === sha256) return;
    await this.#slots.discard(slot); // so that it is sent again
    throw hashDiffers(slot, "SHA-256", found, sha256);
  }

  async #beginShard(file: OutputFile): Promise<Shard> {
    const { partBytes: least = PART_BYTES } = this.#options;
    const [slot, partBytes] = [join(this.#stage, file.name), partBytesOf(file.sizeBytes, least)];
    const held = await this.#slots.begin(slot, { sizeBytes: file.sizeBytes, partBytes });
    return { file, slot, partBytes, held: held ?? new Map() };
  }

  /** Its SHA-256. What is there is not sent again, where the store says that it is the same. */
  async #sendPart(
    { file, slot, held }: Shard,
    { number, offsetBytes, isHeld }: Part,
    bytes: Uint8Array,
    sent: BucketPublicationPorts["sent"],
  ): Promise<string> {
    await this.#options.output.read(file.name, offsetBytes, bytes);
    const sha256 = sha256Hex(bytes);
    if (isHeld && held !== "closed" && held.get(number)?.sha256 === sha256) return sha256;
    await this.#slots.put(slot, offsetBytes, bytes, sha256);
    if (!isHeld) sent?.(bytes.length);
    return sha256;
  }

  async #sendDocuments(): Promise<void> {
    const { output } = this.#options;
    for (const file of output.files) {
      if (isWeights(file.name)) continue;
      await this.#output.stage([{ name: file.name, bytes: await output.bytesOf(file) }]);
    }
  }

  #maybeRead(place: Place): Promise<Uint8Array | undefined> {
    return ifThere(() => readWhole(this.#objects, place, RECORD_BYTES_MAX));
  }
}

interface Part {
  readonly number: number;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  /** A part of that number and size is there. */
  readonly isHeld: boolean;
}

function partsOf({ file, partBytes, held }: Shard): readonly Part[] {
  return Array.from({ length: Math.ceil(file.sizeBytes / partBytes) }, (_, k) => {
    const offsetBytes = k * partBytes;
    const sizeBytes = Math.min(partBytes, file.sizeBytes - offsetBytes);
    const isHeld = held === "closed" || held.get(k + 1)?.sizeBytes === sizeBytes;
    return { number: k + 1, offsetBytes, sizeBytes, isHeld };
  });
}

function sumsOf(files: readonly OutputFile[]): string {
  return files.find(({ name }) => name === SUMS_NAME)?.sha256 ?? "";
}
