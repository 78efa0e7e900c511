/** Times that a coordinator fixes for its workers. */
export interface LeaseTimes {
  /** A lease that is not renewed for this long lapses. */
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  /** Longest that one I/O call may take. */
  readonly ioTimeoutMs: number;
}

/** Some may get lost. */
const HEARTBEATS_PER_LEASE = 6;

export function heartbeatFor(leaseMs: number): number {
  return Math.ceil(leaseMs / HEARTBEATS_PER_LEASE);
}

/**
 * Longest I/O timeout that goes with a lease. A worker begins no call that could end after its lease. A heartbeat renews that, counted from
 * when it was sent; it is answered before the next one is, so that what is left of a lease is never less than this.
 */
export function ioTimeoutMax({ leaseMs, heartbeatMs }: Pick<LeaseTimes, "leaseMs" | "heartbeatMs">): number {
  return leaseMs - 2 * heartbeatMs;
}

/** Shortest lease that goes with an I/O timeout, in whole seconds. */
export function leaseMin(ioTimeoutMs: number): number {
  let leaseMs = Math.max(1000, Math.ceil((ioTimeoutMs * 1.5) / 1000) * 1000);
  while (ioTimeoutMax({ leaseMs, heartbeatMs: heartbeatFor(leaseMs) }) < ioTimeoutMs) leaseMs += 1000;
  return leaseMs;
}
