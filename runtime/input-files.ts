import { checkSameState, type InputFile, type JobDescription } from "../merge/work/index.ts";
import { type Readable, type Source, schemeOf } from "../storage/index.ts";
import { FarWindows } from "./far-windows.ts";
import type { Extent } from "./wanted-extents.ts";

/** Told of every read; a promise is waited for before the next one. */
export type Moved = (bytes: number) => Promise<void> | undefined;

/** While one request is under way, so often it is shown that the thread lives. */
const SIGN_OF_LIFE_MS = 5_000;

/** The input files of a job, opened when first read and held to the state that the plan was made for. */
export class InputFiles {
  readonly #store: Pick<Source, "open">;
  readonly #job: JobDescription;
  readonly #moved: Moved;
  #openMax: number;
  /** In the order in which they were opened. */
  readonly #open = new Map<string, Readable>();
  /** Reads that are under way, and of which file: it is not closed meanwhile. */
  readonly #reading = new Map<Promise<void>, string>();
  readonly #opening = new Map<string, Promise<Readable>>();
  readonly #touched = new Map<string, { readonly input: number; readonly file: number }>();
  readonly #far: FarWindows;
  bytesRead = 0;

  /**
   * `openMax`: most files that are open at once; hundreds of models in shards would exhaust the process's descriptors. `farBytes`: memory
   * for windows of files that are not on this machine.
   */
  constructor(
    store: Pick<Source, "open">,
    job: JobDescription,
    openMax: number,
    moved: Moved = () => undefined,
    farBytes = 0,
  ) {
    this.#store = store;
    this.#job = job;
    this.#openMax = openMax;
    this.#moved = moved;
    this.#far = new FarWindows(farBytes, (input, file, offsetBytes, into) =>
      this.#fetch(input, file, offsetBytes, into),
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
    const isWanted = ({ input, file }: Extent) => isFar(this.#description(input, file));
    this.#far.expect(parts.map((extents) => extents.filter(isWanted)).filter(({ length }) => length > 0));
  }

  /** From now on no more than `openMax` files are open: another job needs some too. Between assignments only. */
  async limit(openMax: number): Promise<void> {
    this.#openMax = openMax;
    await Promise.allSettled(this.#reading.keys());
    for (const [key, stored] of [...this.#open].slice(openMax)) {
      this.#open.delete(key);
      await stored.close();
    }
  }

  label(input: number): string {
    return this.#job.inputs[input]?.label ?? `input ${input}`;
  }

  /** Fills `into` from a file of an input. @throws MergeError merge/input-changed; StorageError */
  async read(input: number, file: number, offsetBytes: number, into: Uint8Array): Promise<void> {
    const read = this.#read(`${input}/${file}`, input, file, offsetBytes, into);
    this.#reading.set(read, `${input}/${file}`);
    try {
      await read;
    } finally {
      this.#reading.delete(read);
    }
    await this.#moved(into.length);
  }

  /** After the last read of an assignment: every file it read is still what it was. */
  async checkUnchanged(): Promise<void> {
    for (const [key, { input, file }] of this.#touched) {
      const stored = this.#open.get(key);
      if (stored !== undefined) await this.#check(stored, input, file);
    }
    this.#touched.clear();
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#reading.keys());
    this.#far.close();
    for (const file of this.#open.values()) await file.close();
    this.#open.clear();
  }

  async #read(key: string, input: number, file: number, offsetBytes: number, into: Uint8Array): Promise<void> {
    const description = this.#description(input, file);
    if (isFar(description)) {
      await this.#far.read(input, file, description.sizeBytes, offsetBytes, into);
      this.bytesRead += into.length;
      return;
    }
    const stored = await this.#openedFor(key, input, file);
    this.bytesRead += into.length;
    await stored.read(offsetBytes, into);
  }

  /** One request to a store that is far. */
  async #fetch(input: number, file: number, offsetBytes: number, into: Uint8Array): Promise<void> {
    const key = `${input}/${file}`;
    const fetch = this.#openedFor(key, input, file).then((stored) => stored.read(offsetBytes, into));
    this.#reading.set(fetch, key);
    // What that throws, the next read says as well.
    const signs = setInterval(() => void this.#moved(0)?.catch(() => undefined), SIGN_OF_LIFE_MS);
    try {
      await fetch;
    } finally {
      clearInterval(signs);
      this.#reading.delete(fetch);
    }
  }

  async #openedFor(key: string, input: number, file: number): Promise<Readable> {
    const known = this.#open.get(key);
    if (known !== undefined && !this.#touched.has(key)) this.#touched.set(key, { input, file });
    return known ?? this.#openedOnce(key, input, file);
  }

  /** Of two reads that find the file closed one opens it. */
  async #openedOnce(key: string, input: number, file: number): Promise<Readable> {
    const opening = this.#opening.get(key) ?? this.#opened(key, input, file);
    this.#opening.set(key, opening);
    return opening.finally(() => this.#opening.delete(key));
  }

  async #opened(key: string, input: number, file: number): Promise<Readable> {
    await this.#makeRoom();
    const stored = await this.#store.open(this.#description(input, file).path);
    this.#open.set(key, stored);
    this.#touched.set(key, { input, file });
    await this.#check(stored, input, file);
    return stored;
  }

  /** Models come round and round: of more files than may be open, the newest is the one that is needed again last. */
  async #makeRoom(): Promise<void> {
    const read = new Set(this.#reading.values());
    const newest = [...this.#open].findLast(([key]) => !read.has(key));
    if (this.#open.size < this.#openMax || newest === undefined) return;
    const [key, stored] = newest;
    const touched = this.#touched.get(key);
    if (touched !== undefined) await this.#check(stored, touched.input, touched.file);
    this.#touched.delete(key);
    this.#open.delete(key);
    await stored.close();
  }

  async #check(stored: Readable, input: number, file: number): Promise<void> {
    const expected = this.#description(input, file);
    checkSameState(this.label(input), expected, await stored.identity());
  }

  #description(input: number, file: number): InputFile {
    const description = this.#job.inputs[input]?.files[file];
    if (description === undefined) throw new Error(`the job has no file ${file} of input ${input}`);
    return description;
  }
}

/** Schemes of what is read as it is asked for: files, and what the coordinator reads for this machine, which has windows of its own. */
const NEAR: ReadonlySet<string> = new Set(["file", "input"]);

/** Whether each read of it is a request. */
export function isFar({ path }: Pick<InputFile, "path">): boolean {
  return !NEAR.has(schemeOf(path));
}
