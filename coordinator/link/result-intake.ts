import { createHash, type Hash } from "node:crypto";
import type { AttemptRef, Plan, Slice } from "../../merge/work/index.ts";
import type { Files, Place, StoredFile } from "../../storage/index.ts";
import { LinkError } from "./errors.ts";
import type { Limiter } from "./limiter.ts";

/** The bytes of one attempt's result, as far as they have come. */
interface Arrival {
  readonly attempt: number;
  /** What the worker said when it asked for the grant. */
  readonly sha256: string | undefined;
  receivedBytes: number;
  hash: Hash;
  /** Set once everything is in storage and synced. */
  durableSha256?: string;
  /** Rises with each stream that brings this result: of several only the newest may write. */
  stream: number;
  /** Of an output that is written in parts: they go as a whole. */
  gathered?: Gathered | undefined;
}

interface Gathered {
  readonly bytes: Uint8Array;
  /** Gives the room back. */
  release(): void;
}

/** Where an output is written in parts, and how much of them may lie in memory at once, of all jobs together. */
export interface PartsIntake {
  put(slot: Place, offsetBytes: number, bytes: Uint8Array, sha256: string): Promise<unknown>;
  readonly room: Limiter;
}

/**
 * Results of workers that cannot write to the output's storage, written to their place by the coordinator: only of attempts that hold
 * the grant, only inside the slice's own bytes. What one stream has brought the next one goes on from. Into a bucket a result is gathered, and
 * put once it is whole.
 */
export class ResultIntake {
  readonly #store: Files;
  readonly #plan: Plan;
  /** By name; made when the first result comes, as most jobs have none. */
  #slicesByName: ReadonlyMap<string, Slice> | undefined;
  readonly #shardPaths: readonly Place[];
  readonly #mayWrite: (ref: AttemptRef) => boolean;
  readonly #parts: PartsIntake | undefined;
  /** By unit: the attempt that holds the grant. */
  readonly #arrivals = new Map<string, Arrival>();
  /** Writers of one unit go one after another: a write under way when a grant passes on is over before the next one begins. */
  readonly #turns = new Map<string, Promise<unknown>>();

  /** `mayWrite`: asked before each call that writes, whether the attempt's lease still lasts. */
  constructor(
    store: Files,
    plan: Plan,
    shardPaths: readonly Place[],
    mayWrite: (ref: AttemptRef) => boolean = () => true,
    parts?: PartsIntake,
  ) {
    this.#store = store;
    this.#plan = plan;
    this.#shardPaths = shardPaths;
    this.#mayWrite = mayWrite;
    this.#parts = parts;
  }

  /** The job has ended. */
  close(): void {
    for (const arrival of this.#arrivals.values()) letGo(arrival);
    this.#arrivals.clear();
  }

  get #slices(): ReadonlyMap<string, Slice> {
    this.#slicesByName ??= new Map(this.#plan.slices.map((slice) => [slice.id, slice]));
    return this.#slicesByName;
  }

  /** The attempt may write from now on, and no other of its unit. Saying it again changes nothing. */
  allow({ unit, attempt }: AttemptRef, sha256: string | undefined): void {
    const known = this.#arrivals.get(unit);
    if (known?.attempt === attempt) return;
    if (known !== undefined) letGo(known);
    this.#arrivals.set(unit, { attempt, sha256, receivedBytes: 0, hash: createHash("sha256"), stream: 0 });
  }

  /** The attempt writes nothing more. */
  revoke({ unit, attempt }: AttemptRef): void {
    const known = this.#arrivals.get(unit);
    if (known?.attempt !== attempt || known.durableSha256 !== undefined) return;
    letGo(known);
    this.#arrivals.delete(unit);
  }

  /** Bytes from the start that need not be sent again. */
  receivedBytes({ unit, attempt }: AttemptRef): number {
    const known = this.#arrivals.get(unit);
    return known?.attempt === attempt ? known.receivedBytes : 0;
  }

  /** Whether a result of this hash is in storage, synced. */
  isDurable({ unit, attempt }: AttemptRef, sha256: string): boolean {
    const known = this.#arrivals.get(unit);
    return known?.attempt === attempt && known.durableSha256 === sha256;
  }

  sizeOf(unit: string): number | undefined {
    return this.#slices.get(unit)?.sizeBytes;
  }

  sliceOf(unit: string): Slice | undefined {
    return this.#slices.get(unit);
  }

  /**
   * A stream that brings the result from `offsetBytes` on.
   * @throws LinkError `link/not-granted`, `link/offset`
   */
  begin(ref: AttemptRef, offsetBytes: number, sizeBytes: number): ResultStream {
    const slice = this.#slices.get(ref.unit);
    const arrival = this.#current(ref);
    if (slice === undefined || slice.sizeBytes !== sizeBytes) {
      throw badOffset(`a result of ${sizeBytes} bytes for ${ref.unit}, which has ${slice?.sizeBytes ?? "no"} bytes`);
    }
    if (offsetBytes !== 0 && offsetBytes !== arrival.receivedBytes) {
      throw badOffset(`${ref.unit} goes on at byte ${arrival.receivedBytes}, not at ${offsetBytes}`);
    }
    if (offsetBytes === 0 && arrival.durableSha256 === undefined) {
      arrival.receivedBytes = 0;
      arrival.hash = createHash("sha256");
    }
    const stream = ++arrival.stream;
    let file: StoredFile | undefined;
    const check = () => {
      if (this.#current(ref) !== arrival || arrival.stream !== stream) throw notGranted(ref);
    };
    return {
      write: (bytes) =>
        this.#inTurn(ref.unit, async () => {
          check();
          // A repeated result is a fine one: it has been written, and is only compared in the end.
          if (arrival.durableSha256 !== undefined) return;
          if (!this.#mayWrite(ref)) throw notGranted(ref);
          if (arrival.receivedBytes + bytes.length > sizeBytes)
            throw badOffset(`${ref.unit} has ${sizeBytes} bytes, more came`);
          if (this.#parts === undefined) file ??= await this.#store.openForWriting(this.#placeOf(slice.shard));
          else await this.#gather(this.#parts, ref, arrival, sizeBytes);
          check();
          if (!this.#mayWrite(ref)) throw notGranted(ref);
          if (file === undefined) arrival.gathered?.bytes.set(bytes, arrival.receivedBytes);
          else await file.write(slice.offsetBytes + arrival.receivedBytes, bytes);
          // What was not written comes again.
          arrival.hash.update(bytes);
          arrival.receivedBytes += bytes.length;
        }),
      finish: (sha256) =>
        this.#inTurn(ref.unit, async () => {
          check();
          if (arrival.durableSha256 === undefined) await this.#finish(ref, arrival, sizeBytes, sha256, file);
          else if (arrival.durableSha256 !== sha256) throw differs(ref, arrival.durableSha256, sha256);
        }),
      close: () =>
        this.#inTurn(ref.unit, async () => {
          await file?.close();
          file = undefined;
        }),
    };
  }

  #placeOf(shard: number): Place {
    const place = this.#shardPaths[shard];
    if (place === undefined) throw new Error(`there is no shard ${shard}`);
    return place;
  }

  async #finish(ref: AttemptRef, arrival: Arrival, sizeBytes: number, sha256: string, file: StoredFile | undefined) {
    if (arrival.receivedBytes !== sizeBytes) {
      throw badOffset(`${ref.unit} has ${sizeBytes} bytes, ${arrival.receivedBytes} came`);
    }
    const found = arrival.hash.copy().digest("hex");
    try {
      if (found !== sha256) throw differs(ref, found, sha256);
      if (arrival.sha256 !== undefined && arrival.sha256 !== sha256) throw differs(ref, sha256, arrival.sha256);
      if (this.#parts !== undefined) await this.#put(this.#parts, ref, arrival, sha256);
      else await this.#sync(ref, file);
    } catch (error) {
      // Wrong bytes, or bytes that may be lost: nothing of them counts.
      arrival.receivedBytes = 0;
      arrival.hash = createHash("sha256");
      throw error;
    }
    arrival.durableSha256 = sha256;
  }

  /** All of the file's dirty pages, those that an earlier stream of this result wrote too. */
  async #sync(ref: AttemptRef, file: StoredFile | undefined): Promise<void> {
    const synced = file ?? (await this.#store.openForWriting(this.#placeOf(this.#slices.get(ref.unit)?.shard ?? -1)));
    try {
      await synced.sync();
    } finally {
      if (synced !== file) await synced.close();
    }
  }

  /** Waits, with its bytes unread, until there is room. */
  async #gather({ room }: PartsIntake, ref: AttemptRef, arrival: Arrival, sizeBytes: number): Promise<void> {
    if (arrival.gathered !== undefined) return;
    const release = await held(room, sizeBytes);
    if (this.#arrivals.get(ref.unit) === arrival) arrival.gathered = { bytes: new Uint8Array(sizeBytes), release };
    else release();
  }

  async #put({ put }: PartsIntake, ref: AttemptRef, arrival: Arrival, sha256: string): Promise<void> {
    const slice = this.#slices.get(ref.unit);
    if (slice === undefined || arrival.gathered === undefined) throw new Error(`${ref.unit} was not gathered`);
    if (!this.#mayWrite(ref)) throw notGranted(ref);
    await put(this.#placeOf(slice.shard), slice.offsetBytes, arrival.gathered.bytes, sha256);
    letGo(arrival);
  }

  #current(ref: AttemptRef): Arrival {
    const arrival = this.#arrivals.get(ref.unit);
    if (arrival === undefined || arrival.attempt !== ref.attempt) throw notGranted(ref);
    return arrival;
  }

  #inTurn<T>(unit: string, act: () => Promise<T>): Promise<T> {
    const result = (this.#turns.get(unit) ?? Promise.resolve()).then(act);
    const ended = () => {
      if (this.#turns.get(unit) === turn) this.#turns.delete(unit);
    };
    // Whoever asked hears of what failed; the next one's turn comes all the same.
    const turn: Promise<void> = result.then(ended, ended);
    this.#turns.set(unit, turn);
    return result;
  }
}

function letGo(arrival: Arrival): void {
  arrival.gathered?.release();
  arrival.gathered = undefined;
}

/** Room for so many bytes, until the returned function is called. */
function held(room: Limiter, bytes: number): Promise<() => void> {
  return new Promise((resolve) => {
    void room.run(bytes, () => new Promise<void>((release) => resolve(release)));
  });
}

export interface ResultStream {
  /** The next bytes. Resolves when they are written. @throws LinkError, StorageError */
  write(bytes: Uint8Array): Promise<void>;
  /** All bytes have come. Resolves when they are durable. @throws LinkError `link/result-differs`, StorageError */
  finish(sha256: string): Promise<void>;
  /** In any case, at the end. */
  close(): Promise<void>;
}

export function notGranted({ unit, attempt }: AttemptRef): LinkError {
  return new LinkError("link/not-granted", `attempt ${attempt} of ${unit} may not write: it has no grant, or no more`, {
    hint: "Drop the attempt; the slice is another's now.",
  });
}

function badOffset(message: string): LinkError {
  return new LinkError("link/offset", message, {
    hint: "Ask with QueryResult how much has arrived, and go on from there.",
  });
}

function differs({ unit }: AttemptRef, found: string, claimed: string): LinkError {
  return new LinkError("link/result-differs", `${unit}: what arrived has SHA-256 ${found}, not ${claimed}`, {
    hint: "Send it again from the beginning; if it differs again, check the memory and the network of the worker.",
    retryable: true,
  });
}
