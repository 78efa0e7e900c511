import type { Counter } from "../coordinator/core/index.ts";
import type { JobRecord } from "../coordinator/queue/index.ts";
import type { Failure, Json } from "../merge/work/index.ts";
import type { ServedJob } from "./served-job.ts";

/** Names for those who watch: they stay, whatever the core calls it. */
const counterNames: Readonly<Record<Counter, string>> = {
  "stale-report": "stale_reports_total",
  "refused-report": "refused_reports_total",
  "lapsed-lease": "lapsed_leases_total",
  "failed-attempt": "failed_attempts_total",
  "lost-slice": "lost_slices_total",
  "second-attempt": "second_attempts_total",
  audit: "audits_total",
  "audit-skipped": "audits_skipped_total",
  dispute: "disputes_total",
  "handed-back": "handed_back_total",
  "worker-set-aside": "workers_set_aside_total",
  "granted-early": "early_grants_total",
};

export type Counts = { readonly [name: string]: number };

export function countsOf({ counters, stalls }: Pick<ServedJob, "counters" | "stalls">): Counts {
  const all = Object.entries(counterNames).map(([counter, name]) => [name, counters.get(counter as Counter) ?? 0]);
  return { ...Object.fromEntries(all), stalls_total: stalls };
}

/** What a record says beside its state: how far the job was, and how it ended. */
export interface Detail {
  readonly endedAtMs?: number;
  readonly slices?: number;
  readonly slicesDone?: number;
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
  readonly cause?: Failure;
  /** What the job is tried again after. */
  readonly waits?: Failure;
  /** Of its last run. */
  readonly counters?: Counts;
  readonly warnings?: readonly string[];
}

/** A record must stay as small as NATS takes it, whatever happened to a job. */
const WARNINGS_LENGTH_MAX = 32 * 1024;
const CAUSE_LENGTH_MAX = 16 * 1024;

/** Of warnings those that a record has room for, the first. */
export function keptWarnings(warnings: readonly string[]): readonly string[] {
  let length = 0;
  return warnings.filter((text) => {
    length += text.length;
    return length <= WARNINGS_LENGTH_MAX;
  });
}

function keptFailure(failure: Failure): Json {
  const { message } = failure;
  return {
    ...failure,
    message: message.length > CAUSE_LENGTH_MAX ? `${message.slice(0, CAUSE_LENGTH_MAX)}…` : message,
  };
}

/** How far a job is, for those who ask while it waits for its next coordinator. */
export function detailOfRun(job: ServedJob): { readonly [name: string]: Json } {
  const { bytesRead = 0, bytesWritten = 0, slicesDone = 0 } = job.progressNow ?? {};
  const told = { counters: countsOf(job), warnings: keptWarnings(job.warnings) };
  return { slices: job.plan?.slices ?? 0, slicesDone, bytesRead, bytesWritten, ...told };
}

/** And while it runs, for those who ask another coordinator. */
export function detailWhileRunning(job: ServedJob): Json {
  const { phase, paused, stalled } = job.progressNow ?? {};
  const run = {
    claims: job.record.claims,
    ...(phase === undefined ? {} : { phase }),
    ...(paused === undefined ? {} : { paused: keptFailure(paused) }),
    ...(stalled === undefined ? {} : { stalled: keptFailure(stalled) }),
  };
  return { ...detailOfRun(job), run };
}

/** What the coordinator that has the job noted last; nothing that was noted of an earlier claim. */
export function runIn({ state, claims, detail }: JobRecord) {
  const run = objectOf(objectOf(detail).run);
  if (state !== "claimed" || run.claims !== claims) return undefined;
  const phase = typeof run.phase === "string" ? run.phase : undefined;
  return { phase, paused: failureIn(run.paused), stalled: failureIn(run.stalled) };
}

/** And how it ended; `job`: absent where it never ran. */
export function detailOfEnd(job: ServedJob | undefined, cause: Failure | undefined): Json {
  return {
    ...(job === undefined ? {} : detailOfRun(job)),
    endedAtMs: Date.now(),
    ...(cause === undefined ? {} : { cause: keptFailure(cause) }),
  };
}

/** The detail of a job that is given back to the queue, because of something that may pass by itself. */
export function waitingFor(detail: Json | undefined, failure: Failure): Json {
  return { ...objectOf(detail), waits: keptFailure(failure) };
}

/** As a coordinator wrote it, of another version maybe: what is not as it should be is left out, and the job is still told of. */
export function detailOf(detail: Json | undefined): Detail {
  const fields = objectOf(detail);
  const [cause, waits] = [failureIn(fields.cause), failureIn(fields.waits)];
  return {
    ...Object.fromEntries(COUNTS.flatMap((name) => (isCount(fields[name]) ? [[name, fields[name]]] : []))),
    ...(cause === undefined ? {} : { cause }),
    ...(waits === undefined ? {} : { waits }),
    counters: Object.fromEntries(Object.entries(objectOf(fields.counters)).filter(isCounted)),
    warnings: Array.isArray(fields.warnings) ? fields.warnings.filter((text) => typeof text === "string") : [],
  };
}

const COUNTS = ["endedAtMs", "slices", "slicesDone", "bytesRead", "bytesWritten"] as const;

function failureIn(value: Json | undefined): Failure | undefined {
  const { code, message, hint, retryable } = objectOf(value);
  if (typeof code !== "string" || typeof message !== "string" || typeof hint !== "string") return undefined;
  return { code, message, hint, retryable: retryable === true };
}

function objectOf(value: Json | undefined): { readonly [name: string]: Json } {
  return isObject(value) ? value : {};
}

function isObject(value: Json | undefined): value is { readonly [name: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCounted(entry: readonly [string, Json]): entry is [string, number] {
  return isCount(entry[1]);
}

function isCount(value: Json | undefined): boolean {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
