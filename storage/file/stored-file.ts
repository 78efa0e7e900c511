import * as fs from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { errnoOf, StorageError, storageError } from "../errors.ts";
import type { Place } from "../place.ts";
import type { FileIdentity, StoredFile } from "../port.ts";
import { fileVersion } from "./file-version.ts";

const fstat = promisify(fs.fstat);
const read = promisify(fs.read);
const write = promisify(fs.write);
const ftruncate = promisify(fs.ftruncate);
const fdatasync = promisify(fs.fdatasync);
const close = promisify(fs.close);

/** node:fs cuts lengths to 31 bits, and Linux moves at most 2 GiB - 4 KiB a call. */
export const MAX_TRANSFER_BYTES = 2 ** 30;
/** EAGAIN and EINTR are tried again this often, a millisecond apart. */
const MAX_INTERRUPTIONS = 1000;

/** An open descriptor. `blocking`: reads and writes happen on the calling thread; `sync` never does. */
export class DescriptorFile implements StoredFile {
  readonly place: Place;
  readonly #descriptor: number;
  readonly #blocking: boolean;
  #closed = false;
  #syncFailure: StorageError | undefined;

  constructor(place: Place, descriptor: number, blocking: boolean) {
    this.place = place;
    this.#descriptor = descriptor;
    this.#blocking = blocking;
  }

  async identity(): Promise<FileIdentity> {
    return identityOf(await this.#attempt("examine", () => fstat(this.#descriptor, { bigint: true })));
  }

  async read(offsetBytes: number, into: Uint8Array): Promise<void> {
    if (this.#blocking && this.#readAtOnce(offsetBytes, into)) return;
    const descriptor = this.#descriptor;
    const done = await this.#transfer("read", into.length, offsetBytes, (from, length, position) =>
      this.#blocking
        ? fs.readSync(descriptor, into, from, length, position)
        : read(descriptor, into, from, length, position).then((result) => result.bytesRead),
    );
    if (done === into.length) return;
    throw new StorageError(
      "storage/short-read",
      `cannot read ${this.place}: the file ends at byte ${offsetBytes + done}, ` +
        `${into.length} bytes from byte ${offsetBytes} on were wanted`,
      { hint: "The file is shorter than it should be, or was cut meanwhile: check it, or get it again." },
    );
  }

  /** In one call, as nearly always; what it did not do is done, and told of, by others. */
  #readAtOnce(offsetBytes: number, into: Uint8Array): boolean {
    if (this.#closed || into.length > MAX_TRANSFER_BYTES) return false;
    try {
      return fs.readSync(this.#descriptor, into, 0, into.length, offsetBytes) === into.length;
    } catch {
      return false;
    }
  }

  async write(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    if (this.#syncFailure !== undefined) throw this.#syncFailure;
    const descriptor = this.#descriptor;
    const done = await this.#transfer("write", bytes.length, offsetBytes, (from, length, position) =>
      this.#blocking
        ? fs.writeSync(descriptor, bytes, from, length, position)
        : write(descriptor, bytes, from, length, position).then((result) => result.bytesWritten),
    );
    if (done === bytes.length) return;
    throw new StorageError(
      "storage/full",
      `cannot write ${this.place}: only ${done} of ${bytes.length} bytes at byte ${offsetBytes} were taken`,
      { hint: "Free some space and run the same command again." },
    );
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.#attempt("resize", () => ftruncate(this.#descriptor, sizeBytes));
  }

  async sync(): Promise<void> {
    // The kernel reports a failed write-back once and forgets it; a later success would be a lie.
    if (this.#syncFailure !== undefined) throw this.#syncFailure;
    try {
      await this.#attempt("sync", () => fdatasync(this.#descriptor));
    } catch (error) {
      this.#syncFailure = storageError(error, "sync", this.place);
      throw this.#syncFailure;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await close(this.#descriptor);
    } catch (cause) {
      throw storageError(cause, "close", this.place);
    }
  }

  /** Moves `length` bytes in as many calls as it takes; ends early where a call moves none. Returns the bytes moved. */
  async #transfer(
    action: string,
    length: number,
    offsetBytes: number,
    move: (from: number, length: number, position: number) => number | Promise<number>,
  ): Promise<number> {
    let done = 0;
    let interruptions = 0;
    while (done < length) {
      try {
        this.#checkOpen(action);
        const moved = move(done, Math.min(length - done, MAX_TRANSFER_BYTES), offsetBytes + done);
        const count = typeof moved === "number" ? moved : await moved;
        if (count === 0) break;
        done += count;
      } catch (cause) {
        const errno = errnoOf(cause);
        const interrupted = errno === "EAGAIN" || errno === "EINTR";
        if (!interrupted || ++interruptions > MAX_INTERRUPTIONS) throw storageError(cause, action, this.place);
        await delay(1);
      }
    }
    return done;
  }

  async #attempt<T>(action: string, call: () => Promise<T>): Promise<T> {
    this.#checkOpen(action);
    try {
      return await call();
    } catch (cause) {
      throw storageError(cause, action, this.place);
    }
  }

  /** The number of a closed descriptor may belong to another file by now. */
  #checkOpen(action: string): void {
    if (!this.#closed) return;
    throw new StorageError("storage/io", `cannot ${action} ${this.place}: it was closed before`, {
      hint: "This is a defect of the program: please report it.",
    });
  }
}

export function identityOf(stats: fs.BigIntStats): FileIdentity {
  return {
    kind: stats.isFile() ? "file" : stats.isDirectory() ? "directory" : "other",
    sizeBytes: Number(stats.size),
    version: fileVersion({ inode: stats.ino, mtimeNs: stats.mtimeNs }),
    inode: stats.ino,
  };
}
