import { type Sink, StreamWriter } from "./stream-writer.ts";

export interface BatchWriterOptions {
  /** Several messages as one. */
  join(messages: readonly Uint8Array[]): Uint8Array;
  /** Calls `act` once, in a moment: what is sent meanwhile goes with it. */
  soon(act: () => void): void;
  /** Most bytes of several together; one alone may have more. */
  readonly bytesMax?: number;
  /** A batch has been taken. */
  taken?(): void;
}

/** A heartbeat waits behind one of these at most. */
const BYTES_MAX = 256 * 1024;

interface Batch {
  readonly messages: Uint8Array[];
  bytes: number;
}

/**
 * Encoded messages into a stream of gRPC, in their order; those that wait for one another go as one. A message costs grpc-js as much as
 * dozens of entries, so a thousand workers that were each sent every word by itself would keep the coordinator busy with frames. One batch
 * is on its way at a time: the busier a stream, the more goes with each.
 */
export class BatchWriter {
  readonly #stream: StreamWriter<Uint8Array>;
  readonly #options: BatchWriterOptions;
  /** None is empty. */
  readonly #batches: Batch[] = [];
  #waiting = 0;
  #onItsWay = 0;
  #isSoon = false;
  /** What waits has waited long enough. */
  #isDue = false;
  #flushed: (() => void)[] = [];

  constructor(sink: Sink<Uint8Array>, options: BatchWriterOptions) {
    this.#stream = new StreamWriter(sink, 1);
    this.#options = options;
  }

  /** Whether the stream has ended: nothing can be written any more. */
  get ended(): boolean {
    return this.#stream.ended;
  }

  /** Messages that the stream has not taken. */
  get untaken(): number {
    return this.#waiting + this.#onItsWay;
  }

  /** In a moment, with what is sent meanwhile. Into an ended stream: lost. */
  send(message: Uint8Array): void {
    if (this.ended) return;
    this.#push(message);
    if (this.#isSoon || this.#isDue) return;
    this.#isSoon = true;
    this.#options.soon(() => {
      this.#isSoon = false;
      this.#isDue = true;
      this.#write();
    });
  }

  /** As soon as the stream takes it, with all that waits before it. */
  sendNow(message: Uint8Array): void {
    if (this.ended) return;
    this.#push(message);
    this.#isDue = true;
    this.#write();
  }

  #push(message: Uint8Array): void {
    const { bytesMax = BYTES_MAX } = this.#options;
    const last = this.#batches.at(-1);
    if (last === undefined || last.bytes + message.length > bytesMax) {
      this.#batches.push({ messages: [message], bytes: message.length });
    } else {
      last.messages.push(message);
      last.bytes += message.length;
    }
    this.#waiting++;
  }

  /** Does not wait for more. Resolves when everything that was sent is taken, or the stream has ended. */
  flush(): Promise<void> {
    this.#isDue = true;
    const flushed = new Promise<void>((resolve) => this.#flushed.push(resolve));
    this.#write();
    return flushed;
  }

  /** After everything that was sent. */
  async end(): Promise<void> {
    await this.flush();
    await this.#stream.end();
  }

  #write(): void {
    if (this.#onItsWay > 0) return;
    const batch = this.ended ? undefined : this.#batches.shift();
    if (batch === undefined) {
      this.#isDue = false;
      this.#batches.length = 0;
      this.#waiting = 0;
      for (const resolve of this.#flushed.splice(0)) resolve();
      return;
    }
    const { messages } = batch;
    const [alone] = messages;
    this.#waiting -= messages.length;
    this.#onItsWay = messages.length;
    const taken = () => {
      this.#onItsWay = 0;
      this.#write();
      this.#options.taken?.();
    };
    const message = messages.length === 1 && alone !== undefined ? alone : this.#options.join(messages);
    this.#stream.write(message).then(taken, taken);
  }
}
