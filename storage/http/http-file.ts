import { StorageError } from "../errors.ts";
import { ifThere } from "../if-there.ts";
import type { Place } from "../place.ts";
import type { FileIdentity, Readable, Version } from "../port.ts";
import { noRangesError } from "./http-errors.ts";
import type { HttpBeginning, HttpRanges } from "./http-ranges.ts";
import type { HttpState, HttpTarget } from "./target.ts";

/** A file that is open: what it is is known, and its first bytes may be, which are not asked for again. */
export interface OpenedFile {
  readonly ranges: HttpRanges;
  readonly place: Place;
  /** With the state that was found. */
  readonly target: HttpTarget;
  readonly identity: FileIdentity;
  readonly first?: Uint8Array | undefined;
  /** False: there is nothing but `first`. */
  readonly hasRanges: boolean;
  /** Looks at all of it, where all of it was read at once. @throws StorageError */
  readonly checkWhole?: (bytes: Uint8Array) => void;
}

/** A file behind HTTP, whatever store has it. Nothing is held open but what was brought. */
export class HttpFile implements Readable {
  readonly #opened: OpenedFile;
  #isOpen = true;

  constructor(opened: OpenedFile) {
    this.#opened = opened;
  }

  get place(): Place {
    return this.#opened.place;
  }

  async identity(): Promise<FileIdentity> {
    this.#checkOpen("examine");
    return this.#opened.identity;
  }

  async read(offsetBytes: number, into: Uint8Array, memory?: "steady"): Promise<void> {
    this.#checkOpen("read");
    const { sizeBytes } = this.#opened.identity;
    if (offsetBytes + into.length > sizeBytes) {
      throw new StorageError(
        "storage/short-read",
        `cannot read ${this.place}: ${into.length} bytes from byte ${offsetBytes} on, and it has ${sizeBytes}`,
        { hint: "It is shorter than it should be." },
      );
    }
    await this.#fill(offsetBytes, into, memory);
    if (offsetBytes === 0 && into.length === sizeBytes) this.#opened.checkWhole?.(into);
  }

  async close(): Promise<void> {
    this.#isOpen = false;
  }

  async #fill(offsetBytes: number, into: Uint8Array, memory: "steady" | undefined): Promise<void> {
    const { ranges, target, first = new Uint8Array(), hasRanges } = this.#opened;
    const known = Math.max(0, Math.min(into.length, first.length - offsetBytes));
    if (known > 0) into.set(first.subarray(offsetBytes, offsetBytes + known));
    if (known === into.length) return;
    if (!hasRanges) throw noRangesError(target, "read", "the server gives the whole file (200 and not 206)");
    await ranges.read(target, offsetBytes + known, into.subarray(known), memory);
  }

  /** As for a file of this machine. */
  #checkOpen(action: string): void {
    if (this.#isOpen) return;
    throw new StorageError("storage/io", `cannot ${action} ${this.place}: it was closed before`, {
      hint: "This is a defect of the program: please report it.",
    });
  }
}

export function identityOf(state: HttpState): FileIdentity {
  return { kind: "file", sizeBytes: state.sizeBytes, version: versionOf(state) };
}

/** Of what the server tells: an ETag, else the time of the last change; of one that tells neither nothing but the size is known. */
function versionOf({ etag, lastModified, sizeBytes }: HttpState): Version {
  return etag ?? lastModified ?? `size ${sizeBytes}`;
}

/** What is known of a file by its identity, as `versionOf` made that; of a version of another kind its size alone. */
export function stateOf({ sizeBytes, version }: Pick<FileIdentity, "sizeBytes" | "version">): HttpState {
  if (/^(W\/)?"/.test(version)) return { sizeBytes, etag: version };
  return /^[A-Z][a-z]{2}, \d/.test(version) ? { sizeBytes, lastModified: version } : { sizeBytes };
}

/** Opens what a target is: one request, which brings the first `firstBytes` as well. */
export async function openHttpFile(ranges: HttpRanges, target: HttpTarget, firstBytes: number): Promise<HttpFile> {
  const { state, bytes, hasRanges } = await ranges.begin(target, firstBytes, "connection");
  const found = { ...target, state };
  return new HttpFile({
    ...{ ranges, place: target.place, target: found, identity: identityOf(state) },
    ...{ first: bytes, hasRanges },
  });
}

/** What a target is; undefined where nothing is there. */
export function maybeBeginning(ranges: HttpRanges, target: HttpTarget): Promise<HttpBeginning | undefined> {
  return ifThere(() => ranges.begin(target, 0));
}
