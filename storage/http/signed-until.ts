/** A signed address is asked for anew so long before it ends: clocks differ, and what is begun must be answered. */
const MARGIN_MS = 60_000;
/** Of an address that does not say how long it is good: less than any that is known. */
const UNKNOWN_MS = 15 * 60_000;

/**
 * Until when a signed address is used, by the same clock as `nowMs` (since the epoch): as S3 (X-Amz-Date, X-Amz-Expires), CloudFront and
 * others (Expires, in seconds since the epoch; a Policy) say it. One that is good for a short time is used for half of that.
 */
export function signedUntilMs(url: URL, nowMs: number): number {
  const lastsMs = (maybeExpiry(url, nowMs) ?? nowMs + UNKNOWN_MS) - nowMs;
  return nowMs + Math.max(lastsMs - MARGIN_MS, lastsMs / 2);
}

function maybeExpiry({ searchParams }: URL, nowMs: number): number | undefined {
  const lasting = secondsIn(searchParams.get("X-Amz-Expires"));
  // By this machine's clock: how long it lasts is known, and the server's clock is another.
  if (lasting !== undefined) return nowMs + lasting * 1000;
  const at = secondsIn(searchParams.get("Expires")) ?? maybePolicyEnd(searchParams.get("Policy"));
  return at === undefined ? undefined : at * 1000;
}

function secondsIn(text: string | null): number | undefined {
  return text !== null && /^\d{1,12}$/.test(text) ? Number(text) : undefined;
}

/** CloudFront's policies are base64 with other letters for those that mean something in a query. */
function maybePolicyEnd(policy: string | null): number | undefined {
  if (policy === null) return undefined;
  const base64 = policy.replaceAll("-", "+").replaceAll("_", "=").replaceAll("~", "/");
  const found = /"AWS:EpochTime"\s*:\s*(\d{1,12})/.exec(Buffer.from(base64, "base64").toString("latin1"))?.[1];
  return found === undefined ? undefined : Number(found);
}
