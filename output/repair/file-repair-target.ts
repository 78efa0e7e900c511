import { type Plan, shardPreamble } from "../../merge/work/index.ts";
import { type Files, join, type Lock, type Place, parentOf, type Readable, writeWhole } from "../../storage/index.ts";
import { LOCK_PATH, REPAIR_DIRECTORY, WORK_DIRECTORY } from "../records/file-names.ts";
import { removeIfEmpty } from "../remove-if-empty.ts";
import { copyRange } from "../seal/read-back.ts";
import type { RepairTarget } from "./repair-target.ts";

/** A folder: files are made in its work directory, and renamed. */
export class FileRepairTarget implements RepairTarget {
  readonly takesParts = false;
  readonly source: Files;
  readonly #out: Place;
  readonly #aside: Place;

  constructor(files: Files, out: Place) {
    this.source = files;
    this.#out = out;
    this.#aside = join(out, REPAIR_DIRECTORY);
  }

  async begin(): Promise<Lock> {
    await this.source.list(this.#out); // no work directory is made where nothing is
    await this.source.makeDirectory(this.#aside);
    const lock = await this.source.lock(join(this.#out, LOCK_PATH));
    return {
      release: async () => {
        await lock.release();
        await removeIfEmpty(this.source, join(this.#out, WORK_DIRECTORY));
      },
    };
  }

  async place(name: string, bytes: Uint8Array): Promise<void> {
    const path = join(this.#aside, name);
    await this.source.makeDirectory(parentOf(path));
    await writeWhole(this.source, path, bytes);
    await this.placeShard(name);
  }

  asides({ shards }: Plan): readonly Place[] {
    return shards.map(({ name }) => join(this.#aside, name));
  }

  /** Header from the plan, sound slices from the damaged file, holes where slices will be computed. */
  async beginShard(plan: Plan, shard: number, sound: readonly number[]): Promise<void> {
    const layout = plan.shards[shard];
    if (layout === undefined) throw new Error(`the plan has no shard ${shard}`);
    await using(this.source.openForWriting(join(this.#aside, layout.name)), async (file) => {
      await file.truncate(0);
      await file.truncate(layout.sizeBytes);
      await file.write(0, shardPreamble(layout.header));
      if (sound.length === 0) return;
      await using(this.source.open(join(this.#out, layout.name)), async (damaged) => {
        for (const index of sound) {
          const slice = plan.slices[index];
          if (slice !== undefined) await copyRange(damaged, file, slice);
        }
      });
    });
  }

  async endShard({ shards }: Plan, shard: number): Promise<void> {
    await using(this.source.openForWriting(join(this.#aside, shards[shard]?.name ?? "")), (file) => file.sync());
  }

  async placeShard(name: string): Promise<void> {
    const to = join(this.#out, name);
    await this.source.makeDirectory(parentOf(to));
    await this.source.rename(join(this.#aside, name), to);
    await this.source.syncDirectory(parentOf(to));
  }

  tidy(): Promise<void> {
    return tidy(this.source, this.#aside);
  }
}

async function tidy(store: Files, directory: Place): Promise<void> {
  for (const { name, kind } of await store.list(directory)) {
    const path = join(directory, name);
    if (kind === "directory") await tidy(store, path);
    else await store.remove(path);
  }
  await store.removeDirectory(directory);
}

async function using<F extends Readable, T>(opened: Promise<F>, use: (file: F) => Promise<T>): Promise<T> {
  const file = await opened;
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}
