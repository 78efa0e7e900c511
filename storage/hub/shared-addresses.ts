import { getEnvironmentData, isMainThread, setEnvironmentData } from "node:worker_threads";
import type { HubFile } from "./hub-api.ts";

/** As plain data, which threads can be given. */
interface SharedAddress {
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly url: string;
  readonly ledFrom: string;
  readonly untilMs: number;
}

const KEY = "deltaworks: signed addresses of the Hub";

/**
 * Where large files are, for the threads that are started after they were found: these need not ask the Hub again, which counts requests.
 * What a thread finds itself it keeps to itself. `key`: Hub and place, at a commit.
 */
export function shareAddress(key: string, { sizeBytes, sha256, address, untilMs }: HubFile): void {
  const { url, ledFrom } = address;
  if (!isMainThread || sha256 === undefined || ledFrom === undefined) return;
  const shared = addresses();
  shared.set(key, { sizeBytes, sha256, url: url.href, ledFrom: ledFrom.href, untilMs });
  setEnvironmentData(KEY, shared);
}

/** What the thread that started this one has found, while it holds. */
export function maybeSharedAddress(key: string): HubFile | undefined {
  const found = isMainThread ? undefined : addresses().get(key);
  if (found === undefined || Date.now() >= found.untilMs) return undefined;
  const { url, ledFrom, ...file } = found;
  const address = { url: new URL(url), headers: {}, ledFrom: new URL(ledFrom) };
  return { ...file, address, oid: undefined, etag: undefined, bytes: undefined };
}

function addresses(): Map<string, SharedAddress> {
  const shared: unknown = getEnvironmentData(KEY);
  return shared instanceof Map ? (shared as Map<string, SharedAddress>) : new Map();
}
