import { StorageError } from "../errors.ts";
import type { Place } from "../place.ts";
import type { FileIdentity, Readable, Version } from "../port.ts";
import { noRangesError } from "./http-errors.ts";
import type { HttpRanges } from "./http-ranges.ts";
import type { HttpState, HttpTarget } from "./target.ts";

/** A file that is open: its state is known, and its first bytes, which are not asked for again. */
export interface OpenedFile {
  readonly ranges: HttpRanges;
  readonly place: Place;
  /** With the state that was found. */
  readonly target: HttpTarget & { readonly state: HttpState };
  readonly first: Uint8Array;
  /** False: there is nothing but `first`. */
  readonly hasRanges: boolean;
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
    this.#check();
    return identityOf(this.#opened.target.state);
  }

  async read(offsetBytes: number, into: Uint8Array): Promise<void> {
    this.#check();
    const { ranges, place, target, first, hasRanges } = this.#opened;
    const { sizeBytes } = target.state;
    const end = offsetBytes + into.length;
    if (end > sizeBytes) {
      throw new StorageError(
        "storage/short-read",
        `cannot read ${place}: ${into.length} bytes from byte ${offsetBytes} on, and it has ${sizeBytes}`,
        { hint: "It is shorter than it should be." },
      );
    }
    const known = Math.max(0, Math.min(into.length, first.length - offsetBytes));
    if (known > 0) into.set(first.subarray(offsetBytes, offsetBytes + known));
    if (known === into.length) return;
    if (!hasRanges) throw noRangesError(target, "read", "the server gives the whole file (200 and not 206)");
    await ranges.read(target, offsetBytes + known, into.subarray(known));
  }

  async close(): Promise<void> {
    this.#isOpen = false;
  }

  #check(): void {
    if (this.#isOpen) return;
    throw new StorageError("storage/io", `cannot read ${this.place}: it was closed before`, {
      hint: "Please report it.",
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

/** Opens what a target is: one request, which brings the first `firstBytes` as well. */
export async function openHttpFile(ranges: HttpRanges, target: HttpTarget, firstBytes: number): Promise<HttpFile> {
  const { state, bytes, hasRanges } = await ranges.begin(target, firstBytes);
  return new HttpFile({ ranges, place: target.place, target: { ...target, state }, first: bytes, hasRanges });
}
