import { type CertifiedIdentity, renewAtMs } from "../trust/index.ts";

/** The clock is looked at so often at least: it may be set, and a machine may have slept. */
const LOOK_MS = 600_000;
/** What failed is tried so often, and oftener where little time is left. */
const RETRY_MS = 30_000;
const RETRIES_LEFT = 10;

export interface RenewalOptions {
  /** The certificate in use. */
  readonly current: () => CertifiedIdentity;
  /** Gets the next certificate and takes it into use, so that `current` is that. */
  readonly renew: () => Promise<void>;
  readonly onFailure: (error: unknown) => void;
  readonly now?: () => number;
}

/** How long to wait before the next look. 0: renew now. */
export function renewalWaitMs(identity: CertifiedIdentity, nowMs: number): number {
  return Math.max(0, Math.min(LOOK_MS, renewAtMs(identity) - nowMs));
}

/** How long to wait after a failure. */
export function retryWaitMs({ notAfterMs }: CertifiedIdentity, nowMs: number): number {
  return Math.max(1000, Math.min(RETRY_MS, (notAfterMs - nowMs) / RETRIES_LEFT));
}

/**
 * Renews a certificate after two thirds of its time, again and again; what fails is tried at least every 30 s. Returns what ends
 * it. Its timers keep no process up.
 */
export function keepRenewed({ current, renew, onFailure, now = Date.now }: RenewalOptions): () => void {
  let timer: NodeJS.Timeout;
  let ended = false;
  const after = (ms: number) => {
    if (ended) return;
    timer = setTimeout(() => {
      look().then(after, (error: unknown) => {
        onFailure(error);
        after(retryWaitMs(current(), now()));
      });
    }, ms);
    timer.unref();
  };
  /** When to look again. */
  const look = async (): Promise<number> => {
    const waitMs = renewalWaitMs(current(), now());
    if (waitMs > 0) return waitMs;
    await renew();
    return Math.max(1000, renewalWaitMs(current(), now()));
  };
  after(0);
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}
