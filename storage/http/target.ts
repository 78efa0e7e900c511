import type { Place } from "../place.ts";

/** Something that is read by HTTP: a file, whatever address it has at the moment. One object for one file, for as long as it is read. */
export interface HttpTarget {
  /** How errors and logs call it. Never with a query or a password: addresses may be signed, and are secrets then. */
  readonly place: Place;
  /** The state that is meant, once it is known: an answer from another one is refused with `storage/changed`. */
  readonly state?: HttpState | undefined;
  /**
   * Where it is asked for. Called before every try, so it should keep what it gives for as long as that holds. `refused`: what it gave last
   * was answered 401 or 403 (or `meaningOf` said so): give another one, of an address that is signed anew, say; the same object where there
   * is no other.
   */
  address(refused?: HttpAddress): HttpAddress | Promise<HttpAddress>;
  /** What this store means by an answer that is neither 2xx nor 3xx, where that is not what HTTP means by it. */
  meaningOf?(status: number, message: string): AnswerMeaning | undefined;
}

/** `refused`: by a key or signature that another may replace. `throttled`, `passing`: the same question later may succeed. */
export type AnswerMeaning = "refused" | "throttled" | "passing" | "final";

export interface HttpAddress {
  readonly url: URL;
  /** Names in small letters; sent to this address alone, and not where it redirects to on another host. */
  readonly headers: Readonly<Record<string, string>>;
  /** Of an address that a server gave: which one it was asked at. A private address is taken from a private one alone. */
  readonly ledFrom?: URL | undefined;
}

/** What tells two states of a file apart. */
export interface HttpState {
  readonly sizeBytes: number;
  /** With its quotes, as it came. */
  readonly etag?: string | undefined;
  readonly lastModified?: string | undefined;
}

/** "W/" before it: equal in meaning, and not in every byte; servers refuse it as a condition. */
export function isStrong(etag: string | undefined): etag is string {
  return etag?.startsWith('"') ?? false;
}

/** Headers by which an answer from another state is not even begun, where the server knows them. */
export function conditionsFor(state: HttpState | undefined): Record<string, string> {
  if (state === undefined) return {};
  if (isStrong(state.etag)) return { "if-match": state.etag };
  return state.lastModified === undefined ? {} : { "if-unmodified-since": state.lastModified };
}

/** How an answer shows that it comes from another state; undefined: by nothing. `totalBytes`: of the whole file, by the answer. */
export function maybeDifference(
  state: HttpState | undefined,
  headers: ReadonlyMap<string, string>,
  totalBytes: number | undefined,
): string | undefined {
  if (state === undefined) return undefined;
  if (totalBytes !== undefined && totalBytes !== state.sizeBytes)
    return `size ${state.sizeBytes} → ${totalBytes} bytes`;
  const etag = headers.get("etag");
  if (state.etag !== undefined && etag !== undefined)
    return etag === state.etag ? undefined : `ETag ${state.etag} → ${etag}`;
  const lastModified = headers.get("last-modified");
  if (state.lastModified === undefined || lastModified === undefined || lastModified === state.lastModified)
    return undefined;
  return `Last-Modified ${state.lastModified} → ${lastModified}`;
}
