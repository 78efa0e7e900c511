import { sha256Hex } from "../checkpoint/index.ts";
import {
  isTaken,
  join,
  type Objects,
  type Place,
  type PutCondition,
  readWhole,
  UploadSlots,
} from "../storage/index.ts";
import { checkName, foreignFile, heraldsIn, isTheFile, stageMissing } from "./publish.ts";
import { isWeights, publishRank } from "./records/file-names.ts";
import type { OutputFile } from "./records/manifest.ts";

/** Documents are read whole on their way: a tokenizer has tens of megabytes. */
const DOCUMENT_BYTES_MAX = 1_000_000_000;

/**
 * Puts a checkpoint from the stage of a bucket to its place, in the order of `publishRank`. Each object is put in one step, and what must not
 * be replaced is not: its condition says so, in the store. What is staged stays until all is placed, so that the same call ends in the same
 * state after a crash at any moment.
 */
export class ObjectPublication {
  readonly #objects: Objects;
  readonly #slots: UploadSlots;
  readonly #out: Place;
  readonly #stage: Place;
  readonly #files: readonly OutputFile[];
  readonly #replaced: readonly string[];

  /** `files`, `replaced`: as of `publish`. */
  constructor(objects: Objects, out: Place, stage: Place, files: readonly OutputFile[], replaced: readonly string[]) {
    this.#objects = objects;
    this.#slots = new UploadSlots(objects);
    this.#out = out;
    this.#stage = stage;
    this.#files = files.toSorted((a, b) => publishRank(a.name) - publishRank(b.name));
    this.#replaced = replaced;
  }

  /** @throws PublishError `publish/stage-missing`, `publish/foreign-file`; StorageError */
  async run(): Promise<void> {
    for (const name of [...this.#files.map((file) => file.name), ...this.#replaced]) checkName(name);
    await this.#withdraw();
    for (const file of this.#files) await this.#place(file);
  }

  /** Takes the old checkpoint away: first what leads readers to it and says that it is whole, then what has no successor. */
  async #withdraw(): Promise<void> {
    const coming = new Set(this.#files.map((file) => file.name));
    const heralds = heraldsIn(this.#replaced);
    const others = this.#replaced.filter((name) => !coming.has(name) && !heralds.includes(name));
    for (const name of [...heralds, ...others]) {
      const at = join(this.#out, name);
      const there = await this.#objects.identity(at);
      if (there === undefined || (await this.#wasPlaced(name))) continue;
      // As it was seen: another one that came meanwhile is not removed.
      await this.#objects.remove(at, { ifVersion: there.version });
    }
  }

  /**
   * Whether an earlier call put a herald in its place: what it leads to was placed before it. An old one may be the same bytes (an index is, of
   * models of one shape), and leads to old shards.
   */
  async #wasPlaced(herald: string): Promise<boolean> {
    const count = this.#files.findIndex(({ name }) => name === herald) + 1;
    if (count === 0) return false;
    // From its end: what is placed last is missing first.
    for (const file of this.#files.slice(0, count).reverse()) if (!(await this.#isPlaced(file))) return false;
    return true;
  }

  async #place(file: OutputFile): Promise<void> {
    const to = join(this.#out, file.name);
    const there = await this.#objects.identity(to);
    if (there !== undefined && (await this.#isPlaced(file))) return;
    if (there !== undefined && !this.#replaced.includes(file.name)) throw foreignFile(to);
    const condition: PutCondition = there === undefined ? { ifAbsent: true } : { ifVersion: there.version };
    try {
      await this.#put(file, to, condition);
    } catch (error) {
      if (!isTaken(error)) throw error;
      // Whoever stands between us and the store may have asked it twice.
      if (await this.#isPlaced(file)) return;
      throw error.code === "storage/exists" ? foreignFile(to) : error;
    }
  }

  async #put({ name, sha256 }: OutputFile, to: Place, condition: PutCondition): Promise<void> {
    const staged = join(this.#stage, name);
    if ((await this.#objects.identity(staged)) === undefined) throw stageMissing(name, this.#stage, this.#out);
    if (isWeights(name)) return void (await this.#slots.place(staged, to, condition));
    const bytes = await readWhole(this.#objects, staged, DOCUMENT_BYTES_MAX);
    // Put there by somebody else, or damaged on its way to a store that does not look.
    if (sha256Hex(bytes) !== sha256) throw stageMissing(name, this.#stage, this.#out);
    await this.#objects.put(to, bytes, condition);
  }

  /** Whether what is at a file's place is the new one, which an earlier call put there. */
  async #isPlaced(file: OutputFile): Promise<boolean> {
    const to = join(this.#out, file.name);
    if (isWeights(file.name)) {
      const slot = join(this.#stage, file.name);
      const [staged, there] = [await this.#objects.identity(slot), await this.#objects.identity(to)];
      // Equal versions are the same bytes; of unequal ones those of a copy that ended may be, and are read where its store encrypts.
      if (staged !== undefined && staged.version === there?.version) return true;
      if (staged !== undefined && (await this.#slots.placing(slot)) !== "over") return false;
    }
    return isTheFile(this.#objects, to, file);
  }
}
