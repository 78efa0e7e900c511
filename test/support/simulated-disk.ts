/**
 * A disk and the system's cache above it, as POSIX promises them and no better: what readers see is in the cache; what
 * was synced is on the disk; what is between may or may not have come to the disk when the power fails.
 */
export const PAGE_BYTES = 4096;
/** Disks write whole sectors. */
const SECTOR_BYTES = 512;

/** Never changed once it is in a map, so that states of a file can share it. A page that is missing reads as zeros. */
type Page = Uint8Array;
type Random = () => number;

export type SimulatedNode = SimulatedFile | SimulatedDirectory;

interface Contents {
  readonly pages: Map<number, Page>;
  sizeBytes: number;
  mtimeNs: bigint;
}

export class SimulatedFile {
  readonly inode: bigint;
  readonly #cached: Contents;
  readonly #durable: Contents;
  /** Pages that differ, or may differ, between cache and disk. */
  readonly #unsynced = new Set<number>();
  /** Syncs that began, and the newest of them that made each page, and the size, durable. */
  #syncs = 0;
  #sizeSync = 0;
  readonly #syncOf = new Map<number, number>();
  /** Syncs that failed. Whoever has the file open is told of each, once: Linux keeps count the same way. */
  failedSyncs = 0;

  constructor(inode: bigint, mtimeNs: bigint, contents?: Contents) {
    this.inode = inode;
    this.#durable = contents ?? { pages: new Map(), sizeBytes: 0, mtimeNs };
    this.#cached = copyOf(this.#durable);
  }

  /** All of it durable. Takes over `bytes`. */
  static holding(bytes: Uint8Array, inode: bigint, mtimeNs: bigint): SimulatedFile {
    const pages = new Map<number, Page>();
    for (let index = 0; index * PAGE_BYTES < bytes.length; index++) {
      const page = bytes.subarray(index * PAGE_BYTES, (index + 1) * PAGE_BYTES);
      pages.set(index, page.length === PAGE_BYTES ? page : pageFrom(page));
    }
    return new SimulatedFile(inode, mtimeNs, { pages, sizeBytes: bytes.length, mtimeNs });
  }

  get sizeBytes(): number {
    return this.#cached.sizeBytes;
  }

  get mtimeNs(): bigint {
    return this.#cached.mtimeNs;
  }

  /** Fills `into`, as far as the file goes. Returns the number of bytes. */
  read(offsetBytes: number, into: Uint8Array): number {
    const end = Math.min(offsetBytes + into.length, this.sizeBytes);
    for (let at = offsetBytes; at < end; ) {
      const within = at % PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - within, end - at);
      const target = into.subarray(at - offsetBytes, at - offsetBytes + length);
      const page = this.#cached.pages.get(Math.floor(at / PAGE_BYTES));
      if (page === undefined) target.fill(0);
      else target.set(page.subarray(within, within + length));
      at += length;
    }
    return Math.max(0, end - offsetBytes);
  }

  /** Of what is on the disk, zeros where nothing is. */
  durableRange(offsetBytes: number, sizeBytes: number): Uint8Array {
    const found = new Uint8Array(sizeBytes);
    for (let k = 0; k < sizeBytes; k++) {
      const page = this.#durable.pages.get(Math.floor((offsetBytes + k) / PAGE_BYTES));
      if (page !== undefined && offsetBytes + k < this.#durable.sizeBytes)
        found[k] = page[(offsetBytes + k) % PAGE_BYTES] ?? 0;
    }
    return found;
  }

  write(offsetBytes: number, bytes: Uint8Array, mtimeNs: bigint): void {
    for (let done = 0; done < bytes.length; ) {
      const index = Math.floor((offsetBytes + done) / PAGE_BYTES);
      const within = (offsetBytes + done) % PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - within, bytes.length - done);
      const page = pageFrom(this.#cached.pages.get(index));
      page.set(bytes.subarray(done, done + length), within);
      this.#cached.pages.set(index, page);
      this.#unsynced.add(index);
      done += length;
    }
    if (bytes.length > 0) this.#cached.sizeBytes = Math.max(this.sizeBytes, offsetBytes + bytes.length);
    this.#cached.mtimeNs = mtimeNs;
  }

  truncate(sizeBytes: number, mtimeNs: bigint): void {
    for (const index of cut(this.#cached, sizeBytes)) this.#unsynced.add(index);
    this.#cached.mtimeNs = mtimeNs;
  }

  /** The returned function ends the sync: what was in the cache when it began is durable. */
  beginSync(): () => void {
    const { sizeBytes, mtimeNs } = this.#cached;
    const pages = [...this.#unsynced].map((index) => [index, this.#cached.pages.get(index)] as const);
    const sync = ++this.#syncs;
    return () => {
      for (const [index, page] of pages) {
        // A sync that began later may have ended before: the disk does not go back to what was there before that.
        if ((this.#syncOf.get(index) ?? 0) > sync) continue;
        this.#syncOf.set(index, sync);
        setPage(this.#durable, index, page);
        if (this.#cached.pages.get(index) === page) this.#unsynced.delete(index);
      }
      if (this.#sizeSync > sync) return;
      this.#sizeSync = sync;
      this.#durable.sizeBytes = sizeBytes;
      this.#durable.mtimeNs = mtimeNs;
    };
  }

  /**
   * The device refused the pages: none comes to the disk any more unless it is written again. Linux leaves them in the
   * cache, where readers see them until they are evicted: `shown`. The size is metadata and remains to be synced.
   */
  failSync(after: "shown" | "dropped"): void {
    for (const index of this.#unsynced) {
      if (after === "dropped") setPage(this.#cached, index, this.#durable.pages.get(index));
    }
    this.#unsynced.clear();
    this.failedSyncs++;
  }

  /** The file after the power failed: of what was not synced, anything or nothing, in whole pages or sectors. */
  afterPowerLoss(random: Random): SimulatedFile {
    const found = copyOf(this.#durable);
    const keepChance = chance(random);
    for (const index of this.#unsynced) {
      const page = this.#cached.pages.get(index);
      if (random() >= keepChance) continue;
      setPage(found, index, random() < 0.75 ? page : tornPage(this.#durable.pages.get(index), page, random));
    }
    const [before, now] = [this.#durable.sizeBytes, this.#cached.sizeBytes];
    const part = random();
    // A growing file grows as its pages are written; a cut is one change of metadata.
    const between = now > before ? before + Math.floor(random() * (now - before)) : before;
    cut(found, part < 0.4 ? now : part < 0.7 ? before : between);
    found.mtimeNs = random() < 0.5 ? this.#durable.mtimeNs : this.#cached.mtimeNs;
    return new SimulatedFile(this.inode, found.mtimeNs, found);
  }

  /** The same bytes as readers see them, all durable. */
  settled(): SimulatedFile {
    return new SimulatedFile(this.inode, this.mtimeNs, copyOf(this.#cached));
  }
}

export class SimulatedDirectory {
  readonly inode: bigint;
  readonly mtimeNs: bigint;
  readonly cached: Map<string, SimulatedNode>;
  readonly durable: Map<string, SimulatedNode>;

  constructor(inode: bigint, mtimeNs: bigint, names: ReadonlyMap<string, SimulatedNode> = new Map()) {
    this.inode = inode;
    this.mtimeNs = mtimeNs;
    this.cached = new Map(names);
    this.durable = new Map(names);
  }
}

/** What one call did to one name. */
interface Place {
  readonly directory: SimulatedDirectory;
  readonly name: string;
  /** What the name stands for now; undefined: nothing. */
  readonly node: SimulatedNode | undefined;
}

/** The tree of names. A change of names (a file made, renamed, removed) comes to the disk whole or not at all. */
export class SimulatedDisk {
  readonly root: SimulatedDirectory;
  /** Changes that are not durable yet, oldest first. */
  #unsynced: (readonly Place[])[] = [];
  #nextInode = 2n ** 40n; // far from those of real files
  #clockNs = 1_700_000_000_000_000_000n;

  constructor(root = new SimulatedDirectory(2n, 0n)) {
    this.root = root;
  }

  /** A time later than all before. */
  nowNs(): bigint {
    this.#clockNs += 1000n;
    return this.#clockNs;
  }

  newInode(): bigint {
    return this.#nextInode++;
  }

  change(...places: readonly Place[]): void {
    for (const place of places) apply(place, place.directory.cached);
    this.#unsynced.push(places);
  }

  /** The returned function ends the sync: the directory's changes of names made before it began are durable. */
  beginSync(directory: SimulatedDirectory): () => void {
    const begun = new Set(this.#unsynced);
    return () => this.#settle((places) => begun.has(places) && places.some((place) => place.directory === directory));
  }

  /** A change brings those before it along that touch a name of its own. */
  #settle(wanted: (places: readonly Place[]) => boolean): void {
    const names = new PlaceSet();
    const settled = new Set<readonly Place[]>();
    for (const places of this.#unsynced.toReversed()) {
      if (!wanted(places) && !names.holdsAny(places)) continue;
      settled.add(places);
      names.add(places);
    }
    for (const places of this.#unsynced) {
      if (settled.has(places)) for (const place of places) apply(place, place.directory.durable);
    }
    this.#unsynced = this.#unsynced.filter((places) => !settled.has(places));
  }

  /** The disk after the power failed. Of the changes not synced any may be lost, with those after it of the same names. */
  afterPowerLoss(random: Random): SimulatedDisk {
    const keepChance = chance(random);
    const lost = new PlaceSet();
    const found = new Map<SimulatedDirectory, Map<string, SimulatedNode>>();
    for (const places of this.#unsynced) {
      if (random() >= keepChance || lost.holdsAny(places)) {
        lost.add(places);
        continue;
      }
      for (const place of places) {
        const names = found.get(place.directory) ?? new Map(place.directory.durable);
        found.set(place.directory, names);
        apply(place, names);
      }
    }
    return this.#rebuilt(
      (directory) => found.get(directory) ?? directory.durable,
      (file) => file.afterPowerLoss(random),
    );
  }

  /** The same files as readers see them, all durable. */
  settled(): SimulatedDisk {
    return this.#rebuilt(
      (directory) => directory.cached,
      (file) => file.settled(),
    );
  }

  #rebuilt(
    namesOf: (directory: SimulatedDirectory) => ReadonlyMap<string, SimulatedNode>,
    contentsOf: (file: SimulatedFile) => SimulatedFile,
  ): SimulatedDisk {
    const rebuild = (directory: SimulatedDirectory): SimulatedDirectory => {
      const names = new Map<string, SimulatedNode>();
      for (const [name, node] of namesOf(directory)) {
        names.set(name, node instanceof SimulatedFile ? contentsOf(node) : rebuild(node));
      }
      return new SimulatedDirectory(directory.inode, directory.mtimeNs, names);
    };
    const disk = new SimulatedDisk(rebuild(this.root));
    disk.#nextInode = this.#nextInode;
    disk.#clockNs = this.#clockNs;
    return disk;
  }
}

/** Names in directories. */
class PlaceSet {
  readonly #names = new Map<SimulatedDirectory, Set<string>>();

  add(places: readonly Place[]): void {
    for (const { directory, name } of places) {
      const names = this.#names.get(directory) ?? new Set();
      this.#names.set(directory, names.add(name));
    }
  }

  holdsAny(places: readonly Place[]): boolean {
    return places.some(({ directory, name }) => this.#names.get(directory)?.has(name) === true);
  }
}

function apply({ name, node }: Place, names: Map<string, SimulatedNode>): void {
  if (node === undefined) names.delete(name);
  else names.set(name, node);
}

function copyOf(contents: Contents): Contents {
  return { ...contents, pages: new Map(contents.pages) };
}

function setPage(contents: Contents, index: number, page: Page | undefined): void {
  if (page === undefined) contents.pages.delete(index);
  else contents.pages.set(index, page);
}

/** A page that may be changed, zeros where `bytes` end. */
function pageFrom(bytes: Uint8Array | undefined): Page {
  const page = new Uint8Array(PAGE_BYTES);
  if (bytes !== undefined) page.set(bytes);
  return page;
}

/** Sets the size; no bytes remain beyond it. Returns the pages that changed. */
function cut(contents: Contents, sizeBytes: number): readonly number[] {
  const changed = [...contents.pages.keys()].filter((index) => (index + 1) * PAGE_BYTES > sizeBytes);
  for (const index of changed) {
    const kept = sizeBytes - index * PAGE_BYTES;
    setPage(contents, index, kept > 0 ? pageFrom(contents.pages.get(index)?.subarray(0, kept)) : undefined);
  }
  contents.sizeBytes = sizeBytes;
  return changed;
}

function tornPage(before: Page | undefined, now: Page | undefined, random: Random): Page {
  const page = pageFrom(before);
  const written = now ?? new Uint8Array(PAGE_BYTES);
  for (let at = 0; at < PAGE_BYTES; at += SECTOR_BYTES) {
    if (random() < 0.5) page.set(written.subarray(at, at + SECTOR_BYTES), at);
  }
  return page;
}

/** How likely each unsynced thing is to be kept: in a crash of three all or nothing, else anything between. */
function chance(random: Random): number {
  const kind = random();
  return kind < 1 / 6 ? 0 : kind < 1 / 3 ? 1 : random();
}
