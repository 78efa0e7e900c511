import type { Writable } from "node:stream";
import { WireError } from "./errors.ts";

/** What of a stream of gRPC the writer needs: every kind has it. */
export type Sink<T> = Pick<Writable, "on"> & { write(message: T, taken: () => void): boolean; end(): void };

/** Messages that may be on their way into the connection: enough that small ones are sent together. */
const IN_FLIGHT_MAX = 64;
/** The same for chunks of CHUNK_BYTES; a stream's own limit is a count of messages, 16 of them. */
export const CHUNKS_IN_FLIGHT_MAX = 2;

const DONE: Promise<void> = Promise.resolve();

/**
 * The one way in which messages go into a stream of gRPC: it waits while the other end does not keep up, so that no more than a few
 * messages lie in memory. A stream that has ended rejects; nobody waits for room that never comes.
 */
export class StreamWriter<T> {
  readonly #sink: Sink<T>;
  readonly #inFlightMax: number;
  #inFlight = 0;
  #failure: WireError | undefined;
  #tail: Promise<void> = Promise.resolve();
  /** Writes that wait for their turn. While there are none, a message goes straight into the stream. */
  #queued = 0;
  /** Of the write that waits for room; writes wait one after another. */
  #waiting: { readonly resolve: () => void; readonly reject: (error: WireError) => void } | undefined;

  constructor(sink: Sink<T>, inFlightMax = IN_FLIGHT_MAX) {
    this.#sink = sink;
    this.#inFlightMax = inFlightMax;
    sink.on("error", (cause: unknown) => this.#close(cause));
    for (const event of ["close", "cancelled", "finish"]) sink.on(event, () => this.#close(undefined));
  }

  /** Whether the stream has ended: nothing can be written any more. */
  get ended(): boolean {
    return this.#failure !== undefined;
  }

  /**
   * Resolves when there is room for the next message. Calls may overlap; messages go out in the order of the calls.
   * @throws WireError `wire/disconnected`
   */
  write(message: T): Promise<void> {
    if (this.#queued === 0 && this.#waiting === undefined && this.#failure === undefined) {
      return this.#writeAtOnce(message);
    }
    this.#queued++;
    const written = this.#tail.then(() => {
      this.#queued--;
      return this.#write(message);
    });
    this.#tail = written.catch(() => undefined);
    return written;
  }

  /** After everything written so far. */
  async end(): Promise<void> {
    await this.#tail;
    if (!this.ended) this.#sink.end();
  }

  #write(message: T): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    this.#inFlight++;
    this.#sink.write(message, this.#taken);
    if (this.#inFlight < this.#inFlightMax) return undefined;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  #writeAtOnce(message: T): Promise<void> {
    try {
      const room = this.#write(message);
      if (room === undefined) return DONE;
      this.#tail = room.catch(() => undefined);
      return room;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  readonly #taken = (): void => {
    this.#inFlight--;
    if (this.#inFlight >= this.#inFlightMax) return;
    this.#waiting?.resolve();
    this.#waiting = undefined;
  };

  #close(cause: unknown): void {
    if (this.#failure !== undefined) return;
    const reason = cause instanceof Error ? `: ${cause.message}` : "";
    this.#failure = new WireError("wire/disconnected", `the stream ended before everything was sent${reason}`, {
      hint: "It is taken up again by itself; if not, look at the log of the other end.",
      retryable: true,
      cause,
    });
    this.#waiting?.reject(this.#failure);
    this.#waiting = undefined;
  }
}
