import type { Plan } from "../merge/work/index.ts";
import {
  fencedObjects,
  hashDiffers,
  ifThere,
  inParallel,
  join,
  type Lock,
  maybeSlotOf,
  type Objects,
  type Place,
  readWhole,
  StorageError,
  UploadSlots,
} from "../storage/index.ts";
import type { OutputDocument } from "./documents/output-document.ts";
import { claimPrefix } from "./object-claim.ts";
import { ObjectPublication } from "./object-publication.ts";
import { checkOutputDirectory, filesIn, type OutputClaim, type OutputState } from "./output-directory.ts";
import { checkOutputIsNoInput } from "./output-is-input.ts";
import type { NamedInput, Output } from "./port.ts";
import { OWNER_BYTES_MAX, OWNER_NAME, STAGE_PATH } from "./records/file-names.ts";
import type { OutputFile } from "./records/manifest.ts";
import { partsHashOf, partsHashText } from "./records/parts-hash.ts";
import { refusesOtherBytes } from "./refuses-other-bytes.ts";
import { type VerifyReport, verifyOutput } from "./repair/verify.ts";
import { type ByteRange, hashRanges } from "./seal/read-back.ts";
import { slotShapeOf } from "./slot-shape.ts";
import { abortUploads } from "./slot-uploads.ts";

export interface ObjectOutputOptions {
  /** Holder of a claim of whom somebody is certain that it has ended. */
  readonly takeOver?: string | undefined;
}

/** Objects that are removed or put at once. */
const CALLS_AT_ONCE = 8;

/**
 * A prefix of an object store. The stage lies below it: shards are put together there as uploads in parts, closed to be read back, and copied
 * to their places by the store itself, which makes each of them in one step. Nothing is renamed or locked: whatever changes is put on the
 * condition that it is as it was seen. [ADR 0018](../docs/adr/0018-outputs-in-buckets.md)
 */
export class ObjectOutput implements Output {
  readonly place: Place;
  readonly journalFolder = undefined;
  readonly #objects: Objects;
  readonly #options: ObjectOutputOptions;
  readonly #stage: Place;
  readonly #slots: UploadSlots;

  constructor(objects: Objects, place: Place, options: ObjectOutputOptions = {}) {
    this.#objects = objects;
    this.#options = options;
    this.place = place;
    this.#stage = join(place, STAGE_PATH);
    this.#slots = new UploadSlots(objects);
  }

  claim(claim: OutputClaim): Promise<OutputState> {
    return checkOutputDirectory(this.#objects, this.place, claim);
  }

  checkIsNoInput(inputs: readonly NamedInput[]): Promise<void> {
    return checkOutputIsNoInput(this.#objects, this.place, inputs);
  }

  lock(owner?: string): Promise<Lock> {
    return claimPrefix(this.#objects, this.place, owner, this.#options.takeOver);
  }

  async staged(): Promise<{ readonly owner: string | undefined } | undefined> {
    if ((await this.#objects.identity(this.#stage)) === undefined) return undefined;
    const bytes = await ifThere(() => readWhole(this.#objects, join(this.#stage, OWNER_NAME), OWNER_BYTES_MAX));
    return { owner: bytes === undefined || bytes.length === 0 ? undefined : Buffer.from(bytes).toString() };
  }

  /** No journal is kept here. */
  makeAnew(): Promise<void> {
    return this.discard();
  }

  async prepare(plan: Plan, owner = "", done: ReadonlyMap<string, string> = new Map()): Promise<readonly number[]> {
    // First of all: whoever finds anything here knows whose it is.
    await this.#objects.put(join(this.#stage, OWNER_NAME), Buffer.from(owner));
    const held = await inParallel(plan.shards, CALLS_AT_ONCE, (shard) =>
      this.#slots.begin(join(this.#stage, shard.name), slotShapeOf(plan, shard)),
    );
    return [...plan.slices.keys()].filter((index) => !isHeld(plan, index, held, done));
  }

  slots({ shards }: Plan): readonly Place[] {
    return shards.map(({ name }) => join(this.#stage, name));
  }

  async closeSlots(plan: Plan, sliceSha256s: readonly string[]): Promise<void> {
    await inParallel(this.slots(plan), CALLS_AT_ONCE, async (slot, shard) => {
      const own = [...plan.slices.entries()].filter(([, slice]) => slice.shard === shard);
      await this.#slots.close(
        slot,
        own.map(([index]) => sliceSha256s[index] ?? ""),
      );
    });
  }

  async sealedByStore(plan: Plan, sliceSha256s: readonly string[]): Promise<readonly string[]> {
    if (!(await refusesOtherBytes(this.#objects, this.#stage))) throw looksAtNone(this.place);
    return inParallel(this.slots(plan), CALLS_AT_ONCE, async (slot, shard) => {
      const layout = plan.shards[shard];
      if (layout === undefined) throw new Error(`the plan has no shard ${shard}`);
      const own = [...plan.slices.entries()].filter(([, slice]) => slice.shard === shard);
      const hash = partsHashOf(
        own.map(([index]) => sliceSha256s[index] ?? ""),
        slotShapeOf(plan, layout).partBytes,
      );
      const told = await this.#objects.partsSha256(slot);
      if (told === undefined) throw noChecksums(slot);
      const expected = `${hash.sha256}-${hash.parts}`;
      if (told !== expected) throw hashDiffers(slot, "SHA-256 of its parts", told, expected);
      return partsHashText(hash);
    });
  }

  readBack(slot: Place, ranges: readonly ByteRange[]): Promise<readonly string[]> {
    return hashRanges(this.#objects, slot, ranges);
  }

  async stage(documents: readonly OutputDocument[]): Promise<void> {
    await inParallel(documents, CALLS_AT_ONCE, async ({ name, bytes }) => {
      await this.#objects.put(join(this.#stage, name), bytes);
    });
  }

  async publish(files: readonly OutputFile[], replaced: readonly string[]): Promise<void> {
    await new ObjectPublication(this.#objects, this.place, this.#stage, files, replaced).run();
    await this.discard();
  }

  async discard(): Promise<void> {
    const all = await this.#staged();
    const owner = join(this.#stage, OWNER_NAME);
    const slots = all.flatMap((place) => maybeSlotOf(place) ?? []);
    const others = all.filter((place) => place !== owner && maybeSlotOf(place) === undefined);
    await abortUploads(this.#objects, this.place, this.#stage, all);
    await inParallel(others, CALLS_AT_ONCE, (place) => this.#objects.remove(place));
    await inParallel(slots, CALLS_AT_ONCE, (slot) => this.#slots.discard(slot));
    // Last: until then it is known whose the rest is.
    await this.#objects.remove(owner);
  }

  verify(): Promise<VerifyReport> {
    return verifyOutput(this.#objects, this.place);
  }

  fenced(confirm: () => Promise<void>): Output {
    return new ObjectOutput(fencedObjects(this.#objects, confirm), this.place, this.#options);
  }

  async #staged(): Promise<readonly Place[]> {
    if ((await this.#objects.identity(this.#stage)) === undefined) return [];
    return (await filesIn(this.#objects, this.#stage)).map((name) => join(this.#stage, name));
  }
}

const READ_INSTEAD =
  "Run the same command with --seal read, which reads back what was written; nothing is computed again.";

function noChecksums(slot: Place): StorageError {
  const message = `the store of ${slot} tells no SHA-256 of what it put together`;
  return new StorageError("storage/no-checksums", message, { hint: READ_INSTEAD });
}

function looksAtNone(place: Place): StorageError {
  const message = `the store of ${place} took bytes that are not those of their SHA-256: what it says of others proves nothing`;
  return new StorageError("storage/no-checksums", message, { hint: READ_INSTEAD });
}

/** Whether a slice needs no other look: it is in its slot, or nobody said that it would be. */
function isHeld(plan: Plan, index: number, held: readonly Held[], done: ReadonlyMap<string, string>): boolean {
  const { id, shard, offsetBytes, sizeBytes } = plan.slices[index] ?? {};
  const [layout, parts] = [plan.shards[shard ?? -1], held[shard ?? -1]];
  if (layout === undefined || parts === undefined) return false;
  const sha256 = done.get(id ?? "");
  // What was closed had all its parts; the seal says what is not so any more.
  if (sha256 === undefined || parts === "closed") return true;
  const part = parts.get((offsetBytes ?? 0) / slotShapeOf(plan, layout).partBytes + 1);
  return part?.sizeBytes === sizeBytes && (part?.sha256 ?? sha256) === sha256;
}

type Held = Awaited<ReturnType<UploadSlots["begin"]>>;
