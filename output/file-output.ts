import { type Plan, shardPreamble } from "../merge/work/index.ts";
import {
  type Files,
  fenced,
  join,
  type Lock,
  makeDurableDirectory,
  type Place,
  readWhole,
  writeWhole,
} from "../storage/index.ts";
import { stageDocuments } from "./documents/documents.ts";
import type { OutputDocument } from "./documents/output-document.ts";
import { checkOutputDirectory, type OutputClaim, type OutputState } from "./output-directory.ts";
import { checkOutputIsNoInput } from "./output-is-input.ts";
import type { NamedInput, Output } from "./port.ts";
import { publish } from "./publish.ts";
import {
  JOURNAL_PATH,
  LOCK_PATH,
  OWNER_BYTES_MAX,
  OWNER_NAME,
  STAGE_PATH,
  WORK_DIRECTORY,
} from "./records/file-names.ts";
import type { OutputFile } from "./records/manifest.ts";
import { type VerifyReport, verifyOutput } from "./repair/verify.ts";
import { type ByteRange, hashRanges } from "./seal/read-back.ts";

/** A folder: the stage lies in it, on its file system, and publishing is renaming. */
export class FileOutput implements Output {
  readonly place: Place;
  readonly journalFolder: Place;
  readonly #files: Files;
  readonly #stage: Place;

  /** `place`: the folder, by its whole path. */
  constructor(files: Files, place: Place) {
    this.#files = files;
    this.place = place;
    this.journalFolder = join(place, WORK_DIRECTORY);
    this.#stage = join(place, STAGE_PATH);
  }

  claim(claim: OutputClaim): Promise<OutputState> {
    return checkOutputDirectory(this.#files, this.place, claim);
  }

  checkIsNoInput(inputs: readonly NamedInput[]): Promise<void> {
    return checkOutputIsNoInput(this.#files, this.place, inputs);
  }

  async lock(owner?: string): Promise<Lock> {
    await this.#makeFolders();
    return this.#files.lock(join(this.place, LOCK_PATH), owner === undefined ? {} : { owner });
  }

  async staged(): Promise<{ readonly owner: string | undefined } | undefined> {
    if ((await this.#files.identity(this.#stage)) === undefined) return undefined;
    const path = join(this.#stage, OWNER_NAME);
    if ((await this.#files.identity(path)) === undefined) return { owner: undefined };
    return { owner: Buffer.from(await readWhole(this.#files, path, OWNER_BYTES_MAX)).toString() };
  }

  async makeAnew(journalToo: boolean): Promise<void> {
    await this.#makeFolders();
    if (journalToo) await this.#files.remove(join(this.place, JOURNAL_PATH));
    await this.discard();
  }

  async prepare(plan: Plan, owner?: string): Promise<readonly number[]> {
    await makeDurableDirectory(this.#files, this.#stage);
    const made = new Set<number>();
    for (const [index, shard] of plan.shards.entries()) {
      const path = join(this.#stage, shard.name);
      const there = await this.#files.identity(path);
      if (there?.sizeBytes !== shard.sizeBytes) made.add(index);
      const file = await this.#files.openForWriting(path);
      try {
        await file.write(0, shardPreamble(shard.header));
        if (there?.sizeBytes !== shard.sizeBytes) await file.truncate(shard.sizeBytes);
        await file.sync();
      } finally {
        await file.close();
      }
    }
    await this.#files.syncDirectory(this.#stage);
    if (owner !== undefined) await writeWhole(this.#files, join(this.#stage, OWNER_NAME), Buffer.from(owner));
    return [...plan.slices.keys()].filter((index) => made.has(plan.slices[index]?.shard ?? -1));
  }

  slots({ shards }: Plan): readonly Place[] {
    return shards.map(({ name }) => join(this.#stage, name));
  }

  /** A file is read as it is written. */
  async closeSlots(): Promise<void> {}

  readBack(slot: Place, ranges: readonly ByteRange[]): Promise<readonly string[]> {
    return hashRanges(this.#files, slot, ranges);
  }

  stage(documents: readonly OutputDocument[], by: string): Promise<void> {
    return stageDocuments(this.#files, this.#stage, documents, by);
  }

  async publish(files: readonly OutputFile[], replaced: readonly string[]): Promise<void> {
    await publish(this.#files, this.place, { stage: this.#stage, files, replaced });
    // Durably: once the job is said to be done nobody looks for what a power loss brought back.
    await this.discard();
  }

  async discard(): Promise<void> {
    await removeTree(this.#files, this.#stage);
    await this.#files.syncDirectory(this.journalFolder);
  }

  verify(): Promise<VerifyReport> {
    return verifyOutput(this.#files, this.place);
  }

  fenced(confirm: () => Promise<void>): Output {
    return new FileOutput(fenced(this.#files, confirm), this.place);
  }

  async #makeFolders(): Promise<void> {
    await makeDurableDirectory(this.#files, this.place);
    await makeDurableDirectory(this.#files, this.journalFolder);
  }
}

/** Removes a directory and all that is in it. Nothing there is no error. */
async function removeTree(store: Files, directory: Place): Promise<void> {
  if ((await store.identity(directory)) === undefined) return;
  for (const { name, kind } of await store.list(directory)) {
    const path = join(directory, name);
    if (kind === "directory") await removeTree(store, path);
    else await store.remove(path);
  }
  await store.removeDirectory(directory);
}
