import type { JobFact } from "../coordinator/job/index.ts";
import type { JobView } from "./job-view.ts";

/**
 * What somebody is told who watches a job. With a `cursor`: it is in the job's journal, and is told again, also after the job's end, to
 * whoever asks for what came before or after it. Without: how things are now.
 */
export type JobEvent =
  | ({ readonly cursor: number } & Recorded)
  | { readonly cursor?: undefined; readonly type: "warning"; readonly message: string }
  | { readonly cursor?: undefined; readonly type: "progress"; readonly job: JobView }
  /** The last one of a job. */
  | { readonly cursor?: undefined; readonly type: "ended"; readonly job: JobView };

/** As the journal has it, but for slices that were done one after another: they come as one event, with the cursor of the last. */
export type Recorded =
  | Exclude<JobFact, { readonly type: "slice-done" }>
  | { readonly type: "slices-done"; readonly slices: readonly { readonly slice: string; readonly worker: string }[] };

/** Most slices of one event. */
const SLICES_MAX = 256;

/** What the journal's record of that number says. */
export interface RecordedFact {
  readonly cursor: number;
  readonly fact: JobFact;
}

/** In their order. */
export function eventsOf(facts: readonly RecordedFact[]): readonly JobEvent[] {
  const events: JobEvent[] = [];
  for (const { cursor, fact } of facts) {
    if (fact.type !== "slice-done") {
      events.push({ cursor, ...fact });
      continue;
    }
    const { slice, worker } = fact;
    const last = events.at(-1);
    if (last?.type !== "slices-done" || last.slices.length >= SLICES_MAX) {
      events.push({ cursor, type: "slices-done", slices: [{ slice, worker }] });
    } else {
      events[events.length - 1] = { cursor, type: "slices-done", slices: [...last.slices, { slice, worker }] };
    }
  }
  return events;
}
