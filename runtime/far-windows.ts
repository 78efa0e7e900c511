import { type Extent, keyOfExtent } from "./wanted-extents.ts";
import { layOutWindows, WINDOW_GOOD_BYTES, windowCount } from "./window-layout.ts";
import { WindowMemory } from "./window-memory.ts";

/** Beyond the window that is read, of each extent. */
const AHEAD = 2;
/** Memory for pieces that are foreseen, beside windows: a share of theirs. */
const PIECES_SHARE = 1 / 64;
const PIECES_MAX_BYTES = 2 * 2 ** 20;

/** Fills `into` from a file of an input, by one request. `memory`: as of `Readable.read`. */
export type Fetch = (
  input: number,
  file: number,
  offsetBytes: number,
  into: Uint8Array,
  memory?: "steady",
) => Promise<void>;

interface Window {
  readonly key: string;
  /** Undefined of what no assignment told of. */
  readonly track: Track | undefined;
  /** Asked for, and not read yet. */
  isAhead: boolean;
  readonly fromByte: number;
  /** As long as the window; the room that it has may be longer. */
  readonly bytes: Uint8Array;
  readonly room: Uint8Array;
  readonly ready: Promise<void>;
  isReady: boolean;
  /** Not wanted any more; its memory comes back once it is neither written to nor read from. */
  isForgotten: boolean;
  /** Read to its end: needed no more, but by a further round. */
  isDone: boolean;
  readers: number;
}

interface Piece extends Extent {
  bytes: Uint8Array | undefined;
  ready: Promise<void> | undefined;
}

/** See `WindowGroup`. */
interface Group {
  readonly number: number;
  readonly isKept: boolean;
  readonly windowCount: number;
  readonly tracks: Track[];
}

interface Track extends Extent {
  readonly key: string;
  readonly group: Group;
  readonly windowCount: number;
  /** The window behind the one that was read last. */
  next: number;
  /** Windows that were asked for and are not read yet. */
  ahead: number;
  /** Where the last read ended. */
  readTo: number;
}

/**
 * Inputs that are far, where each request costs tens of milliseconds: read in windows, of what an assignment needs and nothing else, some
 * ahead of who computes. Where all that a tensor is made of has room, windows stay for its further rounds; where it has not, those go that
 * were read to their end, longest ago, and each round reads anew (`layOutWindows`). What finds no room at all is read as it is asked for.
 * The memory is allocated once and used again.
 */
export class FarWindows {
  readonly #capacityBytes: number;
  readonly #fetch: Fetch;
  #windowBytes = WINDOW_GOOD_BYTES;
  #groups: readonly Group[] = [];
  /** The one that is read. */
  #current = 0;
  /** In the order of their last use. */
  readonly #windows = new Map<string, Window>();
  /** Of what no assignment told of, the last window of each file. */
  readonly #loose = new Map<string, Window>();
  readonly #memory: WindowMemory;
  /** Room of windows, on their way ones included. */
  #usedBytes = 0;

  /** Pieces that are foreseen, in their order; those without bytes are not asked for yet. */
  readonly #pieces = new Map<string, Piece>();
  #piecesBytes = 0;

  /** `capacityBytes`: of windows together, never exceeded. */
  constructor(capacityBytes: number, fetch: Fetch) {
    this.#capacityBytes = capacityBytes;
    this.#fetch = fetch;
    this.#memory = new WindowMemory(capacityBytes);
  }

  /** Of windows, on their way and unused ones included. */
  get heldBytes(): number {
    return this.#memory.heldBytes;
  }

  /**
   * What is read from now on, until it is said again, of parts that are read one after the other; the first of it is asked for at once.
   * Nothing may be being read.
   */
  expect(parts: readonly (readonly Extent[])[]): void {
    const { windowBytes, groups } = layOutWindows(this.#capacityBytes, parts);
    this.#windowBytes = windowBytes;
    this.#forgetAll();
    this.#current = 0;
    this.#groups = groups.map(({ extents, isKept }, number) => {
      const group: Group = { number, isKept, windowCount: this.#countOf(extents), tracks: [] };
      for (const [k, extent] of extents.entries())
        group.tracks.push({
          ...{ ...extent, key: `${number}/${k}`, group, windowCount: this.#countOf([extent]) },
          ...{ next: 0, ahead: 0, readTo: extent.fromByte },
        });
      return group;
    });
    const [first] = this.#groups[0]?.tracks ?? [];
    if (first !== undefined) this.#fill(first);
  }

  /**
   * What is read next, each extent by itself and all of it at once, here and there of what has no room as a whole: asked for now, as many at
   * once as there are connections. What windows hold, or will hold, is found there.
   */
  foresee(extents: readonly Extent[]): void {
    for (const extent of extents) {
      const track = this.#trackOf(extent.input, extent.file, extent.fromByte, extent.toByte);
      const isFound = track === undefined || track.group.isKept || this.#isHeld(track, extent.fromByte, extent.toByte);
      if (!isFound && this.#windowBytes > 0)
        this.#pieces.set(keyOfExtent(extent), { ...extent, bytes: undefined, ready: undefined });
    }
    this.#askForPieces();
  }

  async read(input: number, file: number, fileBytes: number, offsetBytes: number, into: Uint8Array): Promise<void> {
    const end = offsetBytes + into.length;
    const windowBytes = this.#windowBytes;
    const track = this.#trackOf(input, file, offsetBytes, end);
    if (track === undefined) return this.#readLoose(input, file, fileBytes, offsetBytes, into);
    this.#enter(track.group);
    if (windowBytes === 0) return this.#fetch(input, file, offsetBytes, into);
    if (this.#pieces.size > 0 && (await this.#readPiece({ input, file, fromByte: offsetBytes, toByte: end }, into)))
      return;
    // A sample here and there of what will not be kept is not worth its window.
    const isSequel = offsetBytes === track.readTo || offsetBytes === track.fromByte;
    if (!isSequel && !track.group.isKept && !this.#isHeld(track, offsetBytes, end))
      return this.#fetch(input, file, offsetBytes, into);
    if (offsetBytes === track.fromByte && track.readTo === track.toByte) beginRound(track.group);
    for (let done = 0; done < into.length; ) {
      const index = Math.floor((offsetBytes + done - track.fromByte) / windowBytes);
      const window = this.#windowOf(track, index);
      if (track.next !== index + 1) {
        track.next = index + 1;
        this.#fill(track);
      }
      if (window === undefined) {
        const behind = track.fromByte + (index + 1) * windowBytes;
        const part = into.subarray(done, behind - offsetBytes);
        await this.#fetch(input, file, offsetBytes + done, part);
        done += part.length;
      } else done += await this.#copy(window, offsetBytes + done, into.subarray(done));
    }
    track.readTo = end;
  }

  /** Gives all memory back. Nothing may be being read. */
  close(): void {
    this.#groups = [];
    this.#forgetAll();
    this.#memory.close();
  }

  #countOf(extents: readonly Extent[]): number {
    return this.#windowBytes === 0 ? 0 : windowCount(this.#windowBytes, extents);
  }

  /** Of the group that is read, else of one behind it, else of any. */
  #trackOf(input: number, file: number, fromByte: number, toByte: number): Track | undefined {
    const order = [...this.#groups.slice(this.#current), ...this.#groups.slice(0, this.#current)];
    for (const { tracks } of order) {
      const found = tracks.find(
        (track) => track.input === input && track.file === file && track.fromByte <= fromByte && toByte <= track.toByte,
      );
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Of groups before it nothing is wanted any more. */
  #enter({ number }: Group): void {
    if (number === this.#current) return;
    this.#current = number;
    for (const window of [...this.#windows.values()])
      if ((window.track?.group.number ?? number) < number) this.#forget(this.#windows, window);
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

  #isHeld(track: Track, fromByte: number, toByte: number): boolean {
    return [fromByte, toByte - 1].every((at) =>
      this.#windows.has(keyOf(track, Math.floor((at - track.fromByte) / this.#windowBytes))),
    );
  }

  /** False: it was not foreseen, or is not asked for yet. */
  async #readPiece(extent: Extent, into: Uint8Array): Promise<boolean> {
    const key = keyOfExtent(extent);
    const piece = this.#pieces.get(key);
    if (piece === undefined) return false;
    this.#pieces.delete(key);
    if (piece.bytes === undefined) return false;
    try {
      await piece.ready;
      into.set(piece.bytes);
    } finally {
      this.#piecesBytes -= into.length;
    }
    this.#askForPieces();
    return true;
  }

  #askForPieces(): void {
    const mostBytes = Math.min(PIECES_MAX_BYTES, this.#capacityBytes * PIECES_SHARE);
    for (const piece of this.#pieces.values()) {
      if (piece.bytes !== undefined) continue;
      const { input, file, fromByte, toByte } = piece;
      const sizeBytes = toByte - fromByte;
      if (this.#piecesBytes + sizeBytes > mostBytes) return;
      this.#piecesBytes += sizeBytes;
      piece.bytes = new Uint8Array(sizeBytes);
      piece.ready = this.#fetch(input, file, fromByte, piece.bytes, "steady");
      piece.ready.catch(() => undefined); // whoever reads it is told
    }
  }

  /** Undefined: there is no room for it. */
  #windowOf(track: Track, index: number): Window | undefined {
    const known = this.#windows.get(keyOf(track, index)) ?? this.#begun(track, index);
    if (known === undefined) return undefined;
    if (known.isAhead) {
      known.isAhead = false;
      track.ahead--;
    }
    this.#windows.delete(known.key);
    this.#windows.set(known.key, known);
    return known;
  }

  /** Asks for what comes next: of the extent that is read, then of the others in their order, then of the next group, as far as there is room. */
  #fill(track: Track): void {
    if (this.#windowBytes === 0) return;
    const { group } = track;
    const slots = Math.floor(this.#capacityBytes / this.#windowBytes);
    const at = group.tracks.indexOf(track);
    const order = [...group.tracks.slice(at), ...group.tracks.slice(0, at)];
    if (!group.isKept) {
      // Each extent keeps room for the window that it is at: what is ahead takes none of that.
      const reserved = group.tracks.filter(({ next, readTo, toByte }) => next > 0 && readTo < toByte).length;
      this.#ask(order, slots - reserved - aheadOf(group));
      return;
    }
    this.#ask(order, slots);
    const next = this.#groups[group.number + 1];
    if (next !== undefined) this.#ask(next.tracks, slots - group.windowCount - aheadOf(next));
  }

  /** For the next windows of some extents, `most` at most. */
  #ask(tracks: readonly Track[], most: number): void {
    let left = most;
    for (let depth = 0; depth < AHEAD; depth++) {
      for (const track of tracks) {
        const index = track.next + depth;
        if (index >= track.windowCount || this.#windows.has(keyOf(track, index))) continue;
        if (left-- <= 0 || this.#begun(track, index) === undefined) return;
      }
    }
  }

  #begun(track: Track, index: number): Window | undefined {
    const room = this.#room();
    if (room === undefined) return undefined;
    const fromByte = track.fromByte + index * room.length;
    const sizeBytes = Math.min(room.length, track.toByte - fromByte);
    track.ahead++;
    return this.#fetched(this.#windows, { key: keyOf(track, index), track, room }, track, fromByte, sizeBytes);
  }

  /** What fails is forgotten: who waits for it is told, and whoever comes next asks anew. */
  #fetched(
    windows: Map<string, Window>,
    { key, track, room }: Pick<Window, "key" | "track" | "room">,
    { input, file }: Pick<Extent, "input" | "file">,
    fromByte: number,
    sizeBytes: number,
  ): Window {
    const bytes = room.subarray(0, sizeBytes);
    const ready = this.#fetch(input, file, fromByte, bytes, "steady");
    const window: Window = {
      key,
      track,
      isAhead: track !== undefined,
      fromByte,
      bytes,
      room,
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
        if (windows.get(key) === window) this.#forget(windows, window);
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
    const sizeBytes = Math.min(WINDOW_GOOD_BYTES, this.#windowBytes, fileBytes - offsetBytes);
    if (into.length >= sizeBytes) return this.#fetch(input, file, offsetBytes, into);
    const key = `${input}/${file}`;
    const known = this.#loose.get(key);
    const isIn = (window: Window) =>
      window.fromByte <= offsetBytes && offsetBytes + into.length <= window.fromByte + window.bytes.length;
    if (known !== undefined && isIn(known)) {
      await this.#copy(known, offsetBytes, into);
      return;
    }
    if (known !== undefined) this.#forget(this.#loose, known);
    const room = this.#room();
    if (room === undefined) return this.#fetch(input, file, offsetBytes, into);
    const window = this.#fetched(this.#loose, { key, track: undefined, room }, { input, file }, offsetBytes, sizeBytes);
    await this.#copy(window, offsetBytes, into);
  }

  /** For one window more; undefined: there is none. */
  #room(): Uint8Array | undefined {
    const room = this.#makeRoom(this.#windowBytes) ? this.#memory.take(this.#windowBytes) : undefined;
    this.#usedBytes += room?.length ?? 0;
    return room;
  }

  /** Whether so many bytes more stay within what is allowed, once what was read to its end has gone. */
  #makeRoom(sizeBytes: number): boolean {
    for (const window of this.#windows.values()) {
      if (this.#usedBytes + sizeBytes <= this.#capacityBytes) return true;
      if (window.isDone && window.readers === 0 && window.track?.group.isKept === false)
        this.#forget(this.#windows, window);
    }
    for (const window of this.#loose.values()) {
      if (this.#usedBytes + sizeBytes <= this.#capacityBytes) return true;
      if (window.isReady && window.readers === 0) this.#forget(this.#loose, window);
    }
    return this.#usedBytes + sizeBytes <= this.#capacityBytes;
  }

  #forgetAll(): void {
    this.#pieces.clear();
    this.#piecesBytes = 0;
    for (const windows of [this.#windows, this.#loose])
      for (const window of [...windows.values()]) this.#forget(windows, window);
  }

  #forget(windows: Map<string, Window>, window: Window): void {
    windows.delete(window.key);
    if (window.isAhead && window.track !== undefined) window.track.ahead--;
    window.isAhead = false;
    window.isForgotten = true;
    if (window.isReady && window.readers === 0) this.#giveBack(window);
  }

  #giveBack({ room }: Window): void {
    this.#usedBytes -= room.length;
    this.#memory.giveBack(room);
  }
}

function keyOf(track: Track, index: number): string {
  return `${track.key}@${index}`;
}

function aheadOf({ tracks }: Group): number {
  return tracks.reduce((sum, { ahead }) => sum + ahead, 0);
}

/** What was read to its end is read once more, and so is the rest. */
function beginRound({ tracks }: Group): void {
  for (const track of tracks) {
    if (track.readTo < track.toByte) continue;
    track.next = 0;
    track.readTo = track.fromByte;
  }
}
