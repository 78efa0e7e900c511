import { Readable } from "node:stream";
import type { SecureContext } from "node:tls";
import type { Dispatcher } from "undici";
import { type Bandwidth, slowed } from "./bandwidth.ts";
import type { Deadlines } from "./range-connection.ts";
import { checkLiteral, hostOf, lookupWithin, type Reach } from "./reachable.ts";

/** What is sent. In pieces: of `sizeBytes` together, made anew for every try; whoever gave a piece leaves it as it is. */
export type HttpBody = Uint8Array | string | BodyInPieces;

interface BodyInPieces {
  readonly sizeBytes: number;
  readonly pieces: () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

export interface ClientQuestion {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: HttpBody | undefined;
  /** How long the answer may keep silent, where that is longer than usual. */
  readonly patienceMs?: number | undefined;
  readonly reach: Reach;
  /** Undefined: no proxy. */
  readonly proxy: string | undefined;
}

export interface ClientAnswer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  /** To be read to its end, or destroyed. */
  readonly body: AsyncIterable<Uint8Array> & { destroy(): unknown };
}

/** What asks, and is answered. */
export interface AskingClient {
  /** Redirects are not followed. @throws what its connections throw, Unreachable */
  ask(question: ClientQuestion): Promise<ClientAnswer>;
  close(): void;
}

type Undici = typeof import("undici");

/** 0.1 s of processor time: a thread that reads ranges by `RangeConnection` alone does without. */
const loadUndici = (): Promise<Undici> => import("undici");

/** Any question, by undici: slower by a factor of five than `RangeConnection`, and at home with all that servers and proxies do. */
export class HttpClient implements AskingClient {
  readonly #deadlines: Deadlines;
  readonly #connectionsMax: number;
  readonly #secureContext: (() => SecureContext) | undefined;
  readonly #sending: Bandwidth | undefined;
  readonly #dispatchers = new Map<string, Dispatcher>();

  /**
   * `secureContext`: with the authorities that are trusted; undefined: those that Node knows. Shared: one made for each connection takes
   * 60 ms of processor time. `sending`: what long bodies take.
   */
  constructor(
    deadlines: Deadlines,
    connectionsMax: number,
    secureContext: (() => SecureContext) | undefined,
    sending?: Bandwidth,
  ) {
    this.#deadlines = deadlines;
    this.#connectionsMax = connectionsMax;
    this.#secureContext = secureContext;
    this.#sending = sending;
  }

  async ask({ method, url, headers, body, patienceMs, reach, proxy }: ClientQuestion): Promise<ClientAnswer> {
    checkLiteral(hostOf(url), reach);
    const long = longBody(body);
    const pieces = long && (this.#sending === undefined ? long.pieces() : slowed(long.pieces(), this.#sending));
    const undici = await loadUndici();
    const answer = await undici.request(url, {
      method: method as Dispatcher.HttpMethod,
      headers: long === undefined ? { ...headers } : { ...headers, "content-length": String(long.sizeBytes) },
      body:
        pieces === undefined
          ? ((body as Uint8Array | string | undefined) ?? null)
          : Readable.from(pieces, { objectMode: false, highWaterMark: PIECE_BYTES }),
      ...(patienceMs === undefined ? {} : { headersTimeout: patienceMs, bodyTimeout: patienceMs }),
      dispatcher: this.#dispatcherFor(undici, url.protocol === "https:" || proxy !== undefined, reach, proxy),
    });
    answer.body.on("error", () => {}); // of a body that is not read to its end; whoever reads it is told besides
    const found = Object.entries(answer.headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name.toLowerCase(), Array.isArray(value) ? value.join(", ") : value] as const],
    );
    return { status: answer.statusCode, headers: new Map(found), body: answer.body };
  }

  close(): void {
    for (const dispatcher of this.#dispatchers.values()) dispatcher.destroy().catch(() => {});
    this.#dispatchers.clear();
  }

  #dispatcherFor(
    { Agent, ProxyAgent }: Undici,
    isSecure: boolean,
    reach: Reach,
    proxy: string | undefined,
  ): Dispatcher {
    const key = `${isSecure} ${reach} ${proxy ?? ""}`;
    const known = this.#dispatchers.get(key);
    if (known !== undefined) return known;
    const { connectMs, headMs, stallMs } = this.#deadlines;
    const common = { connections: this.#connectionsMax, headersTimeout: headMs, bodyTimeout: stallMs };
    const tls = isSecure && this.#secureContext !== undefined ? { secureContext: this.#secureContext() } : {};
    const made =
      proxy === undefined
        ? new Agent({ ...common, connect: { timeout: connectMs, lookup: lookupWithin(reach), ...tls } })
        : new ProxyAgent({ ...common, uri: proxy, requestTls: { timeout: connectMs, ...tls }, proxyTls: tls });
    this.#dispatchers.set(key, made);
    return made;
  }
}

/**
 * A long body is sent piece by piece, as fast as the server takes it: each that goes shows that it lives, where one large piece on a slow line
 * would look like silence. TLS, besides, encrypts all of one piece at once, and holds that (measured, parts of 32 MiB, two at once: 1.1 s of
 * processor a GB and 147 MB by pieces, 1.7 s and 241 MB as a whole; plain 0.5 s and 0.3 s).
 */
const PIECE_BYTES = 256 * 2 ** 10;

function longBody(body: HttpBody | undefined): BodyInPieces | undefined {
  if (typeof body !== "object") return undefined;
  if ("pieces" in body) return body;
  return body.length > PIECE_BYTES ? { sizeBytes: body.length, pieces: () => piecesOf(body) } : undefined;
}

function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}

/**
 * The bytes of a body, at most `mostBytes` of them; what is behind these is not read, and its connection given up. `came`: told of each
 * piece, and waited for before the next.
 */
export async function bytesOf(
  body: ClientAnswer["body"],
  mostBytes: number,
  came?: (sizeBytes: number) => Promise<void>,
): Promise<{ readonly bytes: Uint8Array; readonly isWhole: boolean }> {
  const pieces: Uint8Array[] = [];
  let left = mostBytes;
  for await (const piece of body) {
    pieces.push(piece.subarray(0, left));
    left -= piece.length;
    if (left < 0) break; // which destroys it
    await came?.(piece.length);
  }
  return { bytes: Buffer.concat(pieces), isWhole: left >= 0 };
}
