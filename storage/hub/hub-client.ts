import type { StorageError } from "../errors.ts";
import type { HttpAnswer } from "../http/http-errors.ts";
import type { HttpQuestion, HttpRanges } from "../http/http-ranges.ts";
import type { HttpTarget } from "../http/target.ts";
import type { Place } from "../place.ts";
import type { Source } from "../port.ts";
import { hubError, isUnclear, noHubError, offlineError } from "./hub-errors.ts";
import {
  DEFAULT_ENDPOINT,
  type Environment,
  type HubToken,
  hubEndpoint,
  isHubOffline,
  maybeHubToken,
} from "./hub-settings.ts";

/** Who is asked about, for errors. */
export interface HubAsked {
  readonly id: string;
  readonly revision: string | undefined;
  /** As it was asked for. */
  readonly place: Place;
  /** Of what is put there, and not read. */
  readonly isWriting?: boolean;
}

export interface HubQuestion {
  /** GET, if it is not said. */
  readonly method?: HttpQuestion["method"];
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** As of `HttpQuestion`. */
  readonly isOnce?: boolean;
  readonly patienceMs?: number;
}

/** Answers about a repository; a page of a thousand entries has some 300 KB. */
const ANSWER_MAX_BYTES = 32 * 2 ** 20;
const REDIRECTS_MAX = 5;

/**
 * Asks the Hub, with the token where there is one. The token goes to the Hub's own origin and nowhere else; it stands in no error.
 * Everything throws StorageError: `storage/hub-…` where the Hub refuses, and what `HttpRanges` throws.
 */
export class HubClient {
  readonly #http: HttpRanges;
  readonly #files: Source;
  readonly #environment: Environment;
  readonly endpoint: URL;
  #token: Promise<HubToken | undefined> | undefined;

  /** `files`: where the token may lie. @throws StorageError `storage/hub-settings` */
  constructor(http: HttpRanges, files: Source, environment: Environment) {
    this.#http = http;
    this.#files = files;
    this.#environment = environment;
    this.endpoint = hubEndpoint(environment);
  }

  /** The answer 200 of the Hub, to which a model that was renamed may lead. `path`: begins with "/". */
  async given(action: string, asked: HubAsked, path: string, question: HubQuestion = {}): Promise<HttpAnswer> {
    const answer = await this.answered(action, asked, path, question);
    if (answer.status === 200) return answer;
    throw await this.refused(action, asked, answer);
  }

  /** As `given`, whatever the Hub says. */
  async answered(action: string, asked: HubAsked, path: string, question: HubQuestion = {}): Promise<HttpAnswer> {
    let url = this.url(path);
    for (let redirects = 0; ; redirects++) {
      const answer = await this.ask(action, asked.place, url, question);
      const { status, headers } = answer;
      const location = headers.get("location");
      if (status < 300 || status >= 400 || location === undefined) return answer;
      // Of a model that was renamed; whoever sends elsewhere is no Hub.
      const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
      if (next?.origin !== this.endpoint.origin || redirects >= REDIRECTS_MAX)
        throw noHubError(asked.place, this.endpoint, "leads elsewhere");
      url = next;
    }
  }

  /** Once, whatever comes. `url`: of the Hub's own origin. */
  async ask(action: string, place: Place, url: URL, question: HubQuestion): Promise<HttpAnswer> {
    if (isHubOffline(this.#environment)) throw offlineError(action, place);
    const { method = "GET", headers, ...more } = question;
    const address = { url, headers: { ...(await this.headers()), ...headers } };
    const target: HttpTarget = { place, address: () => address };
    return this.#http.request(target, { method, limitBytes: ANSWER_MAX_BYTES, redirects: "give", action, ...more });
  }

  /** What a refusal means; where only the token's own standing tells, the Hub is asked about it. */
  async refused(action: string, asked: HubAsked, answer: HttpAnswer): Promise<StorageError> {
    const token = await this.token();
    const refusal = { action, ...asked, endpoint: this.endpoint, token, answer };
    if (!isUnclear(refusal)) return hubError(refusal);
    const who = await this.ask(action, asked.place, this.url("/api/whoami-v2"), {});
    return hubError({ ...refusal, knowsToken: who.status === 200 });
  }

  async headers(): Promise<Record<string, string>> {
    const token = await this.token();
    return token === undefined ? {} : { authorization: `Bearer ${token.secret.reveal()}` };
  }

  token(): Promise<HubToken | undefined> {
    this.#token ??= maybeHubToken(this.#files, this.#environment);
    return this.#token;
  }

  json(place: Place, { body }: HttpAnswer): unknown {
    try {
      return JSON.parse(new TextDecoder().decode(body));
    } catch {
      throw noHubError(place, this.endpoint, "answers with something that is no JSON");
    }
  }

  /** By `Link: <address>; rel="next"`; the token goes with it, so it must be the Hub's. */
  maybeNextPage(place: Place, { headers }: HttpAnswer): string | undefined {
    const next = /<([^>]*)>\s*;\s*rel="?next"?/.exec(headers.get("link") ?? "")?.[1];
    if (next === undefined) return undefined;
    const url = URL.canParse(next, this.endpoint.href) ? new URL(next, this.endpoint) : undefined;
    if (url?.origin === this.endpoint.origin) return `${url.pathname}${url.search}`;
    throw noHubError(place, this.endpoint, "has its next page elsewhere");
  }

  /** An address that the Hub gave of itself. A mirror that passes answers on gives the public Hub's, which is asked at the mirror. */
  own(url: URL): URL {
    return url.origin === DEFAULT_ENDPOINT ? this.url(url.pathname + url.search) : url;
  }

  /** `path` begins with "/"; what stands behind the host in HF_ENDPOINT is kept before it. */
  url(path: string): URL {
    const prefix = this.endpoint.pathname.replace(/\/+$/, "");
    return new URL(path.startsWith(`${prefix}/`) ? path : prefix + path, this.endpoint);
  }
}
