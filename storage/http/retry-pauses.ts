const PAUSE_MAX_MS = 20_000;
/** Limits of the Hub are counted over 5 minutes. */
const ASKED_WAIT_MAX_MS = 310_000;

/** Drawn from all of the time ("full jitter"): many who were refused at once do not come back at once. `tries`: how often it failed. */
export function backoffMs(firstMs: number, tries: number): number {
  return Math.random() * Math.min(PAUSE_MAX_MS, firstMs * 2 ** (tries - 1));
}

/**
 * How long a server asks to be left alone: Retry-After as seconds or a date, `t` of RateLimit where nothing remains. 0 where it does not
 * ask; undefined where it asks for more than anybody would wait.
 */
export function askedWaitMs(headers: ReadonlyMap<string, string>, nowMs = Date.now()): number | undefined {
  const waitMs = retryAfterMs(headers.get("retry-after"), nowMs) ?? rateLimitMs(headers.get("ratelimit")) ?? 0;
  return waitMs > ASKED_WAIT_MAX_MS ? undefined : waitMs;
}

function retryAfterMs(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}

/** `"resolvers";r=0;t=123`: nothing remains for 123 s. */
function rateLimitMs(text: string | undefined): number | undefined {
  const [, remaining, seconds] = /;\s*r=(\d+)\s*;\s*t=(\d{1,9})/.exec(text ?? "") ?? [];
  return remaining === undefined || Number(remaining) > 0 ? undefined : Number(seconds) * 1000;
}
