import { StorageError } from "./errors.ts";
import { foundOnce } from "./found-once.ts";
import { ifThere, isNotFound, isTaken } from "./if-there.ts";
import { inParallel } from "./in-parallel.ts";
import { type Place, placeOf } from "./place.ts";
import type {
  CopiedRange,
  Objects,
  PutCondition,
  SignedAddress,
  Signing,
  UploadId,
  UploadPart,
  Version,
} from "./port.ts";
import { readWithVersion } from "./whole.ts";

/** An object that comes in parts of one size, but for the last. */
export interface SlotShape {
  readonly sizeBytes: number;
  readonly partBytes: number;
}

/** A part as it is to be, or should be there. */
export interface SlotPart {
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  /** Of its bytes, hex. */
  readonly sha256: string;
}

interface SlotRecord extends SlotShape {
  readonly upload: UploadId;
  /** Most of its parts are copied: the store keeps no hashes of any. */
  readonly isCopied?: true;
  /** The upload by which it is copied elsewhere. */
  readonly placing?: { readonly place: Place; readonly upload: UploadId };
}

interface FoundRecord {
  readonly record: SlotRecord;
  readonly version: Version;
}

const RECORD_BYTES_MAX = 16 * 1024;
/** Of copies within a store, each of which it makes by itself. */
const COPIES_AT_ONCE = 8;

/**
 * Objects that several processes write together, in parts, and know by their places alone: beside each lies the name of its upload, in an
 * object that ends in `.upload`. A slot that was closed may be read; parts that are put into it then open it again, with all others kept.
 */
export class UploadSlots {
  readonly #objects: Objects;
  readonly #records = new Map<Place, Promise<FoundRecord>>();
  readonly #reopening = new Map<Place, Promise<void>>();

  constructor(objects: Objects) {
    this.#objects = objects;
  }

  /**
   * Makes a slot that parts can be put into; one of that shape that is there stays. Resolves to the parts that are in it, by number.
   * Undefined: it was made.
   */
  async begin(
    slot: Place,
    shape: SlotShape,
    parts: "put" | "copied" = "put",
  ): Promise<ReadonlyMap<number, UploadPart> | "closed" | undefined> {
    this.#records.delete(slot);
    const found = await this.#maybeRecord(slot);
    if (found !== undefined && isOfShape(found.record, shape)) {
      const parts = await this.#maybeParts(slot, found.record);
      if (parts !== undefined) return new Map(parts.map((part) => [part.number, part]));
      if ((await this.#objects.identity(slot))?.sizeBytes === shape.sizeBytes) return "closed";
    }
    const upload = await this.#objects.beginUpload(slot, parts);
    const kind = parts === "copied" ? { isCopied: true as const } : {};
    await this.#write(slot, { ...shape, upload, ...kind }, found?.version);
    return undefined;
  }

  /** Puts a part that is the same bytes of another object of the store: they do not come by here. */
  async copyIn(slot: Place, offsetBytes: number, from: Pick<CopiedRange, "place" | "version">): Promise<void> {
    const { upload, partBytes, sizeBytes } = (await this.#record(slot)).record;
    const range = { ...from, offsetBytes, sizeBytes: Math.min(partBytes, sizeBytes - offsetBytes) };
    await this.#objects.copyPart(slot, upload, offsetBytes / partBytes + 1, range);
  }

  /** Puts the part that begins at `offsetBytes`; `sha256`: of its bytes. Durable once it resolves; again, it replaces what was put before. */
  async put(slot: Place, offsetBytes: number, bytes: Uint8Array, sha256: string): Promise<UploadPart> {
    for (let tries = 1; ; tries++) {
      const found = await this.#record(slot);
      const { upload, partBytes, sizeBytes, isCopied } = found.record;
      const kind = isCopied === true ? "copied" : "put";
      if (offsetBytes % partBytes !== 0 || bytes.length !== Math.min(partBytes, sizeBytes - offsetBytes))
        throw new Error(`${bytes.length} bytes at ${offsetBytes} are no part of ${slot}: parts have ${partBytes}`);
      try {
        return await this.#objects.putPart(slot, upload, offsetBytes / partBytes + 1, bytes, sha256, kind);
      } catch (error) {
        if (tries > 3 || !(await this.#isOver(slot, found.record, error))) throw error;
        this.#records.delete(slot);
        const now = await this.#record(slot);
        if (now.record.upload === upload) await this.#reopened(slot, now);
      }
    }
  }

  /**
   * An address by which others put the part that begins at `offsetBytes`. `isGone`: the store said so of what the last one belonged to: a slot that
   * was closed is opened again then, with all other parts kept.
   */
  async signPart(
    signing: Signing,
    slot: Place,
    part: SlotPart,
    { lastsMs, isGone }: { readonly lastsMs: number; readonly isGone: boolean },
  ): Promise<SignedAddress> {
    if (isGone) {
      this.#records.delete(slot);
      const now = await this.#record(slot);
      if ((await this.#maybeParts(slot, now.record)) === undefined) await this.#reopened(slot, now);
    }
    const { upload, partBytes } = (await this.#record(slot)).record;
    const { offsetBytes, ...bytes } = part;
    return signing.signPart(slot, upload, { ...bytes, number: offsetBytes / partBytes + 1 }, lastsMs);
  }

  /** Whether a part of that size and hash is in an open slot, as the store says. */
  async has(slot: Place, { offsetBytes, sizeBytes, sha256 }: SlotPart): Promise<boolean> {
    for (const isKnown of [true, false]) {
      if (!isKnown) this.#records.delete(slot); // another process may have opened it again
      const { upload, partBytes } = (await this.#record(slot)).record;
      const number = offsetBytes / partBytes + 1;
      const parts = await ifThere(() => this.#objects.listParts(slot, upload, number));
      const part = parts?.find((one) => one.number === number);
      if (part !== undefined) return part.sizeBytes === sizeBytes && (part.sha256 ?? sha256) === sha256;
    }
    return false;
  }

  /**
   * Makes the object of its parts, so that it can be read; one that was made before stays. `sha256s`: of all parts, in order, as far as they
   * are known.
   * @throws StorageError `storage/changed` where the store has another part, or none
   */
  async close(slot: Place, sha256s: readonly (string | undefined)[]): Promise<void> {
    this.#records.delete(slot);
    const { record } = await this.#record(slot);
    const parts = await this.#maybeParts(slot, record);
    if (parts === undefined) {
      if ((await this.#objects.identity(slot))?.sizeBytes === record.sizeBytes) return;
      throw lostPart(slot, "its upload was given up by somebody else");
    }
    const byNumber = new Map(parts.map((part) => [part.number, part]));
    const all = sha256s.map((sha256, k) => {
      const part = byNumber.get(k + 1);
      if (part === undefined) throw lostPart(slot, `part ${k + 1} of ${sha256s.length} is not there`);
      const sizeBytes = Math.min(record.partBytes, record.sizeBytes - k * record.partBytes);
      const isKnown = part.sha256 !== undefined && sha256 !== undefined;
      if (part.sizeBytes === sizeBytes && (!isKnown || part.sha256 === sha256)) return part;
      throw lostPart(slot, `part ${k + 1} of ${sha256s.length} is another one than was put`);
    });
    await this.#objects.completeUpload(slot, record.upload, all);
  }

  /** Puts what is in a closed slot at another place of the store, in one step; goes on where an earlier call was stopped. */
  async place(slot: Place, to: Place, condition: PutCondition): Promise<Version> {
    this.#records.delete(slot);
    const found = await this.#record(slot);
    const there = await this.#objects.identity(slot);
    if (there?.kind !== "file") throw lostPart(slot, "it is not there");
    const known = await this.#placed(found.record);
    const upload =
      known === undefined ? await this.#objects.beginUpload(to, "copied") : (found.record.placing?.upload ?? "");
    if (known === undefined)
      await this.#write(slot, { ...found.record, placing: { place: to, upload } }, found.version);
    const copied = new Map((known ?? []).map((part) => [part.number, part]));
    const from = { place: slot, version: there.version };
    await inParallel(partsOf(found.record), COPIES_AT_ONCE, async ({ number, offsetBytes, sizeBytes }) => {
      if (copied.get(number)?.sizeBytes === sizeBytes) return;
      await this.#objects.copyPart(to, upload, number, { ...from, offsetBytes, sizeBytes });
    });
    return this.#objects.completeUpload(to, upload, await this.#objects.listParts(to, upload), condition);
  }

  /** Whether a slot is on its way elsewhere, or may have arrived there; undefined: it was not sent. */
  async placing(slot: Place): Promise<"under way" | "over" | undefined> {
    const found = await this.#maybeRecord(slot);
    if (found?.record.placing === undefined) return undefined;
    return (await this.#placed(found.record)) === undefined ? "over" : "under way";
  }

  /** Nothing of it is left. */
  async discard(slot: Place): Promise<void> {
    this.#records.delete(slot);
    const found = await this.#maybeRecord(slot);
    if (found !== undefined) {
      const { upload, placing } = found.record;
      await this.#objects.abortUpload(slot, upload);
      if (placing !== undefined) await this.#objects.abortUpload(placing.place, placing.upload);
    }
    await this.#objects.remove(slot);
    await this.#objects.remove(recordOf(slot));
  }

  /** That reads all of it: whoever finds it closed meanwhile waits. */
  #reopened(slot: Place, found: FoundRecord): Promise<void> {
    const opening = foundOnce(this.#reopening, slot, () => this.#reopen(slot, found));
    return opening.finally(() => this.#reopening.delete(slot));
  }

  /** Of several who do so at once one is first, and all others write where that one does. */
  async #reopen(slot: Place, { record, version }: FoundRecord): Promise<void> {
    const there = await this.#objects.identity(slot);
    if (there?.sizeBytes !== record.sizeBytes) throw lostPart(slot, "its upload was given up by somebody else");
    const upload = await this.#objects.beginUpload(slot);
    // Read, and not copied by the store: not every one knows the hashes of what it copied, by which parts are compared.
    const file = await this.#objects.open(slot);
    try {
      for (const { number, offsetBytes, sizeBytes } of partsOf(record)) {
        const bytes = new Uint8Array(sizeBytes);
        await file.read(offsetBytes, bytes);
        await this.#objects.putPart(slot, upload, number, bytes);
      }
    } finally {
      await file.close();
    }
    try {
      await this.#write(slot, { sizeBytes: record.sizeBytes, partBytes: record.partBytes, upload }, version);
    } catch (error) {
      await this.#objects.abortUpload(slot, upload);
      if (!isTaken(error)) throw error;
      this.#records.delete(slot);
    }
  }

  async #write(slot: Place, record: SlotRecord, replaced: Version | undefined): Promise<void> {
    const bytes = Buffer.from(`${JSON.stringify(record)}\n`);
    const condition = replaced === undefined ? { ifAbsent: true as const } : { ifVersion: replaced };
    try {
      const version = await this.#objects.put(recordOf(slot), bytes, condition);
      this.#records.set(slot, Promise.resolve({ record, version }));
    } catch (error) {
      if (!isTaken(error)) throw error;
      // By us, if whoever stands between us and the store asked it twice: no other upload has the same name.
      this.#records.delete(slot);
      const found = await this.#maybeRecord(slot);
      const isOurs = found?.record.upload === record.upload && found.record.placing?.upload === record.placing?.upload;
      if (!isOurs) throw error;
    }
  }

  #record(slot: Place): Promise<FoundRecord> {
    return foundOnce(this.#records, slot, async () => {
      const { bytes, version } = await readWithVersion(this.#objects, recordOf(slot), RECORD_BYTES_MAX);
      return { record: parseRecord(slot, bytes), version };
    });
  }

  #maybeRecord(slot: Place): Promise<FoundRecord | undefined> {
    return ifThere(() => this.#record(slot));
  }

  /** What was copied of it; undefined where there is no such upload, or none any more. */
  async #placed({ placing }: SlotRecord): Promise<readonly UploadPart[] | undefined> {
    return placing === undefined ? undefined : this.#maybeParts(placing.place, placing);
  }

  /** Whether a part was refused because its upload is there no more: some stores say so, and of others it can be asked. */
  async #isOver(slot: Place, record: SlotRecord, error: unknown): Promise<boolean> {
    if (isNotFound(error)) return true;
    if (!(error instanceof StorageError && error.retryable && error.code !== "storage/hash")) return false;
    try {
      return (await this.#maybeParts(slot, record)) === undefined;
    } catch {
      return false; // nor does it say that
    }
  }

  #maybeParts(place: Place, { upload }: { readonly upload: UploadId }): Promise<readonly UploadPart[] | undefined> {
    return ifThere(() => this.#objects.listParts(place, upload));
  }
}

const RECORD_END = ".upload";

/** Where it stands by which upload a slot is written. */
export function recordOf(slot: Place): Place {
  return placeOf(`${slot}${RECORD_END}`);
}

/** The slot that a record is of; undefined of what is no record. */
export function maybeSlotOf(record: Place): Place | undefined {
  return record.endsWith(RECORD_END) ? placeOf(record.slice(0, -RECORD_END.length)) : undefined;
}

function partsOf({ sizeBytes, partBytes }: SlotShape) {
  return Array.from({ length: Math.ceil(sizeBytes / partBytes) }, (_, k) => ({
    number: k + 1,
    offsetBytes: k * partBytes,
    sizeBytes: Math.min(partBytes, sizeBytes - k * partBytes),
  }));
}

function isOfShape(record: SlotRecord, { sizeBytes, partBytes }: SlotShape): boolean {
  return record.sizeBytes === sizeBytes && record.partBytes === partBytes;
}

function parseRecord(slot: Place, bytes: Uint8Array): SlotRecord {
  try {
    const record = JSON.parse(Buffer.from(bytes).toString("utf8")) as Partial<SlotRecord>;
    const { upload, sizeBytes, partBytes, placing } = record;
    const isPlacing = typeof placing?.place === "string" && typeof placing.upload === "string";
    if (typeof upload === "string" && Number.isSafeInteger(sizeBytes) && Number.isSafeInteger(partBytes))
      return {
        ...{ upload, sizeBytes: Number(sizeBytes), partBytes: Number(partBytes) },
        ...(record.isCopied === true ? { isCopied: true as const } : {}),
        ...(isPlacing ? { placing: { place: placeOf(placing.place), upload: placing.upload } } : {}),
      };
  } catch {
    // said below
  }
  throw lostPart(slot, `${recordOf(slot)} is not what deltaworks wrote`);
}

function lostPart(slot: Place, what: string): StorageError {
  return new StorageError("storage/changed", `${slot} is not as it was written: ${what}`, {
    hint: "Somebody else writes there, or a rule of the bucket ends uploads. Run the same command again: what is lost is computed anew.",
  });
}
