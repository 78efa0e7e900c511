/**
 * Faults that are planted to see whether the auditor finds them. Each is a patch of a decision or of what a worker does, made here and
 * nowhere in the program.
 */
import {
  type CoreEvent,
  type Effect,
  type JobState,
  reduce,
  type Unit,
  type UnitKind,
} from "../../coordinator/core/index.ts";
import { type AttachRequest, AttachResponse, type CoordinatorServer } from "../../proto/index.ts";
import { encodedResponse, requestsIn, responsesIn, type Sink, severalResponses } from "../../wire/index.ts";
import type { FaultKind } from "./faults.ts";

export const bugs = [
  "late-report-accepted",
  "grant-without-epoch",
  "done-before-fsync",
  "fsync-retried",
  "published-unsealed",
  "lapsed-not-returned",
  "first-hash-wins",
  "folded-by-arrival",
  "quota-given-twice",
  "cancel-leaves-shard",
  "attempts-reused",
  "unheard-forgotten",
  "writing-hidden",
  "named-too-late",
  "named-for-one-stretch",
  "kinds-not-compared",
  "anybody-contradicts",
  "answered-once",
  "one-opinion-counts",
] as const;

/** Within so many seeds each must be found. */
export const SEEDS_MAX = 2000;

export type Bug = (typeof bugs)[number];

/** Faults without which some of them do no harm: they are looked for where these strike. */
export const provokedBy: { readonly [B in Bug]?: readonly FaultKind[] } = {
  "first-hash-wins": ["lie-bytes"],
  "cancel-leaves-shard": ["cancel", "slow-io", "reset", "partition"],
  "grant-without-epoch": ["coordinator-crash", "coordinator-stop"],
  "unheard-forgotten": ["coordinator-crash", "slow-io"],
  "writing-hidden": ["coordinator-crash", "slow-io"],
  "named-too-late": ["coordinator-crash", "slow-io"],
  "named-for-one-stretch": ["coordinator-crash", "slow-io"],
  "kinds-not-compared": ["lie-kind"],
  "anybody-contradicts": ["lie-owner"],
  "one-opinion-counts": ["lie-seal"],
};

type Decide = (state: JobState, event: CoreEvent) => readonly Effect[];

/** Plain data that a patch may write to. */
type Open<T> = { -readonly [K in keyof T]: T[K] };

/** The core with a fault in it; those of workers, rounds and methods are made where these are made up. */
export function decideWith(bug: Bug | undefined): Decide {
  switch (bug) {
    case "late-report-accepted":
      return (state, event) => reduce(state, event.type === "slice-computed" ? asCurrent(state, event) : event);
    case "grant-without-epoch":
      return (state, event) => {
        if (event.type === "grant-requested") {
          state.grantsFromMs = Number.NEGATIVE_INFINITY;
          state.leadsUntilMs = Number.POSITIVE_INFINITY;
        }
        return reduce(state, event);
      };
    case "published-unsealed":
      return (state, event) => {
        if (event.type === "sealed" && state.phase === "sealing" && state.sealsOpen === 2) state.sealsOpen = 1;
        return reduce(state, event);
      };
    case "lapsed-not-returned":
      return (state, event) => {
        if (event.type === "time-passed") state.deadlines.length = 0;
        return reduce(state, event);
      };
    case "first-hash-wins":
      return (state, event) => {
        const unit = "unit" in event ? state.units.get(event.unit) : undefined;
        if (unit !== undefined && event.type === "grant-requested") unit.votes = undefined;
        if (unit?.sha256 !== undefined && event.type === "audited")
          return reduce(state, { ...event, sha256: unit.sha256 });
        return reduce(state, event);
      };
    case "cancel-leaves-shard":
      return (state, event) => {
        if (state.phase === "cancelling" || state.phase === "terminating") {
          state.grants.clear();
          state.grantsFromMs = Number.NEGATIVE_INFINITY;
        }
        return reduce(state, event);
      };
    case "attempts-reused":
      return (state, event) => {
        (state.limits as Open<JobState["limits"]>).attemptBase = 0;
        return reduce(state, event);
      };
    case "unheard-forgotten":
      return (state, event) => {
        if (event.type === "writing-told") {
          state.earlier.unheard?.clear();
          state.earlier.at.fill(0);
        }
        return reduce(state, event);
      };
    case "writing-hidden":
      return (state, event) => reduce(state, event.type === "writing-told" ? { ...event, attempts: [] } : event);
    case "named-too-late":
      return (state, event) => {
        if (event.type === "grant-requested") {
          for (const { stretches } of state.named.values())
            for (const from of stretches.keys()) stretches.set(from, true);
        }
        return reduce(state, event).filter(({ type }) => type !== "journal-writer");
      };
    case "named-for-one-stretch":
      return (state, event) =>
        reduce(state, event).filter((effect) => {
          if (effect.type !== "journal-writer") return true;
          const named = state.named.get(`${effect.worker}/${effect.incarnation}`)?.stretches;
          if (named === undefined || named.size === 1) return true;
          named.set(effect.stretch.from, true);
          return false;
        });
    case "kinds-not-compared":
      return (state, event) => {
        const kind = speaksOf[event.type];
        const unit = "unit" in event ? (state.units.get(event.unit) as Open<Unit> | undefined) : undefined;
        if (kind === undefined || unit === undefined) return reduce(state, event);
        const was = unit.kind;
        unit.kind = kind;
        const effects = reduce(state, event);
        unit.kind = was;
        return effects;
      };
    case "anybody-contradicts":
      return (state, event) => {
        const unit = event.type === "slice-computed" ? state.units.get(event.unit) : undefined;
        if (unit !== undefined && event.type === "slice-computed") {
          const { attempt, worker } = event;
          const before = unit.holders;
          if (attempt <= unit.attempt) unit.holders = { attempt, worker, host: "", local: false, before };
        }
        return reduce(state, event);
      };
    case "one-opinion-counts":
      return (state, event) => {
        const unit = event.type === "surveyed" || event.type === "sealed" ? state.units.get(event.unit) : undefined;
        if (unit !== undefined) unit.audit = false;
        return reduce(state, event.type === "sealed" ? { ...event, isDoubtful: false } : event);
      };
    default:
      return reduce;
  }
}

const speaksOf: { readonly [T in CoreEvent["type"]]?: UnitKind } = { surveyed: "survey", sealed: "seal" };

/**
 * Of reports of the same attempt only the first is answered when the job answers: the planted fault of a link that takes each answer for
 * the oldest question.
 */
export function answeringOnce(handlers: CoordinatorServer, turn: () => number): CoordinatorServer {
  const answered = new Map<string, number>();
  return {
    ...handlers,
    attach: (call) => {
      const reported = new Map<number, string>();
      call.on("data", (request: AttachRequest) => {
        for (const message of requestsIn(request)) {
          if (message?.$case !== "question" || message.value.question?.$case !== "report") continue;
          const { id } = message.value.question.value;
          reported.set(message.value.number, `${id?.unitId}/${id?.attempt}`);
        }
      });
      const isAnswered = (message: AttachResponse["message"]) => {
        const key = message?.$case === "answer" ? reported.get(message.value.number) : undefined;
        if (key === undefined) return false;
        if (answered.get(key) === turn()) return true;
        answered.set(key, turn());
        return false;
      };
      const sink = call as unknown as Sink<Uint8Array>;
      const write = sink.write.bind(sink);
      sink.write = (bytes, taken) => {
        const left = responsesIn(AttachResponse.decode(bytes)).filter((message) => !isAnswered(message));
        return write(severalResponses(left.map((message) => encodedResponse(message as never))), taken);
      };
      handlers.attach(call);
    },
  };
}

/** Whoever reports, it is taken for the one who may. */
function asCurrent(state: JobState, event: Extract<CoreEvent, { type: "slice-computed" }>): CoreEvent {
  const unit = state.units.get(event.unit);
  const current = unit?.attempts.find(({ audit, status }) => !audit && status !== "reported");
  if (unit === undefined || current === undefined || unit.attempts.some(({ number }) => number === event.attempt)) {
    return event;
  }
  current.status = "granted";
  current.sha256 = event.sha256;
  return { ...event, attempt: current.number, worker: current.worker };
}
