import { createHash, type Hash } from "node:crypto";
import type { AttemptRef, Plan, Slice } from "../../merge/work/index.ts";
import type { Files, Place, StoredFile } from "../../storage/index.ts";
import { LinkError } from "./errors.ts";

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
}

/**
 * Results of workers that cannot write to the output's storage, written to their place by the coordinator: only of attempts that hold
 * the grant, only inside the slice's own bytes. What one stream has brought the next one goes on from.
 */
export class ResultIntake {
  readonly #store: Files;
  readonly #plan: Plan;
  /** By name; made when the first result comes, as most jobs have none. */
  #slicesByName: ReadonlyMap<string, Slice> | undefined;
  readonly #shardPaths: readonly Place[];
  readonly #mayWrite: (ref: AttemptRef) => boolean;
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
  ) {
    this.#store = store;
    this.#plan = plan;
    this.#shardPaths = shardPaths;
    this.#mayWrite = mayWrite;
  }

  get #slices(): ReadonlyMap<string, Slice> {
    this.#slicesByName ??= new Map(this.#plan.slices.map((slice) => [slice.id, slice]));
    return this.#slicesByName;
  }

  /** The attempt may write from now on, and no other of its unit. Saying it again changes nothing. */
  allow({ unit, attempt }: AttemptRef, sha256: string | undefined): void {
    const known = this.#arrivals.get(unit);
    if (known?.attempt === attempt) return;
    this.#arrivals.set(unit, { attempt, sha256, receivedBytes: 0, hash: createHash("sha256"), stream: 0 });
  }

  /** The attempt writes nothing more. */
  revoke({ unit, attempt }: AttemptRef): void {
    const known = this.#arrivals.get(unit);
    if (known?.attempt === attempt && known.durableSha256 === undefined) this.#arrivals.delete(unit);
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
          file ??= await this.#store.openForWriting(this.#placeOf(slice.shard));
          check();
          if (!this.#mayWrite(ref)) throw notGranted(ref);
          await file.write(slice.offsetBytes + arrival.receivedBytes, bytes);
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
      // All of the file's dirty pages, those that an earlier stream of this result wrote too.
      const synced = file ?? (await this.#store.openForWriting(this.#placeOf(this.#slices.get(ref.unit)?.shard ?? -1)));
      try {
        await synced.sync();
      } finally {
        if (synced !== file) await synced.close();
      }
    } catch (error) {
      // Wrong bytes, or bytes that may be lost: nothing of them counts.
      arrival.receivedBytes = 0;
      arrival.hash = createHash("sha256");
      throw error;
    }
    arrival.durableSha256 = sha256;
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

export interface ResultStream {
  /** The next bytes. Resolves when they are written. @throws LinkError, StorageError */
  write(bytes: Uint8Array): Promise<void>;
  /** All bytes have come. Resolves when they are durable. @throws LinkError `link/result-differs`, StorageError */
  finish(sha256: string): Promise<void>;
  /** In any case, at the end. */
  close(): Promise<void>;
}

function notGranted({ unit, attempt }: AttemptRef): LinkError {
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
