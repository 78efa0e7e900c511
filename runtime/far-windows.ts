import type { Extent } from "./wanted-extents.ts";

export const WINDOW_MAX_BYTES = 8 * 2 ** 20;
const WINDOW_MIN_BYTES = 2 ** 20;
/** Beyond the window that is read, of each extent. */
const AHEAD = 2;

/** Fills `into` from a file of an input, by one request. */
export type Fetch = (input: number, file: number, offsetBytes: number, into: Uint8Array) => Promise<void>;

interface Window {
  readonly key: string;
  readonly fromByte: number;
  /** As long as the window; the buffer behind it may be longer. */
  readonly bytes: Uint8Array;
  readonly ready: Promise<void>;
  isReady: boolean;
  /** Not wanted any more; its memory comes back once it is neither written to nor read from. */
  isForgotten: boolean;
  /** Read to its end: needed no more, but by a further round. */
  isDone: boolean;
  readers: number;
}

interface Track extends Extent {
  readonly key: string;
  readonly windowCount: number;
  /** The window behind the one that was read last. */
  next: number;
  /** Where the last read ended. */
  readTo: number;
}

/**
 * Inputs that are far, where each request costs tens of milliseconds: read in windows, of what an assignment needs and nothing else, some
 * ahead of who computes. Windows stay for the assignment's further rounds as far as there is room; where there is not, those go first that
 * were read to their end, longest ago. The memory is allocated once and used again.
 */
export class FarWindows {
  readonly #capacityBytes: number;
  readonly #fetch: Fetch;
  #windowBytes = WINDOW_MAX_BYTES;
  #tracks: readonly Track[] = [];
  #totalBytes = 0;
  /** In the order of their last use. */
  readonly #windows = new Map<string, Window>();
  /** Of what no assignment told of, the last window of each file. */
  readonly #loose = new Map<string, Window>();
  #free: ArrayBuffer[] = [];
  #usedBytes = 0;

  /** `capacityBytes`: of windows together; one for every file that is read at a time is taken in any case. */
  constructor(capacityBytes: number, fetch: Fetch) {
    this.#capacityBytes = capacityBytes;
    this.#fetch = fetch;
  }

  /** Of windows, on their way and unused ones included. */
  get heldBytes(): number {
    return this.#usedBytes + this.#free.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  /** What is read from now on, until it is said again; the first of it is asked for at once. Nothing may be being read. */
  expect(extents: readonly Extent[]): void {
    this.#windowBytes = windowFor(this.#capacityBytes, extents);
    this.#forgetAll();
    const windowBytes = this.#windowBytes;
    this.#tracks = extents.map((extent, k) => ({
      ...extent,
      key: `${k}`,
      windowCount: Math.ceil((extent.toByte - extent.fromByte) / windowBytes),
      next: 0,
      readTo: extent.fromByte,
    }));
    this.#totalBytes = extents.reduce((sum, { fromByte, toByte }) => sum + toByte - fromByte, 0);
    this.#fill(0);
  }

  async read(input: number, file: number, fileBytes: number, offsetBytes: number, into: Uint8Array): Promise<void> {
    const end = offsetBytes + into.length;
    const at = this.#tracks.findIndex(
      (track) => track.input === input && track.file === file && track.fromByte <= offsetBytes && end <= track.toByte,
    );
    const track = this.#tracks[at];
    if (track === undefined) return this.#readLoose(input, file, fileBytes, offsetBytes, into);
    // A sample here and there of what will not be kept is not worth its window.
    const isSequel = offsetBytes === track.readTo || offsetBytes === track.fromByte;
    if (!isSequel && this.#totalBytes > this.#capacityBytes && !this.#isHeld(track, offsetBytes))
      return this.#fetch(input, file, offsetBytes, into);
    for (let done = 0; done < into.length; ) {
      const index = Math.floor((offsetBytes + done - track.fromByte) / this.#windowBytes);
      const window = this.#windowOf(track, index);
      if (track.next !== index + 1) {
        track.next = index + 1;
        this.#fill(at);
      }
      done += await this.#copy(window, offsetBytes + done, into.subarray(done));
    }
    track.readTo = end;
  }

  /** Gives all memory back. Nothing may be being read. */
  close(): void {
    this.#tracks = [];
    this.#forgetAll();
    this.#free = [];
  }

  /** What a window has of the bytes from `offsetBytes` on; returns how many. */
  async #copy(window: Window, offsetBytes: number, into: Uint8Array): Promise<number> {
    window.readers++;
    try {
      if (!window.isReady) await window.ready;
      const from = offsetBytes - window.fromByte;
      const count = Math.min(into.length, window.bytes.length - from);
      into.set(window.bytes.subarray(from, from + count));
      if (from + count === window.bytes.length) window.isDone = true;
      return count;
    } finally {
      window.readers--;
      if (window.isForgotten && window.isReady && window.readers === 0) this.#giveBack(window);
    }
  }

  #isHeld(track: Track, offsetBytes: number): boolean {
    return this.#windows.has(keyOf(track, Math.floor((offsetBytes - track.fromByte) / this.#windowBytes)));
  }

  #windowOf(track: Track, index: number): Window {
    const known = this.#windows.get(keyOf(track, index));
    if (known === undefined) {
      this.#makeRoom(this.#windowBytes);
      return this.#begin(track, index);
    }
    this.#windows.delete(known.key);
    this.#windows.set(known.key, known);
    return known;
  }

  /** Asks for what comes next: of the extent that is read, then of the others in their order, as far as there is room. */
  #fill(current: number): void {
    const order = [...this.#tracks.slice(current), ...this.#tracks.slice(0, current)];
    for (let depth = 0; depth < AHEAD; depth++) {
      for (const track of order) {
        const index = track.next + depth;
        if (index >= track.windowCount || this.#windows.has(keyOf(track, index))) continue;
        if (!this.#makeRoom(this.#windowBytes)) return;
        this.#begin(track, index);
      }
    }
  }

  #begin(track: Track, index: number): Window {
    const fromByte = track.fromByte + index * this.#windowBytes;
    const sizeBytes = Math.min(this.#windowBytes, track.toByte - fromByte);
    return this.#fetched(this.#windows, keyOf(track, index), track.input, track.file, fromByte, sizeBytes);
  }

  /** What fails is forgotten: who waits for it is told, and whoever comes next asks anew. */
  #fetched(
    windows: Map<string, Window>,
    key: string,
    input: number,
    file: number,
    fromByte: number,
    sizeBytes: number,
  ): Window {
    const bytes = new Uint8Array(this.#take(), 0, sizeBytes);
    const ready = this.#fetch(input, file, fromByte, bytes);
    const window: Window = {
      key,
      fromByte,
      bytes,
      ready,
      isReady: false,
      isForgotten: false,
      isDone: false,
      readers: 0,
    };
    windows.set(key, window);
    ready.then(
      () => {
        window.isReady = true;
        if (window.isForgotten && window.readers === 0) this.#giveBack(window);
      },
      () => {
        if (windows.get(key) === window) windows.delete(key);
        this.#giveBack(window);
      },
    );
    return window;
  }

  /** Gathered rows, and factors: mostly one piece after the other all the same. */
  async #readLoose(
    input: number,
    file: number,
    fileBytes: number,
    offsetBytes: number,
    into: Uint8Array,
  ): Promise<void> {
    if (into.length >= WINDOW_MIN_BYTES) return this.#fetch(input, file, offsetBytes, into);
    const key = `${input}/${file}`;
    const known = this.#loose.get(key);
    const isIn = (window: Window) =>
      window.fromByte <= offsetBytes && offsetBytes + into.length <= window.fromByte + window.bytes.length;
    if (known !== undefined && isIn(known)) {
      await this.#copy(known, offsetBytes, into);
      return;
    }
    if (known !== undefined) this.#forget(this.#loose, known);
    this.#makeRoom(this.#windowBytes);
    const sizeBytes = Math.min(WINDOW_MIN_BYTES, this.#windowBytes, fileBytes - offsetBytes);
    if (sizeBytes < into.length) return this.#fetch(input, file, offsetBytes, into);
    await this.#copy(this.#fetched(this.#loose, key, input, file, offsetBytes, sizeBytes), offsetBytes, into);
  }

  /** Whether so many bytes more stay within what is allowed, once what was read to its end has gone. */
  #makeRoom(sizeBytes: number): boolean {
    for (const window of this.#windows.values()) {
      if (this.#usedBytes + sizeBytes <= this.#capacityBytes) return true;
      if (window.isDone && window.readers === 0) this.#forget(this.#windows, window);
    }
    return this.#usedBytes + sizeBytes <= this.#capacityBytes;
  }

  #forgetAll(): void {
    for (const windows of [this.#windows, this.#loose])
      for (const window of [...windows.values()]) this.#forget(windows, window);
    this.#free = this.#free.filter(({ byteLength }) => byteLength === this.#windowBytes);
  }

  #forget(windows: Map<string, Window>, window: Window): void {
    windows.delete(window.key);
    window.isForgotten = true;
    if (window.isReady && window.readers === 0) this.#giveBack(window);
  }

  #take(): ArrayBuffer {
    this.#usedBytes += this.#windowBytes;
    return this.#free.pop() ?? new ArrayBuffer(this.#windowBytes);
  }

  #giveBack({ bytes }: Window): void {
    const { buffer } = bytes;
    this.#usedBytes -= buffer.byteLength;
    if (buffer.byteLength === this.#windowBytes) this.#free.push(buffer as ArrayBuffer);
  }
}

function keyOf(track: Track, index: number): string {
  return `${track.key}@${index}`;
}

/** Every extent is read in turns, so that all have what is read and what is ahead at once; none is longer than the longest of them. */
function windowFor(capacityBytes: number, extents: readonly Extent[]): number {
  const share = capacityBytes / ((1 + AHEAD) * Math.max(1, extents.length));
  const longest = extents.reduce((most, { fromByte, toByte }) => Math.max(most, toByte - fromByte), 0);
  let windowBytes = WINDOW_MAX_BYTES;
  while (windowBytes > WINDOW_MIN_BYTES && (windowBytes > share || windowBytes / 2 >= longest)) windowBytes /= 2;
  return windowBytes;
}
