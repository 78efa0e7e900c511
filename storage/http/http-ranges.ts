import * as tls from "node:tls";
import { StorageError } from "../errors.ts";
import { foundOnce } from "../found-once.ts";
import { Bandwidth } from "./bandwidth.ts";
import { type AskingClient, bytesOf, type ClientAnswer, type HttpBody, HttpClient } from "./client.ts";
import {
  answerError,
  changedError,
  type HttpAnswer,
  isPassing,
  meaningOf,
  networkError,
  noRangesError,
  saidIn,
} from "./http-errors.ts";
import { Pace, type PaceLimits } from "./pace.ts";
import { maybeProxyFor } from "./proxies.ts";
import { RacedReads } from "./raced-reads.ts";
import { type Deadlines, RangeConnection, type RangeQuestion } from "./range-connection.ts";
import { checkLiteral, hostOf, lookupWithin, type Reach, reachFrom } from "./reachable.ts";
import { isPlainCoding, maybeContentLength, maybeContentRange, type ResponseHead } from "./response-head.ts";
import { askedWaitMs, backoffMs } from "./retry-pauses.ts";
import { conditionsFor, type HttpAddress, type HttpState, type HttpTarget, maybeDifference } from "./target.ts";

export interface HttpOptions {
  /** Of all hosts together, and as many again for small questions of each. */
  readonly connectionsMax?: number;
  readonly deadlines?: Partial<Deadlines>;
  /** From when on a range is read by a second connection too. */
  readonly pace?: Partial<PaceLimits>;
  /** Most bytes of ranges a second, of all hosts together. Ranges are not raced then. */
  readonly bandwidthBytes?: number | undefined;
  /** The pause before the first repetition is drawn from 0 to this, and from 0 to twice as much before each next one. */
  readonly firstPauseMs?: number;
  /** HTTPS_PROXY, HTTP_PROXY and NO_PROXY count. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Authorities beside those of Node, as PEM. NODE_EXTRA_CA_CERTS counts by itself. */
  readonly ca?: string;
  /** For simulations. */
  readonly seams?: HttpSeams;
}

/** The world, in the place of which a simulation may put another one. */
export interface HttpSeams {
  /** Everything goes by it, ranges too. */
  readonly client: AskingClient;
  readonly pause: (ms: number) => Promise<void>;
}

/** A question that is no range. */
export interface HttpQuestion {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  readonly body?: HttpBody;
  /** Of the answer's body. @throws `storage/too-large` where it is longer */
  readonly limitBytes: number;
  /** "give": an answer 3xx is given as it is. Else redirects of GET and HEAD are followed. */
  readonly redirects?: "follow" | "give";
  /** A verb, for errors: "list". */
  readonly action?: string;
  /** How long the server may keep silent over it, where that is longer than usual. */
  readonly patienceMs?: number;
  /** What an answer means that says otherwise within than by its status; throws of one that is not whole. */
  readonly meant?: (answer: HttpAnswer) => HttpAnswer;
  /** Of what must not be done twice: an answer that did not come, or that says nothing of it, is thrown and not asked for again. */
  readonly isOnce?: boolean;
}

export interface GivenAnswer extends HttpAnswer {
  /** It was asked before, and what became of that is not known: it may have been done. */
  readonly isRepeated: boolean;
}

/** What the beginning of a file tells about all of it. */
export interface HttpBeginning {
  readonly state: HttpState;
  /** As many as were asked for, or all where there are fewer; all in any case of a server without ranges, up to `WHOLE_MAX_BYTES`. */
  readonly bytes: Uint8Array;
  /** Whether the server gave a range, or the whole: of that no other range can be read. */
  readonly hasRanges: boolean;
  readonly headers: ReadonlyMap<string, string>;
}

export const CONNECTIONS_MAX = 16;
/** Of a server that gives no ranges a file is read whole up to this size: configs and tokenizers, and no weights. */
export const WHOLE_MAX_BYTES = 32 * 2 ** 20;

const DEADLINES: Deadlines = { connectMs: 10_000, headMs: 30_000, stallMs: 20_000 };
const FIRST_PAUSE_MS = 200;
const TRIES = 4;
/** A server that asks for patience gets more of it. */
const THROTTLED_TRIES = 8;
const REDIRECTS_MAX = 5;
const MESSAGE_MAX_BYTES = 64 * 2 ** 10;

type WantedRange = Pick<RangeQuestion, "offsetBytes" | "into" | "isSteady">;

type Outcome<R> = { readonly result: R } | { readonly answer: HttpAnswer };

/**
 * Reads ranges of what is behind HTTP(S), and asks small questions besides. One for a process or thread, shared by its stores.
 *
 * - Ranges come by connections of its own that are kept open (`RangeConnection`: a fifth of the processor time of any HTTP library), at most
 *   16 by default; what these do not understand, and everything behind a proxy, by undici.
 * - An answer counts if it is 206 and holds just the range that was asked for, unpacked, of the state that is meant (If-Match, and the
 *   answer's own ETag, Last-Modified and size). Of small files a whole one (200) does too.
 * - A range that takes three times as long as others did, and two seconds at least, is asked for once more on a new connection beside the
 *   slow one: whichever is done first is taken. By a proxy it is not.
 * - What may pass is asked again on a new connection, 4 times in all with growing, drawn pauses: broken connections, deadlines, 408, 421,
 *   425, 500, 502, 504. After 429 and 503 up to 8 times; Retry-After and RateLimit are kept to, by all questions to that host.
 * - Redirects are followed (5 at most), without the address's headers where they lead to another host, never from https to http, never to
 *   the metadata service of a cloud, and to a private address from a private one alone. Where a target's ranges were redirected to is
 *   kept, until that refuses (401, 403, 404, 410): then the target's own address is asked again.
 * - Addresses may be signed: errors name the target's place and the host, and nothing else of an address.
 *
 * Everything throws StorageError: `storage/network` (retryable where it may pass), `storage/denied`, `storage/not-found`,
 * `storage/changed`, `storage/short-read`, `storage/no-ranges`, `storage/too-large`.
 */
export class HttpRanges {
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #deadlines: Deadlines;
  readonly #firstPauseMs: number;
  readonly #reads: RacedReads;
  readonly #bandwidth: Bandwidth | undefined;
  readonly #client: AskingClient;
  readonly #pause: (ms: number) => Promise<void>;
  /** No ranges go by connections of our own. */
  readonly #isByClient: boolean;
  /** Made when it is needed first: for authorities of one's own, beside a hundred others, that takes 60 ms of processor time. */
  readonly #secureContext: () => tls.SecureContext;
  /** Where ranges of a target are, if that is not where it says. */
  readonly #redirected = new WeakMap<HttpTarget, HttpAddress>();
  readonly #reaches = new Map<string, Promise<Reach>>();
  /** Hosts whose ranges `RangeConnection` does not understand. */
  readonly #unusual = new Set<string>();
  /**
   * Hosts that refuse the time that they tell themselves: it is a whole second, and they compare it with a part of one. Their answers are
   * compared alone.
   */
  readonly #timeless = new Set<string>();
  /** Hosts that asked for patience, and until when. */
  readonly #notBefore = new Map<string, number>();

  constructor(options: HttpOptions = {}) {
    const { connectionsMax = CONNECTIONS_MAX, bandwidthBytes } = options;
    const { ca } = options;
    let secureContext: tls.SecureContext | undefined;
    this.#secureContext = () => {
      secureContext ??= tls.createSecureContext(ca === undefined ? {} : { ca: [...tls.rootCertificates, ca] });
      return secureContext;
    };
    this.#environment = options.environment ?? process.env;
    this.#deadlines = { ...DEADLINES, ...options.deadlines };
    this.#firstPauseMs = options.firstPauseMs ?? FIRST_PAUSE_MS;
    this.#reads = new RacedReads(connectionsMax, bandwidthBytes === undefined ? new Pace(options.pace) : undefined);
    this.#bandwidth = bandwidthBytes === undefined ? undefined : new Bandwidth(bandwidthBytes);
    const sending = bandwidthBytes === undefined ? undefined : new Bandwidth(bandwidthBytes);
    const ofClient = ca === undefined ? undefined : this.#secureContext;
    this.#client = options.seams?.client ?? new HttpClient(this.#deadlines, connectionsMax, ofClient, sending);
    this.#pause = options.seams?.pause ?? pause;
    this.#isByClient = options.seams !== undefined;
  }

  /**
   * Fills `into` from `offsetBytes`, all of it. The caller owns `into`, which may be a view of WebAssembly memory that does not grow before
   * the promise settles: it is written to by copies alone, but where it is "steady", and no more once the promise is settled.
   */
  async read(target: HttpTarget, offsetBytes: number, into: Uint8Array, memory?: "steady"): Promise<void> {
    if (into.length === 0) return;
    const range = { offsetBytes, into, isSteady: memory === "steady" };
    await this.#persist("read", target, async (address) => {
      const { host } = address.url;
      // Before it is asked: others may find out meanwhile.
      const isByTime = "if-unmodified-since" in this.#conditionsFor(target, host);
      const outcome = await this.#readOnce(target, address, range);
      if (!("answer" in outcome) || outcome.answer.status !== 412 || !isByTime) return outcome;
      this.#timeless.add(host);
      return this.#readOnce(target, address, range);
    });
  }

  /**
   * The first `bytes` of a file of which nothing is known yet, one at least, and what it is: one request. `target.state` is not looked at.
   * "connection": of one byte, by a connection for ranges; what that does not understand is asked for once more.
   */
  async begin(target: HttpTarget, bytes: number, by: "connection" | "client" = "client"): Promise<HttpBeginning> {
    const wanted = Math.max(1, bytes);
    return this.#persist("open", target, async (address) => {
      const found = bytes === 0 && by === "connection" ? await this.#beginByConnection(target, address) : undefined;
      if (found !== undefined) return found;
      const answer = await this.#ask("GET", address, { ...unpacked, range: `bytes=0-${wanted - 1}` });
      if (answer.status !== 416) return beginningOf(target, answer, wanted);
      // Nothing has no first byte, and S3 does not say more of it: a question without a range does.
      answer.body.destroy();
      return beginningOf(target, await this.#ask("GET", address, unpacked), wanted);
    });
  }

  /**
   * A small question. Gives the last answer whatever its status: 404 and 403 are the caller's to understand (`answerError`).
   * @throws StorageError of what may pass (429, 503, 500 and so on) and did not
   */
  async request(target: HttpTarget, question: HttpQuestion): Promise<GivenAnswer> {
    const { method, body, limitBytes, redirects = "follow", action = "read", isOnce = false } = question;
    const { patienceMs, meant } = question;
    const mayFollow = redirects === "follow" && (method === "GET" || method === "HEAD");
    let isRepeated = false;
    return this.#persist(
      action,
      target,
      async (address) => {
        const mayHaveBeenDone = isRepeated;
        isRepeated = true;
        const answer = await this.#ask(method, address, unpacked, body, patienceMs);
        const { bytes, isWhole } = await bytesOf(answer.body, limitBytes);
        if (!isWhole) throw tooLarge(target, action, limitBytes);
        const plain = { status: answer.status, headers: answer.headers, body: bytes };
        const given = { ...(meant?.(plain) ?? plain), isRepeated: mayHaveBeenDone };
        if (isFinal(target, given, mayFollow)) return { result: given };
        // Who was refused, sent elsewhere or told to wait knows that nothing was done.
        isRepeated = mayHaveBeenDone || (given.status >= 500 && given.status !== 503);
        return { answer: given };
      },
      {
        otherwise: (answer): GivenAnswer => ({ ...answer, isRepeated }),
        ...{ mayFollow, passingTries: isOnce ? 1 : TRIES },
      },
    );
  }

  close(): void {
    this.#reads.close();
    this.#client.close();
  }

  /** Asks until there is a result. `otherwise`: makes one of an answer that would be an error. `mayFollow`: goes where it was led to before. */
  async #persist<R>(
    action: string,
    target: HttpTarget,
    ask: (address: HttpAddress) => Promise<Outcome<R>>,
    {
      otherwise,
      mayFollow = true,
      passingTries = TRIES,
    }: { otherwise?: (answer: HttpAnswer) => R; mayFollow?: boolean; passingTries?: number } = {},
  ): Promise<R> {
    let refused: HttpAddress | undefined;
    let redirects = 0;
    for (let tries = 1; ; ) {
      const led = mayFollow ? this.#redirected.get(target) : undefined;
      const address = led ?? (await target.address(refused));
      const { url } = address;
      await this.#patience(url);
      let outcome: Outcome<R>;
      try {
        outcome = await ask(address);
      } catch (error) {
        if (led !== undefined) {
          this.#redirected.delete(target); // perhaps to a host that has gone
          redirects = 0;
        }
        if (!isPassing(error) || tries++ >= passingTries) throw networkError(target, action, url, error);
        await this.#pause(backoffMs(this.#firstPauseMs, tries - 1));
        continue;
      }
      if ("result" in outcome) return outcome.result;
      const { answer } = outcome;
      if (isRedirect(answer.status)) {
        if (redirects++ >= REDIRECTS_MAX) throw answerError(target, action, url, answer);
        this.#redirected.set(target, redirectedFrom(target, action, address, answer));
        continue;
      }
      const meaning = meaningOf(target, answer.status, saidIn(answer));
      if (led !== undefined && (meaning === "refused" || answer.status === 404 || answer.status === 410)) {
        this.#redirected.delete(target); // a signed address that has expired
        if (tries++ < TRIES) continue;
      }
      if (meaning === "refused" && refused === undefined) {
        refused = address;
        if ((await target.address(refused)) !== address) continue;
      }
      const most = meaning === "throttled" ? THROTTLED_TRIES : passingTries;
      const waitMs = askedWaitMs(answer.headers);
      if ((meaning === "throttled" || meaning === "passing") && waitMs !== undefined && tries++ < most) {
        await this.#pauseAsAsked(url, waitMs, tries - 1, meaning === "throttled");
        continue;
      }
      if (otherwise !== undefined && meaning !== "throttled" && meaning !== "passing") return otherwise(answer);
      throw answerError(target, action, url, answer);
    }
  }

  /** Undefined: of this answer others make more. */
  async #beginByConnection(target: HttpTarget, address: HttpAddress): Promise<Outcome<HttpBeginning> | undefined> {
    if (this.#goesByClient(address.url)) return undefined;
    const bytes = new Uint8Array(1);
    const range = { offsetBytes: 0, into: bytes };
    const { head, isFilled, message } = await this.#readByConnection({ ...target, state: undefined }, address, range);
    const { status, headers } = head;
    const sizeBytes = maybeContentRange(headers.get("content-range"))?.totalBytes;
    if (isFilled && sizeBytes !== undefined)
      return { result: { state: stateIn(headers, sizeBytes), bytes, hasRanges: true, headers } };
    const isAnswer = isRedirect(status) || (status >= 400 && status !== 416 && message !== undefined);
    return isAnswer ? { answer: { status, headers, body: message ?? new Uint8Array() } } : undefined;
  }

  #goesByClient(url: URL): boolean {
    return this.#isByClient || this.#unusual.has(url.host) || this.#proxyFor(url) !== undefined;
  }

  async #readOnce(target: HttpTarget, address: HttpAddress, range: WantedRange): Promise<Outcome<void>> {
    const { url } = address;
    if (this.#goesByClient(url)) return this.#readByClient(target, address, range);
    const { head, isFilled, message } = await this.#readByConnection(target, address, range);
    if (isFilled) return { result: undefined };
    const { status, headers } = head;
    if (status === 206) this.#unusual.add(url.host);
    if (status < 300 || (message === undefined && !isRedirect(status)))
      return this.#readByClient(target, address, range);
    return { answer: { status, headers, body: message ?? new Uint8Array() } };
  }

  async #readByConnection(target: HttpTarget, address: HttpAddress, range: WantedRange) {
    const { url } = address;
    const reach = await this.#reachOf(address);
    checkLiteral(hostOf(url), reach);
    const question = {
      path: `${url.pathname}${url.search}`,
      headers: { host: url.host, ...unpacked, ...this.#conditionsFor(target, url.host), ...address.headers },
      ...range,
      check: (head: ResponseHead) => {
        const total = maybeContentRange(head.headers.get("content-range"))?.totalBytes;
        checkState(target, head.headers, total);
      },
    };
    return this.#reads.read(`${url.protocol}//${url.host} ${reach}`, () => this.#connect(url, reach), question);
  }

  #conditionsFor({ state }: HttpTarget, host: string): Record<string, string> {
    const conditions = conditionsFor(state);
    return "if-unmodified-since" in conditions && this.#timeless.has(host) ? {} : conditions;
  }

  #connect(url: URL, reach: Reach): RangeConnection {
    const isSecure = url.protocol === "https:";
    return new RangeConnection({
      host: hostOf(url),
      port: Number(url.port === "" ? (isSecure ? 443 : 80) : url.port),
      secureContext: isSecure ? this.#secureContext() : undefined,
      lookup: lookupWithin(reach),
      deadlines: this.#deadlines,
      bandwidth: this.#bandwidth,
    });
  }

  async #readByClient(
    target: HttpTarget,
    address: HttpAddress,
    { offsetBytes, into }: WantedRange,
  ): Promise<Outcome<void>> {
    const range = `bytes=${offsetBytes}-${offsetBytes + into.length - 1}`;
    const conditions = this.#conditionsFor(target, address.url.host);
    const answer = await this.#ask("GET", address, { ...unpacked, ...conditions, range });
    if (answer.status !== 200 && answer.status !== 206) return { answer: await withMessage(answer) };
    const given = maybeContentRange(answer.headers.get("content-range"));
    const total = answer.status === 200 ? maybeContentLength(answer) : given?.totalBytes;
    const isExact = given?.firstByte === offsetBytes && given.lastByte === offsetBytes + into.length - 1;
    const skip = answer.status === 200 ? offsetBytes : 0;
    try {
      checkState(target, answer.headers, total);
      checkCoding(target, answer);
      if (answer.status === 206 && !isExact) {
        const shown = answer.headers.get("content-range") ?? "none";
        throw noRangesError(target, "read", `of ${range} the server gives Content-Range ${shown}`);
      }
      if (skip + into.length > WHOLE_MAX_BYTES && answer.status === 200)
        throw noRangesError(target, "read", `of ${range} the server gives the whole file (200 and not 206)`);
    } catch (error) {
      answer.body.destroy();
      throw error;
    }
    const wantedBytes = skip + into.length;
    const { bytes } = await bytesOf(answer.body, wantedBytes, async (came) => {
      const waitMs = this.#bandwidth?.take(came) ?? 0;
      if (waitMs > 0) await this.#pause(waitMs);
    });
    if (bytes.length < wantedBytes) throw new Error(`the answer ends after ${bytes.length} of ${wantedBytes} bytes`);
    into.set(bytes.subarray(skip));
    return { result: undefined };
  }

  async #ask(
    method: string,
    address: HttpAddress,
    headers: Readonly<Record<string, string>>,
    body?: HttpBody,
    patienceMs?: number,
  ): Promise<ClientAnswer> {
    const { url } = address;
    return this.#client.ask({
      method,
      url,
      headers: { ...headers, ...address.headers },
      body,
      patienceMs,
      reach: await this.#reachOf(address),
      proxy: this.#proxyFor(url),
    });
  }

  #proxyFor(url: URL): string | undefined {
    return maybeProxyFor(url, this.#environment);
  }

  /** What somebody named may be anywhere; what a server led to, no nearer than that server. */
  async #reachOf({ ledFrom }: HttpAddress): Promise<Reach> {
    if (ledFrom === undefined) return "private";
    if (this.#proxyFor(ledFrom) !== undefined) return "public";
    return foundOnce(this.#reaches, ledFrom.host, () => reachFrom(ledFrom));
  }

  async #patience({ host }: URL): Promise<void> {
    const leftMs = (this.#notBefore.get(host) ?? 0) - performance.now();
    if (leftMs > 0) await this.#pause(leftMs);
  }

  async #pauseAsAsked({ host }: URL, askedMs: number, tries: number, isThrottled: boolean): Promise<void> {
    if (askedMs > 0) this.#notBefore.set(host, performance.now() + askedMs);
    await this.#pause(askedMs + backoffMs(isThrottled ? 5 * this.#firstPauseMs : this.#firstPauseMs, tries));
  }
}

/** Bytes are wanted as they are stored. */
const unpacked = { "accept-encoding": "identity" };

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

/** Whether a small question is answered for good. */
function isFinal(target: HttpTarget, answer: HttpAnswer, mayFollow: boolean): boolean {
  const { status, headers } = answer;
  if (status < 300) return true;
  if (status < 400) return !(mayFollow && isRedirect(status) && headers.has("location"));
  return meaningOf(target, status, saidIn(answer)) === "final";
}

/** Credentials stay where they were given for. */
function redirectedFrom(target: HttpTarget, action: string, from: HttpAddress, answer: HttpAnswer): HttpAddress {
  const location = answer.headers.get("location") ?? "";
  const url = maybeUrl(location, from.url);
  const isSafe = url?.protocol === "https:" || (url?.protocol === "http:" && from.url.protocol === "http:");
  if (url === undefined || !isSafe || url.username !== "" || url.password !== "") {
    const where = url === undefined ? "to no address" : `to ${url.protocol}//${url.host}`;
    throw new StorageError(
      "storage/denied",
      `cannot ${action} ${target.place}: ${from.url.host} redirects ${where}, which is not followed`,
      { hint: "Check the address: from https nothing leads to http, and a redirect holds no password." },
    );
  }
  const isSameOrigin = url.origin === from.url.origin;
  return { url, headers: isSameOrigin ? from.headers : {}, ledFrom: from.ledFrom ?? from.url };
}

function maybeUrl(text: string, base: URL): URL | undefined {
  try {
    return new URL(text, base);
  } catch {
    return undefined;
  }
}

function checkState(target: HttpTarget, headers: ReadonlyMap<string, string>, totalBytes: number | undefined): void {
  const difference = maybeDifference(target.state, headers, totalBytes);
  if (difference !== undefined) throw changedError(target, "read", difference);
}

function checkCoding(target: HttpTarget, answer: ClientAnswer): void {
  if (isPlainCoding(answer)) return;
  const coding = answer.headers.get("content-encoding") ?? "";
  throw noRangesError(target, "read", `the server, or a proxy, packs it (Content-Encoding ${coding})`);
}

async function withMessage(answer: ClientAnswer): Promise<HttpAnswer> {
  const { bytes } = await bytesOf(answer.body, MESSAGE_MAX_BYTES);
  return { status: answer.status, headers: answer.headers, body: bytes };
}

function stateIn(headers: ReadonlyMap<string, string>, sizeBytes: number): HttpState {
  return { sizeBytes, etag: headers.get("etag"), lastModified: headers.get("last-modified") };
}

async function beginningOf(target: HttpTarget, answer: ClientAnswer, wanted: number): Promise<Outcome<HttpBeginning>> {
  const { status, headers } = answer;
  if (status !== 200 && status !== 206) return { answer: await withMessage(answer) };
  try {
    checkCoding(target, answer);
    if (status === 200) return { result: await wholeOf(target, answer, wanted) };
    const given = maybeContentRange(headers.get("content-range"));
    const sizeBytes = given?.totalBytes;
    if (given === undefined || sizeBytes === undefined || given.firstByte !== 0 || given.lastByte >= wanted) {
      const shown = headers.get("content-range") ?? "none";
      throw noRangesError(target, "open", `of the first ${wanted} bytes the server gives Content-Range ${shown}`);
    }
    const { bytes } = await bytesOf(answer.body, wanted);
    const expected = Math.min(wanted, sizeBytes);
    if (bytes.length < expected) throw new Error(`the answer ends after ${bytes.length} of ${expected} bytes`);
    return { result: { state: stateIn(headers, sizeBytes), bytes, hasRanges: true, headers } };
  } finally {
    answer.body.destroy();
  }
}

/** Of a server that gives no ranges: the whole file if it is small, else as much as was asked for. */
async function wholeOf(target: HttpTarget, answer: ClientAnswer, wanted: number): Promise<HttpBeginning> {
  const { headers } = answer;
  const told = maybeContentLength(answer);
  const { bytes, isWhole } = await bytesOf(answer.body, (told ?? 0) > WHOLE_MAX_BYTES ? wanted : WHOLE_MAX_BYTES);
  if (told === undefined && !isWhole) throw tooLarge(target, "open", WHOLE_MAX_BYTES);
  if (told !== undefined && isWhole && bytes.length < told)
    throw new Error(`the answer ends after ${bytes.length} of ${told} bytes`);
  return { state: stateIn(headers, told ?? bytes.length), bytes, hasRanges: false, headers };
}

function tooLarge(target: HttpTarget, action: string, limitBytes: number): StorageError {
  return new StorageError(
    "storage/too-large",
    `cannot ${action} ${target.place}: the answer has more than the ${limitBytes} bytes that are allowed`,
    { hint: "Check the address: it may be another file, or a page." },
  );
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
