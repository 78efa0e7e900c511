import type { Plan } from "../../merge/work/index.ts";
import {
  inParallel,
  join,
  type Lock,
  maybeSlotOf,
  type Objects,
  type Place,
  type PutCondition,
  type Source,
  UploadSlots,
} from "../../storage/index.ts";
import { claimPrefix } from "../object-claim.ts";
import { filesIn } from "../output-directory.ts";
import { REPAIR_DIRECTORY } from "../records/file-names.ts";
import { slotShapeOf } from "../slot-shape.ts";
import { abortUploads } from "../slot-uploads.ts";
import type { RepairTarget } from "./repair-target.ts";

const COPIES_AT_ONCE = 8;

/**
 * A prefix of a bucket: a shard is put together aside of copies, which the store makes of what is sound, and of slices that are computed; when
 * it was read and is what was published, the store copies it over the damaged one, if that is still the one that was seen.
 */
export class ObjectRepairTarget implements RepairTarget {
  readonly source: Source;
  readonly takesParts = true;
  readonly #objects: Objects;
  readonly #slots: UploadSlots;
  readonly #out: Place;
  readonly #aside: Place;
  readonly #gone: string | undefined;

  /** `source`: of the inputs too. `gone`: holder of a claim of whom somebody is certain that it has ended. */
  constructor(source: Source, objects: Objects, out: Place, gone: string | undefined) {
    this.source = source;
    this.#objects = objects;
    this.#slots = new UploadSlots(objects);
    this.#out = out;
    this.#aside = join(out, REPAIR_DIRECTORY);
    this.#gone = gone;
  }

  async begin(): Promise<Lock> {
    await this.#objects.list(this.#out); // nothing is claimed where nothing is
    return claimPrefix(this.#objects, this.#out, undefined, this.#gone);
  }

  async place(name: string, bytes: Uint8Array): Promise<void> {
    const to = join(this.#out, name);
    await this.#objects.put(to, bytes, await this.#asItIs(to));
  }

  asides({ shards }: Plan): readonly Place[] {
    return shards.map(({ name }) => join(this.#aside, name));
  }

  async beginShard(plan: Plan, shard: number, sound: readonly number[]): Promise<void> {
    const layout = plan.shards[shard];
    if (layout === undefined) throw new Error(`the plan has no shard ${shard}`);
    const slot = join(this.#aside, layout.name);
    await this.#slots.discard(slot);
    await this.#slots.begin(slot, slotShapeOf(plan, layout), "copied");
    const damaged = join(this.#out, layout.name);
    const version = (await this.#objects.identity(damaged))?.version;
    if (version === undefined) return;
    await inParallel(sound, COPIES_AT_ONCE, async (index) => {
      const slice = plan.slices[index];
      if (slice !== undefined) await this.#slots.copyIn(slot, slice.offsetBytes, { place: damaged, version });
    });
  }

  async endShard({ shards }: Plan, shard: number, sliceSha256s: readonly (string | undefined)[]): Promise<void> {
    await this.#slots.close(join(this.#aside, shards[shard]?.name ?? ""), sliceSha256s);
  }

  async placeShard(name: string): Promise<void> {
    const to = join(this.#out, name);
    await this.#slots.place(join(this.#aside, name), to, await this.#asItIs(to));
  }

  async tidy(): Promise<void> {
    const isThere = (await this.#objects.identity(this.#aside)) !== undefined;
    const names = isThere ? await filesIn(this.#objects, this.#aside) : [];
    const places = names.map((name) => join(this.#aside, name));
    await abortUploads(this.#objects, this.#out, this.#aside, places);
    for (const place of places) {
      const slot = maybeSlotOf(place);
      await (slot === undefined ? this.#objects.remove(place) : this.#slots.discard(slot));
    }
  }

  async #asItIs(to: Place): Promise<PutCondition> {
    const there = await this.#objects.identity(to);
    return there === undefined ? { ifAbsent: true } : { ifVersion: there.version };
  }
}
