import type { RootedPath } from "../../merge/work/index.ts";
import type { JobId, JobRecord, NewJob } from "./job-queue.ts";
import { namesFor, nameTaken } from "./records.ts";

/** What both queues keep of a submission that is being planned. */
export interface Planning {
  readonly id: JobId;
  /** Under the name that it will have. */
  readonly job: NewJob;
}

/** What is to be done for a submission, by all jobs and all submissions that are being planned. */
export type Decision<P extends Planning> =
  | { readonly kind: "repeated"; readonly job: JobRecord }
  | { readonly kind: "output-taken"; readonly job: JobRecord }
  /** What becomes of that one decides. */
  | { readonly kind: "wait"; readonly planning: P }
  | { readonly kind: "free"; readonly name: string };

/**
 * A submission gets its request id, output and name, or none of them. Those of others that are being planned are not refused yet: they
 * may fail. `unread`: names of jobs of which no more is known. @throws QueueError `queue/name-taken`
 */
export function decide<P extends Planning>(
  job: NewJob,
  jobs: readonly JobRecord[],
  planned: readonly P[],
  unread: readonly string[] = [],
): Decision<P> {
  const { requestId } = job;
  if (requestId !== undefined) {
    const before = jobs.find((other) => other.requestId === requestId);
    if (before !== undefined) return { kind: "repeated", job: before };
  }
  // One whose job is there has been confirmed, and holds nothing any more.
  const ids = new Set(jobs.map(({ id }) => id));
  const planning = planned.filter(({ id }) => !ids.has(id));
  const open = jobs.filter(({ state }) => state !== "ended");
  const taken = open.find((other) => overlap(placeOf(other), placeOf(job)));
  if (taken !== undefined) return { kind: "output-taken", job: taken };
  const before = planning.find(
    (other) =>
      (requestId !== undefined && other.job.requestId === requestId) ||
      overlap(placeOf(other.job), placeOf(job)) ||
      (job.nameTaken === "refuse" && other.job.name === job.name),
  );
  if (before !== undefined) return { kind: "wait", planning: before };
  const names = new Set([...unread, ...open.map(({ name }) => name), ...planning.map((other) => other.job.name)]);
  for (const name of namesFor(job)) if (!names.has(name)) return { kind: "free", name };
  throw nameTaken(
    job,
    open.find(({ name }) => name === job.name),
  );
}

/** Whether one of two outputs is the other, or lies in it. */
export function overlap(a: RootedPath, b: RootedPath): boolean {
  if (a.root !== b.root) return false;
  const [one, two] = [`${a.path}/`, `${b.path}/`];
  return one.startsWith(two) || two.startsWith(one);
}

function placeOf({ place, out }: Pick<NewJob, "place" | "out">): RootedPath {
  return place ?? out;
}
