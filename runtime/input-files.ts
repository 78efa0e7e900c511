import { checkSameState, type InputFile, type JobDescription } from "../merge/work/index.ts";
import { type Readable, type Source, schemeOf } from "../storage/index.ts";
import { FarWindows } from "./far-windows.ts";
import type { RangeCache } from "./range-cache.ts";
import type { Extent } from "./wanted-extents.ts";

/** Told of every read; a promise is waited for before the next one. */
export type Moved = (bytes: number) => Promise<void> | undefined;

/** While one request is under way, so often it is shown that the thread lives. */
const SIGN_OF_LIFE_MS = 5_000;

/** A file of an input. */
interface File {
  readonly input: number;
  readonly description: InputFile;
  readonly isFar: boolean;
  /** While it is open. */
  stored: Readable | undefined;
  opening: Promise<Readable> | undefined;
  /** Reads that are under way: it is not closed meanwhile. */
  readers: number;
  /** Read since `checkUnchanged`. */
  isTouched: boolean;
}

/** The input files of a job, opened when first read and held to the state that the plan was made for. */
export class InputFiles {
  readonly #store: Pick<Source, "open">;
  readonly #job: JobDescription;
  readonly #moved: Moved;
  readonly #files: readonly (readonly File[])[];
  #openMax: number;
  /** In the order in which they were opened. */
  readonly #open = new Set<File>();
  #readers = 0;
  /** Called when no read is under way. */
  #idle: (() => void)[] = [];
  readonly #far: FarWindows;
  bytesRead = 0;

  /**
   * `openMax`: most files that are open at once; hundreds of models in shards would exhaust the process's descriptors. `farBytes`: memory
   * for windows of files that are not on this machine. `cache`: where bytes of these are looked for first.
   */
  constructor(
    store: Pick<Source, "open">,
    job: JobDescription,
    openMax: number,
    moved: Moved = () => undefined,
    farBytes = 0,
    cache?: RangeCache,
  ) {
    this.#store = store;
    this.#job = job;
    this.#openMax = openMax;
    this.#moved = moved;
    this.#files = job.inputs.map(({ files }, input) => files.map((description) => fileOf(input, description)));
    this.#far = new FarWindows(farBytes, (input, file, ...range) =>
      cache === undefined
        ? this.#fetch(this.#file(input, file), ...range)
        : this.#fetchBy(cache, input, file, ...range),
    );
  }

  /** Whether any input of a job is in a store that is far: each read of it is a request. */
  static areFar({ inputs }: JobDescription): boolean {
    return inputs.some(({ files }) => files.some(isFar));
  }

  /**
   * What the parts of the next assignment read, one after the other, as far as it is known: of files that are far nothing else is read ahead.
   * Between assignments only.
   */
  expect(parts: readonly (readonly Extent[])[]): void {
    const isWanted = ({ input, file }: Extent) => this.#file(input, file).isFar;
    this.#far.expect(parts.map((extents) => extents.filter(isWanted)).filter(({ length }) => length > 0));
  }

  /** What is read next, each extent by itself: of files that are far it is asked for at once. */
  foresee(extents: readonly Extent[]): void {
    this.#far.foresee(extents.filter(({ input, file }) => this.#file(input, file).isFar));
  }

  /** From now on no more than `openMax` files are open: another job needs some too. Between assignments only. */
  async limit(openMax: number): Promise<void> {
    this.#openMax = openMax;
    await this.#untilIdle();
    for (const file of [...this.#open].slice(openMax)) await this.#close(file);
  }

  label(input: number): string {
    return this.#job.inputs[input]?.label ?? `input ${input}`;
  }

  /** Fills `into` from a file of an input. @throws MergeError merge/input-changed; StorageError */
  async read(input: number, fileIndex: number, offsetBytes: number, into: Uint8Array): Promise<void> {
    const file = this.#file(input, fileIndex);
    this.#begins(file);
    try {
      await (file.isFar
        ? this.#far.read(input, fileIndex, file.description.sizeBytes, offsetBytes, into)
        : this.#readStored(file, offsetBytes, into));
      this.bytesRead += into.length;
    } finally {
      this.#ends(file);
    }
    const moved = this.#moved(into.length);
    if (moved !== undefined) await moved;
  }

  /** After the last read of an assignment: every file it read is still what it was. */
  async checkUnchanged(): Promise<void> {
    for (const file of this.#open) {
      if (file.isTouched && file.stored !== undefined) await this.#check(file, file.stored);
      file.isTouched = false;
    }
  }

  async close(): Promise<void> {
    await this.#untilIdle();
    this.#far.close();
    for (const file of this.#open) await this.#close(file);
  }

  /** What the cache has; of the rest one request each, and into the cache. */
  async #fetchBy(
    cache: RangeCache,
    input: number,
    fileIndex: number,
    offsetBytes: number,
    into: Uint8Array,
    memory?: "steady",
  ): Promise<void> {
    const file = this.#file(input, fileIndex);
    const wanted = { input, file: fileIndex, fromByte: offsetBytes, toByte: offsetBytes + into.length };
    const settled = await Promise.allSettled(
      cache.piecesOf(wanted).map(async ({ fromByte, toByte, stretch }) => {
        const part = into.subarray(fromByte - offsetBytes, toByte - offsetBytes);
        if (stretch !== undefined && (await cache.read(stretch, fromByte, part))) return;
        await this.#fetch(file, fromByte, part, memory);
        if (stretch !== undefined) await cache.put(stretch, fromByte, part);
      }),
    );
    // Nothing may be written to `into` any more once one has failed.
    for (const each of settled) if (each.status === "rejected") throw each.reason;
  }

  /** One request to a store that is far. */
  async #fetch(file: File, ...range: Parameters<Readable["read"]>): Promise<void> {
    this.#begins(file);
    // What that throws, the next read says as well.
    const signs = setInterval(() => void this.#moved(0)?.catch(() => undefined), SIGN_OF_LIFE_MS);
    try {
      await this.#readStored(file, ...range);
    } finally {
      clearInterval(signs);
      this.#ends(file);
    }
  }

  #readStored(file: File, ...range: Parameters<Readable["read"]>): Promise<void> {
    file.isTouched = true;
    if (file.stored !== undefined) return file.stored.read(...range);
    return this.#opened(file).then((stored) => stored.read(...range));
  }

  /** Of two reads that find the file closed one opens it. */
  #opened(file: File): Promise<Readable> {
    file.opening ??= this.#openOne(file).finally(() => {
      file.opening = undefined;
    });
    return file.opening;
  }

  async #openOne(file: File): Promise<Readable> {
    await this.#makeRoom();
    const stored = await this.#store.open(file.description.path);
    file.stored = stored;
    file.isTouched = true;
    this.#open.add(file);
    await this.#check(file, stored);
    return stored;
  }

  /** Models come round and round: of more files than may be open, the newest is the one that is needed again last. */
  async #makeRoom(): Promise<void> {
    if (this.#open.size < this.#openMax) return;
    const newest = [...this.#open].findLast(({ readers }) => readers === 0);
    if (newest?.stored === undefined) return;
    if (newest.isTouched) await this.#check(newest, newest.stored);
    if (newest.readers === 0) await this.#close(newest);
  }

  async #close(file: File): Promise<void> {
    const { stored } = file;
    file.stored = undefined;
    file.isTouched = false;
    this.#open.delete(file);
    await stored?.close();
  }

  async #check({ input, description }: File, stored: Readable): Promise<void> {
    checkSameState(this.label(input), description, await stored.identity());
  }

  #begins(file: File): void {
    file.readers++;
    this.#readers++;
  }

  #ends(file: File): void {
    file.readers--;
    this.#readers--;
    if (this.#readers > 0) return;
    for (const done of this.#idle.splice(0)) done();
  }

  async #untilIdle(): Promise<void> {
    if (this.#readers > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #file(input: number, file: number): File {
    const found = this.#files[input]?.[file];
    if (found === undefined) throw new Error(`the job has no file ${file} of input ${input}`);
    return found;
  }
}

function fileOf(input: number, description: InputFile): File {
  const closed = { stored: undefined, opening: undefined, readers: 0, isTouched: false };
  return { input, description, isFar: isFar(description), ...closed };
}

/** Schemes of what is read as it is asked for: files, and what the coordinator reads for this machine, which has windows of its own. */
const NEAR: ReadonlySet<string> = new Set(["file", "input"]);

/** Whether each read of it is a request. */
export function isFar({ path }: Pick<InputFile, "path">): boolean {
  return !NEAR.has(schemeOf(path));
}
