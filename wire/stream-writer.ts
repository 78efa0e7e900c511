import type { Writable } from "node:stream";
import { WireError } from "./errors.ts";

/** What of a stream of gRPC the writer needs: every kind has it. */
export type Sink<T> = Pick<Writable, "on"> & { write(message: T): boolean; end(): void };

/**
 * The one way in which messages go into a stream of gRPC: it waits while the other end does not keep up, so that no more than the
 * stream's own buffer lies in memory. A stream that has ended rejects; nobody waits for a drain that never comes.
 */
export class StreamWriter<T> {
  readonly #sink: Sink<T>;
  #failure: WireError | undefined;
  #tail: Promise<void> = Promise.resolve();
  /** Of the write that waits for room; writes wait one after another. */
  #waiting: { readonly resolve: () => void; readonly reject: (error: WireError) => void } | undefined;

  constructor(sink: Sink<T>) {
    this.#sink = sink;
    sink.on("drain", () => this.#drained());
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
    const written = this.#tail.then(() => this.#write(message));
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
    if (this.#sink.write(message)) return undefined;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  #drained(): void {
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }

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
