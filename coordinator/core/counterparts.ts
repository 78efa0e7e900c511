import type { Failure } from "../../merge/work/index.ts";
import { currentAttempt, isHeld } from "./attempts.ts";
import type { CoreEvent, Effect } from "./events.ts";
import { misreported } from "./failures.ts";
import type { JobState, UnitKind } from "./state.ts";

/** What workers say of one attempt of theirs. */
type OfAttempt = Extract<CoreEvent, { readonly worker: unknown; readonly attempt: number }>;

interface Counterpart {
  /** "any": of whatever was lent. */
  readonly kind: UnitKind | "any";
  /** Slices: lent to be written, or to be audited. */
  readonly audit?: boolean;
}

/** Which events speak of which work. The compiler refuses an event of an attempt that does not stand here. */
const counterparts: { readonly [T in OfAttempt["type"]]: Counterpart } = {
  "grant-requested": { kind: "slice" },
  surveyed: { kind: "survey" },
  "slice-computed": { kind: "slice", audit: false },
  audited: { kind: "slice", audit: true },
  sealed: { kind: "seal" },
  "unit-failed": { kind: "any" },
};

/** Whether a worker speaks of a unit as of something else than it is, or was lent to it as. */
export function isMisreport(state: JobState, event: CoreEvent): event is OfAttempt {
  const counterpart = (counterparts as Readonly<Record<string, Counterpart | undefined>>)[event.type];
  if (counterpart === undefined || counterpart.kind === "any") return false;
  const { worker, unit: id, attempt: number } = event as OfAttempt;
  const unit = state.units.get(id);
  if (unit === undefined) return false;
  if (unit.kind !== counterpart.kind) return true;
  const lent = currentAttempt(state, { worker, unit: id, attempt: number });
  return lent !== undefined && counterpart.audit !== undefined && lent.attempt.audit !== counterpart.audit;
}

/** Refused, counted, answered; and whoever has the attempt loses it. */
export function refuse(state: JobState, event: OfAttempt, out: Effect[]): void {
  const who = { worker: event.worker, unit: event.unit, attempt: event.attempt };
  out.push({ type: "count", counter: "refused-report" });
  out.push({ type: event.type === "grant-requested" ? "refuse" : "stale", ...who });
  const found = currentAttempt(state, who);
  if (found === undefined || !isHeld(found.attempt)) return;
  const lent = found.attempt.audit ? "audit" : found.unit.kind;
  misreported(state, found.unit, found.attempt, otherThanLent(event, lent), out);
}

function otherThanLent({ type, worker, unit }: OfAttempt, lent: string): Failure {
  return {
    code: "coordinator/other-than-lent",
    message: `${worker} was lent ${unit} as a ${lent}, and says "${type}" of it`,
    hint: "Run the coordinator's release on that machine; if it is the same one, this is a defect: please report it.",
    retryable: true,
  };
}
