import * as net from "node:net";
import * as tls from "node:tls";
import type { Bandwidth } from "./bandwidth.ts";
import {
  isPlainCoding,
  MalformedAnswer,
  maybeContentLength,
  maybeContentRange,
  parseResponseHead,
  type ResponseHead,
} from "./response-head.ts";

/** Of an answer's head, and of a message that explains a refusal. Signed addresses in `Location` have 2 KiB. */
const HEAD_MAX_BYTES = 64 * 2 ** 10;
const MESSAGE_MAX_BYTES = 64 * 2 ** 10;
const INTERIMS_MAX = 16;
/** What the kernel hands over at once: more saves nothing (650 to 900 KiB a call came of windows of 8 MiB). */
const WINDOW_BYTES = 2 ** 20;
/** Of heads, and of the end of bodies that else go straight to where they are wanted: so that it is seen if anything comes behind it. */
const HEAD_WINDOW_BYTES = 16 * 2 ** 10;
/** TLS gives one record at a time. */
const TLS_WINDOW_BYTES = 64 * 2 ** 10;
/** What is slowed down comes in small pieces, so that no pause is long. */
const SLOWED_WINDOW_BYTES = 64 * 2 ** 10;

export interface ConnectionOptions {
  readonly host: string;
  readonly port: number;
  /** Undefined: without TLS. */
  readonly secureContext?: tls.SecureContext | undefined;
  readonly lookup: net.LookupFunction;
  readonly deadlines: Deadlines;
  /** Undefined: as fast as bytes come. */
  readonly bandwidth?: Bandwidth | undefined;
}

export interface Deadlines {
  /** Until a connection stands, TLS included. */
  readonly connectMs: number;
  /** From the question to the head of the answer. */
  readonly headMs: number;
  /** Between one piece of a body and the next. */
  readonly stallMs: number;
}

export interface RangeQuestion {
  /** Path and query, as they go into the question. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly offsetBytes: number;
  /** Not empty. */
  readonly into: Uint8Array;
  /** It is no memory of WebAssembly, and is neither moved nor detached until the promise is settled: the kernel may write to it. */
  readonly isSteady?: boolean;
  /** Looks at the head of an answer that holds the range, before any of it is taken. What it throws ends the read. */
  readonly check: (head: ResponseHead) => void;
}

export interface RangeAnswer {
  readonly head: ResponseHead;
  /** Whether `into` was filled. */
  readonly isFilled: boolean;
  /** Of an answer that was no range: its body, if that was short and its length was told. */
  readonly message?: Uint8Array;
}

/** Too long without a byte, and for what. */
export class Overdue extends Error {
  override readonly name = "Overdue";
}

interface Asked {
  readonly question: RangeQuestion;
  readonly resolve: (answer: RangeAnswer) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * One connection of HTTP/1.1 that reads ranges, one after the other. The kernel writes into a window that lives as long as the connection
 * (`onread` of a socket), and what arrived is copied from there once: the memory that is read into may be that of WebAssembly, which can
 * move when it grows, and belongs to nobody else once the promise is settled. Without TLS it writes straight into memory that is steady.
 *
 * Strict: 206 with just the range and the length that were asked for, and nothing behind it; else the connection is not used again.
 */
export class RangeConnection {
  readonly #socket: net.Socket;
  readonly #window: Buffer;
  readonly #takesStraight: boolean;
  readonly #deadlines: Deadlines;
  readonly #connected: Promise<void>;
  #asked: Asked | undefined;
  /** Of the head, as far as it came; kept apart from the window, which the next read overwrites. */
  #headBytes: Buffer = Buffer.alloc(0);
  #head: ResponseHead | undefined;
  /** Answers 1xx before it. */
  #interims = 0;
  /** Where the body goes, and how much of it is there. */
  #body: Uint8Array | undefined;
  #received = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Nothing is taken from the socket for a while, so that it does not come too fast. */
  #isPaused = false;
  /** Grows with every byte: a deadline looks whether it stood still. */
  #signs = 0;
  /** Answers that were read to their end. */
  served = 0;
  isClosed = false;

  constructor({ host, port, secureContext, lookup, deadlines, bandwidth }: ConnectionOptions) {
    this.#deadlines = deadlines;
    const windowBytes = secureContext === undefined ? WINDOW_BYTES : TLS_WINDOW_BYTES;
    this.#window = Buffer.allocUnsafeSlow(
      bandwidth === undefined ? windowBytes : Math.min(windowBytes, SLOWED_WINDOW_BYTES),
    );
    // Who is paused finds the same buffer afterwards, and TLS gives records of 16 KiB: asking where each goes costs more than a copy.
    this.#takesStraight = secureContext === undefined && bandwidth === undefined;
    const onread = {
      buffer: this.#takesStraight ? () => this.#next() : this.#window,
      callback: (bytes: number, buffer: Uint8Array) => {
        this.#take(buffer.subarray(0, bytes));
        const waitMs = bandwidth?.take(bytes) ?? 0;
        if (waitMs > 0) this.#pause(waitMs);
        return waitMs === 0;
      },
    };
    const servername = net.isIP(host) === 0 ? host : "";
    const address = { host, port, lookup, onread };
    this.#socket =
      secureContext === undefined
        ? net.connect({ ...address, noDelay: true })
        : tls.connect({ ...address, secureContext, servername, ALPNProtocols: ["http/1.1"] } as tls.ConnectionOptions);
    this.#connected = new Promise((resolve, reject) => {
      this.#socket.once(secureContext === undefined ? "connect" : "secureConnect", resolve);
      this.#socket.once("error", reject);
      this.#socket.once("close", () => reject(new Error("the connection was closed before it stood")));
    });
    this.#connected.catch(() => {}); // whoever asks is told
    this.#socket.on("error", (error) => this.#fail(error));
    this.#socket.once("end", () => this.#fail(closedError(this.#asked !== undefined)));
    this.#socket.once("close", () => this.#fail(closedError(this.#asked !== undefined)));
  }

  /** Whether anything of an answer came since the last question. */
  get hasAnswered(): boolean {
    return this.#headBytes.length > 0 || this.#head !== undefined;
  }

  /** One question at a time. @throws what the socket says, Overdue, MalformedAnswer, what `check` throws; the connection is closed then. */
  async read(question: RangeQuestion): Promise<RangeAnswer> {
    if (this.#asked !== undefined) throw new Error("a connection was asked for two ranges at once");
    return new Promise<RangeAnswer>((resolve, reject) => {
      this.#asked = { question, resolve, reject };
      this.#headBytes = Buffer.alloc(0);
      this.#head = undefined;
      this.#interims = 0;
      this.#socket.ref();
      void this.#ask(question);
    });
  }

  destroy(): void {
    this.#fail(new Error("the connection was given up"));
  }

  async #ask({ path, headers, offsetBytes, into }: RangeQuestion): Promise<void> {
    if (this.isClosed) return this.#fail(closedError(true));
    this.#expect("connection", this.#deadlines.connectMs);
    try {
      await this.#connected;
    } catch (error) {
      return this.#fail(error);
    }
    if (this.isClosed) return;
    this.#expect("answer", this.#deadlines.headMs);
    const range = `bytes=${offsetBytes}-${offsetBytes + into.length - 1}`;
    const lines = Object.entries({ ...headers, range }).map(([name, value]) => `${name}: ${value}\r\n`);
    this.#socket.write(`GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`, "latin1");
  }

  /** Where the kernel puts what comes next. */
  #next(): Uint8Array {
    const { into, isSteady = false } = this.#asked?.question ?? {};
    if (this.#body === undefined) return this.#window.subarray(0, HEAD_WINDOW_BYTES);
    const straightTo = isSteady && this.#body === into ? into.length - HEAD_WINDOW_BYTES : 0;
    return this.#received < straightTo ? this.#body.subarray(this.#received, straightTo) : this.#window;
  }

  #take(bytes: Uint8Array): void {
    this.#signs++;
    if (this.isClosed || bytes.length === 0) return;
    try {
      if (this.#asked === undefined) throw new MalformedAnswer("bytes came that nobody had asked for");
      if (this.#head === undefined) this.#takeHead(bytes);
      else this.#takeBody(bytes);
    } catch (error) {
      this.#fail(error);
    }
  }

  #takeHead(bytes: Uint8Array): void {
    const all =
      this.#headBytes.length === 0
        ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
        : Buffer.concat([this.#headBytes, bytes]);
    const end = all.indexOf("\r\n\r\n");
    if (end < 0 ? all.length > HEAD_MAX_BYTES : end > HEAD_MAX_BYTES)
      throw new MalformedAnswer(`the head of the answer has more than ${HEAD_MAX_BYTES} bytes`);
    if (end < 0) {
      this.#headBytes = Buffer.from(all); // the window is written to again
      return;
    }
    const head = parseResponseHead(all.toString("latin1", 0, end));
    const rest = all.subarray(end + 4);
    if (head.status < 200) {
      if (++this.#interims > INTERIMS_MAX) throw new MalformedAnswer(`more than ${INTERIMS_MAX} interim answers came`);
      this.#headBytes = Buffer.alloc(0);
      if (rest.length > 0) this.#takeHead(rest);
      return;
    }
    this.#head = head;
    this.#received = 0;
    this.#body = this.#bodyOf(head);
    if (this.#body === undefined) return this.#finish(false);
    this.#expect("next bytes", this.#deadlines.stallMs);
    this.#takeBody(rest);
  }

  /** Where the body of an answer is to be put; undefined: it is not read. */
  #bodyOf(head: ResponseHead): Uint8Array | undefined {
    const asked = this.#asked;
    if (asked === undefined) return undefined;
    const { offsetBytes, into, check } = asked.question;
    const length = maybeContentLength(head);
    if (head.status !== 206) {
      return length !== undefined && length <= MESSAGE_MAX_BYTES ? new Uint8Array(length) : undefined;
    }
    const range = maybeContentRange(head.headers.get("content-range"));
    const isExact = range?.firstByte === offsetBytes && range.lastByte === offsetBytes + into.length - 1;
    if (!isExact || length !== into.length || !isPlainCoding(head)) return undefined;
    check(head);
    return into;
  }

  #takeBody(bytes: Uint8Array): void {
    const body = this.#body;
    if (body === undefined) throw new MalformedAnswer("bytes came that nobody had asked for");
    if (this.#received + bytes.length > body.length)
      throw new MalformedAnswer(`more than the ${body.length} bytes came that the answer had told of`);
    const isThere = bytes.buffer === body.buffer && bytes.byteOffset === body.byteOffset + this.#received;
    if (!isThere) body.set(bytes, this.#received);
    this.#received += bytes.length;
    if (this.#received === body.length) this.#finish(true);
  }

  #finish(isRead: boolean): void {
    const [asked, head, body] = [this.#asked, this.#head, this.#body];
    this.#asked = undefined;
    this.#body = undefined;
    this.#quiet();
    if (asked === undefined || head === undefined) return;
    this.served++;
    this.#socket.unref();
    if (!isRead || !head.keepsOpen) this.#close();
    const isFilled = body === asked.question.into;
    asked.resolve({ head, isFilled, ...(isFilled || body === undefined ? {} : { message: body }) });
  }

  #fail(error: unknown): void {
    const asked = this.#asked;
    this.#asked = undefined;
    this.#body = undefined;
    this.#quiet();
    this.#close();
    asked?.reject(error);
  }

  #close(): void {
    this.isClosed = true;
    this.#socket.destroy();
  }

  #pause(ms: number): void {
    this.#isPaused = true;
    setTimeout(() => {
      this.#isPaused = false;
      this.#socket.resume();
    }, ms);
  }

  #quiet(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /**
   * A thread that computes for seconds finds its timers due before it sees what arrived meanwhile: so a deadline that has passed lets the
   * sockets speak first.
   */
  #expect(what: string, withinMs: number): void {
    clearTimeout(this.#timer);
    let seen = this.#signs;
    const timer = setTimeout(() => {
      setImmediate(() => {
        if (this.#timer !== timer) return;
        if (this.#signs === seen && !this.#isPaused)
          return this.#fail(new Overdue(`no ${what} came within ${withinMs / 1000} s`));
        seen = this.#signs;
        timer.refresh();
      });
    }, withinMs);
    this.#timer = timer;
  }
}

function closedError(isAwaited: boolean): Error {
  return new Error(
    isAwaited ? "the connection was closed before the answer was complete" : "the connection was closed",
  );
}
