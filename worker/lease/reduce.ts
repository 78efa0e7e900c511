import { type AttemptKey, textOfAttempt } from "../../merge/work/index.ts";
import type { LeaseEffect, LeaseEvent, LeaseEventOf, LeaseEventType } from "./events.ts";
import { type Lease, type LeaseState, mayBeginIo } from "./state.ts";

type Handler<T extends LeaseEventType> = (state: LeaseState, event: LeaseEventOf<T>, out: LeaseEffect[]) => void;

/** The compiler refuses an event without a handler. */
const on: { readonly [T in LeaseEventType]: Handler<T> } = {
  assigned: onAssigned,
  computed: onComputed,
  finished: onFinished,
  "grant-answered": onGrantAnswered,
  "io-began": onIoBegan,
  "io-ended": onIoEnded,
  "write-stopped": onWriteStopped,
  written: onWritten,
  "report-answered": onReportAnswered,
  dropped: onDropped,
  "heartbeat-answered": onHeartbeatAnswered,
  "time-passed": () => {},
  "link-lost": onLinkLost,
  "link-restored": onLinkRestored,
  drain: onDrain,
};

/**
 * What one event does to a worker's leases: a deterministic function of state and event, which changes the state in place.
 *
 * A lease counts from when the worker asked or sent its heartbeat: the coordinator counts from when it answered, which was later, and
 * lends nothing again before that has run out and an I/O timeout with it. So no call may begin that could end after the lease, and none
 * may be under way when it ends.
 */
export function reduceLeases(state: LeaseState, event: LeaseEvent): LeaseEffect[] {
  const out: LeaseEffect[] = [];
  if (state.over) return out;
  state.nowMs = Math.max(state.nowMs, event.nowMs);
  // First of all: a process that was stopped wakes up with whatever comes next.
  if (event.type !== "io-ended") exitIfOutlived(state, out);
  if (state.over) return out;
  const handler = on[event.type] as Handler<LeaseEventType>;
  handler(state, event, out);
  fenceWhatIsNearlyOver(state, out);
  if (state.linked) askAgain(state, out);
  drainOn(state, out);
  return out;
}

function onAssigned(state: LeaseState, { key }: LeaseEventOf<"assigned">, out: LeaseEffect[]): void {
  const text = textOfAttempt(key);
  if (state.leases.has(text)) return;
  if (state.drainUntilMs !== undefined) {
    out.push({ type: "hand-back", keys: [key] });
    return;
  }
  const never = Number.NEGATIVE_INFINITY;
  state.leases.set(text, { key, step: "computing", askAgainMs: never, writeUntilMs: never, hadGrant: false });
  out.push({ type: "compute", key });
}

function onComputed(state: LeaseState, { key, sha256 }: LeaseEventOf<"computed">, out: LeaseEffect[]): void {
  const lease = state.leases.get(textOfAttempt(key));
  if (lease?.step !== "computing") {
    if (lease === undefined) out.push({ type: "drop", key });
    return;
  }
  lease.sha256 = sha256;
  offer(lease, state.nowMs);
}

/** Asked for as soon as there is a link. */
function offer(lease: Lease, atMs: number): void {
  lease.step = "offered";
  lease.askAgainMs = atMs;
}

function onFinished(state: LeaseState, { key }: LeaseEventOf<"finished">): void {
  const lease = state.leases.get(textOfAttempt(key));
  if (lease === undefined || lease.step === "leaving") return;
  lease.step = "reporting";
  lease.askAgainMs = state.nowMs;
}

function onGrantAnswered(state: LeaseState, event: LeaseEventOf<"grant-answered">, out: LeaseEffect[]): void {
  const lease = state.leases.get(textOfAttempt(event.key));
  // What the worker said it is writing, when it attached, must stay true: whoever leads since then relies on it.
  if (lease?.step !== "asked" || !state.linked || event.askedMs < state.linkedSinceMs) return;
  if (event.answer === "refused") return giveUp(state, lease, out);
  if (event.answer === "later") return offer(lease, state.nowMs + state.rules.laterMs);
  lease.writeUntilMs = Math.max(lease.writeUntilMs, event.askedMs + state.rules.leaseMs);
  lease.step = "granted";
  lease.hadGrant = true;
  // The answer may have come so late that there is no time left: then it asks again.
  if (mayBeginIo(state, lease.key, state.nowMs)) out.push({ type: "write", key: lease.key });
}

function onIoBegan(state: LeaseState, { key, nowMs }: LeaseEventOf<"io-began">): void {
  const lease = state.leases.get(textOfAttempt(key));
  if (lease?.step === "granted") lease.ioSinceMs = nowMs;
}

function onIoEnded(state: LeaseState, { key }: LeaseEventOf<"io-ended">, out: LeaseEffect[]): void {
  const lease = state.leases.get(textOfAttempt(key));
  if (lease === undefined) return;
  delete lease.ioSinceMs;
  if (lease.step === "leaving") leave(state, lease, out);
}

/** A renewed lease alone would not begin it again: whoever gave up waits for a grant. */
function onWriteStopped(state: LeaseState, { key }: LeaseEventOf<"write-stopped">): void {
  const lease = state.leases.get(textOfAttempt(key));
  if (lease?.step === "granted") offer(lease, state.nowMs);
}

function onWritten(state: LeaseState, { key }: LeaseEventOf<"written">): void {
  const lease = state.leases.get(textOfAttempt(key));
  if (lease?.step !== "granted") return;
  lease.step = "reporting";
  lease.askAgainMs = state.nowMs;
}

function onReportAnswered(state: LeaseState, { key }: LeaseEventOf<"report-answered">, out: LeaseEffect[]): void {
  const lease = state.leases.get(textOfAttempt(key));
  if (lease?.step === "reporting") forget(state, lease, out);
}

function onDropped(state: LeaseState, { keys }: LeaseEventOf<"dropped">, out: LeaseEffect[]): void {
  for (const key of keys) {
    const lease = state.leases.get(textOfAttempt(key));
    if (lease !== undefined) giveUp(state, lease, out);
  }
}

function onHeartbeatAnswered(state: LeaseState, event: LeaseEventOf<"heartbeat-answered">, out: LeaseEffect[]): void {
  const dropped = new Set(event.dropped.map(textOfAttempt));
  for (const key of event.renewed) {
    const lease = state.leases.get(textOfAttempt(key));
    // Of a lease that never had a grant nothing may be written however often it is renewed.
    if (lease === undefined || lease.step !== "granted" || dropped.has(textOfAttempt(key))) continue;
    lease.writeUntilMs = Math.max(lease.writeUntilMs, event.sentMs + state.rules.leaseMs);
  }
  onDropped(state, { type: "dropped", keys: event.dropped, nowMs: event.nowMs }, out);
}

/** Leases run on: the coordinator may be there again in a moment. */
function onLinkLost(state: LeaseState): void {
  state.linked = false;
}

/** Questions and reports that were under way may be lost: they are sent again. */
function onLinkRestored(state: LeaseState, event: LeaseEventOf<"link-restored">, out: LeaseEffect[]): void {
  state.linked = true;
  state.linkedSinceMs = state.nowMs;
  onDropped(state, { type: "dropped", keys: event.dropped, nowMs: event.nowMs }, out);
  for (const lease of state.leases.values()) {
    if (lease.step === "asked") offer(lease, state.nowMs);
    else if (lease.step === "reporting") lease.askAgainMs = state.nowMs;
  }
}

function onDrain(state: LeaseState, event: LeaseEventOf<"drain">, out: LeaseEffect[]): void {
  state.drainUntilMs ??= state.nowMs + event.graceMs;
  onDropped(state, { type: "dropped", keys: event.waiting, nowMs: event.nowMs }, out);
  if (event.waiting.length > 0) out.push({ type: "hand-back", keys: event.waiting });
}

// ---- what the handlers share

/** Not the worker's any more. The coordinator waits for whoever may write: that nothing is being written is worth a word. */
function giveUp(state: LeaseState, lease: Lease, out: LeaseEffect[]): void {
  if (lease.step === "leaving") return;
  if (lease.step === "granted") out.push({ type: "fence", key: lease.key });
  if (lease.ioSinceMs !== undefined) {
    lease.step = "leaving";
    return;
  }
  if (lease.hadGrant) leave(state, lease, out);
  else forget(state, lease, out);
}

function leave(state: LeaseState, lease: Lease, out: LeaseEffect[]): void {
  out.push({ type: "hand-back", keys: [lease.key] });
  forget(state, lease, out);
}

function forget(state: LeaseState, lease: Lease, out: LeaseEffect[]): void {
  state.leases.delete(textOfAttempt(lease.key));
  out.push({ type: "drop", key: lease.key });
}

/** No call may be under way when its lease ends: nobody knows what it will do, or when. */
function exitIfOutlived(state: LeaseState, out: LeaseEffect[]): void {
  for (const { key, ioSinceMs, writeUntilMs } of state.leases.values()) {
    if (ioSinceMs === undefined || state.nowMs < writeUntilMs) continue;
    state.over = true;
    out.push({ type: "exit", key, sinceMs: ioSinceMs });
    return;
  }
}

/** Stops writing an I/O timeout before the end; a new grant is a new lease, so it asks again. */
function fenceWhatIsNearlyOver(state: LeaseState, out: LeaseEffect[]): void {
  for (const lease of state.leases.values()) {
    if (lease.step !== "granted" || lease.ioSinceMs !== undefined) continue;
    if (mayBeginIo(state, lease.key, state.nowMs)) continue;
    out.push({ type: "fence", key: lease.key });
    offer(lease, state.nowMs);
  }
}

/** Sends what was not sent yet, or not answered. */
function askAgain(state: LeaseState, out: LeaseEffect[]): void {
  for (const lease of state.leases.values()) {
    if (state.nowMs < lease.askAgainMs) continue;
    if (lease.step === "reporting") {
      out.push({ type: "report", key: lease.key });
      lease.askAgainMs = state.nowMs + state.rules.answerMs;
    } else if ((lease.step === "offered" || lease.step === "asked") && lease.sha256 !== undefined) {
      out.push({ type: "ask-grant", key: lease.key, sha256: lease.sha256 });
      lease.step = "asked";
      lease.askAgainMs = state.nowMs + state.rules.answerMs;
    }
  }
}

function drainOn(state: LeaseState, out: LeaseEffect[]): void {
  if (state.drainUntilMs === undefined) return;
  if (state.nowMs >= state.drainUntilMs) {
    const left: AttemptKey[] = [];
    for (const lease of state.leases.values()) {
      if (!lease.hadGrant) left.push(lease.key);
      giveUp(state, lease, out);
    }
    if (left.length > 0) out.push({ type: "hand-back", keys: left });
  }
  if (state.leases.size > 0) return;
  state.over = true;
  out.push({ type: "drained" });
}
