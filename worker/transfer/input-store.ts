import type { JobDescription } from "../../merge/work/index.ts";
import type { FileIdentity, Place, Readable, Source } from "../../storage/index.ts";
import { placeOfInput } from "../index.ts";
import { type Pieces, WindowCache } from "./window-cache.ts";

const KIB = 1024;
/** Smaller windows cost more calls than they save bytes. */
const WINDOW_MIN_BYTES = 64 * KIB;
/** Larger ones bring nothing: with two under way, a connection of 10 ms carries 800 MB/s. */
const WINDOW_MAX_BYTES = 4096 * KIB;
/** One is read, two are on their way. */
const WINDOWS_PER_FILE = 3;

/** A range of an input of a job. */
export interface InputRange {
  readonly input: number;
  readonly file: number;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

/** Inputs that another machine reads for this one. Their paths are those that `inputPath` makes. */
export class InputStore implements Pick<Source, "open"> {
  readonly #files: ReadonlyMap<string, JobDescription["inputs"][number]["files"][number]>;
  readonly #cache: WindowCache;

  /** `cacheBytes`: most memory for what is read ahead and kept. */
  constructor(description: JobDescription, cacheBytes: number, fetch: (range: InputRange) => Promise<Pieces>) {
    this.#files = new Map(description.inputs.flatMap(({ files }) => files.map((file) => [file.path, file])));
    const windowBytes = windowFor(cacheBytes, description.inputs.length);
    this.#cache = new WindowCache({
      windowBytes,
      capacityBytes: Math.max(cacheBytes, WINDOWS_PER_FILE * windowBytes),
      ahead: WINDOWS_PER_FILE - 1,
      fetch: (path, offsetBytes, sizeBytes) => fetch({ ...placeOfInput(path), offsetBytes, sizeBytes }),
    });
  }

  async open(place: Place): Promise<Readable> {
    const file = this.#files.get(place);
    if (file === undefined) throw new Error(`${place} is no input of the job`);
    // The coordinator opened the file, checks it, and refuses to read another.
    const identity: FileIdentity = { kind: "file", ...file };
    return {
      place,
      identity: async () => identity,
      read: (offsetBytes, into) => this.#cache.read(place, file.sizeBytes, offsetBytes, into),
      close: async () => {},
    };
  }
}

/** Every input is read in turns, so that all of them have windows at once. */
function windowFor(cacheBytes: number, inputs: number): number {
  const share = cacheBytes / (WINDOWS_PER_FILE * Math.max(1, inputs));
  let windowBytes = WINDOW_MAX_BYTES;
  while (windowBytes > share && windowBytes > WINDOW_MIN_BYTES) windowBytes /= 2;
  return windowBytes;
}
