import { checkSameState, type JobDescription } from "../../merge/work/index.ts";
import type { Readable, Source } from "../../storage/index.ts";
import { chunksOf, malformed } from "../../wire/index.ts";

/** Input files of one job that are open at once; hundreds of models in shards would exhaust the process's descriptors. */
const OPEN_MAX = 64;

interface Outlet {
  readonly file: Promise<Readable>;
  readers: number;
}

/** The input files of a job, for workers that cannot see them: opened when first asked for, held to the state that the plan was made for. */
export class InputOutlet {
  readonly #store: Source;
  readonly #inputs: JobDescription["inputs"];
  /** In the order of their last use. */
  readonly #open = new Map<string, Outlet>();

  constructor(store: Source, inputs: JobDescription["inputs"]) {
    this.#store = store;
    this.#inputs = inputs;
  }

  /** The bytes of a range, chunk by chunk. @throws WireError `wire/malformed`; MergeError merge/input-changed; StorageError */
  async *read(input: number, file: number, offsetBytes: number, sizeBytes: number): AsyncGenerator<Buffer> {
    const described = this.#inputs[input]?.files[file];
    if (described === undefined) throw malformed(`file ${file} of input ${input}, which the plan does not have`);
    if (offsetBytes + sizeBytes > described.sizeBytes) {
      throw malformed(`a range that ends at byte ${offsetBytes + sizeBytes} of ${described.sizeBytes}`);
    }
    const outlet = await this.#acquire(input, file);
    try {
      const stored = await outlet.file;
      for (const chunk of chunksOf(offsetBytes, sizeBytes)) {
        const bytes = Buffer.allocUnsafeSlow(chunk.sizeBytes);
        await stored.read(chunk.offsetBytes, bytes);
        yield bytes;
      }
      checkSameState(this.#inputs[input]?.label ?? "", described, await stored.identity());
    } finally {
      outlet.readers--;
    }
  }

  async close(): Promise<void> {
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const { file } of open) await file.then((stored) => stored.close()).catch(() => undefined);
  }

  async #acquire(input: number, file: number): Promise<Outlet> {
    const key = `${input}/${file}`;
    const known = this.#open.get(key) ?? { file: this.#opened(input, file), readers: 0 };
    known.readers++;
    this.#open.delete(key);
    this.#open.set(key, known);
    known.file.catch(() => this.#open.delete(key));
    for (const [oldKey, old] of this.#open) {
      if (this.#open.size <= OPEN_MAX) break;
      if (old.readers > 0) continue;
      this.#open.delete(oldKey);
      await old.file.then((stored) => stored.close()).catch(() => undefined);
    }
    return known;
  }

  async #opened(input: number, file: number): Promise<Readable> {
    const described = this.#inputs[input]?.files[file];
    if (described === undefined) throw new Error(`there is no file ${file} of input ${input}`);
    const stored = await this.#store.open(described.path);
    try {
      checkSameState(this.#inputs[input]?.label ?? "", described, await stored.identity());
      return stored;
    } catch (error) {
      await stored.close();
      throw error;
    }
  }
}
