import { randomBytes } from "node:crypto";
import type { Json } from "../../merge/work/index.ts";
import { QueueError } from "./errors.ts";
import { type JobId, type JobRecord, type NewJob, PRIORITY_MAX, type Wish } from "./job-queue.ts";

/** What both queues decide about records, without I/O. */

/** Fits a NATS message of the default 1 MiB with room for the rest. */
const RECIPE_BYTES_MAX = 512 * 1024;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const SUFFIXES_MAX = 10_000;

/** @throws QueueError `queue/invalid` */
export function checkJob(job: NewJob): void {
  const { name, priority, recipe, options } = job;
  if (!NAME.test(name)) {
    throw invalid(`${JSON.stringify(name)} is no name for a job`, "Use 1 to 64 letters, digits, '.', '_' or '-'.");
  }
  if (!Number.isInteger(priority) || priority < 0 || priority > PRIORITY_MAX) {
    throw invalid(`the priority ${priority} is not 0 to ${PRIORITY_MAX}`, "0 is last, 2 is usual, 4 is first.");
  }
  const bytes = Buffer.byteLength(recipe) + Buffer.byteLength(JSON.stringify(options));
  if (bytes > RECIPE_BYTES_MAX) {
    const message = `recipe and options of ${name} are ${bytes} bytes long, ${RECIPE_BYTES_MAX} are allowed`;
    throw invalid(message, "Write the recipe shorter: its models and parameters may be given once for all layers.");
  }
}

export function newId(): JobId {
  return randomBytes(8).toString("hex") as JobId;
}

/** Whether a text can be the id of a job; a name may look like one as well. */
export function isId(text: string): text is JobId {
  return /^[0-9a-f]{16}$/.test(text);
}

export function newRecord({ nameTaken: _, ...job }: NewJob, id: JobId): JobRecord {
  return { ...job, id, submittedAt: new Date().toISOString(), state: "queued", wish: "none", claims: 0 };
}

/** The names to try for a job, one after the other. */
export function* namesFor({ name, nameTaken }: NewJob): Generator<string> {
  yield name;
  if (nameTaken === "refuse") return;
  for (let k = 2; k < SUFFIXES_MAX; k++) yield `${name.slice(0, 64 - `-${k}`.length)}-${k}`;
}

export function nameTaken({ name }: NewJob, holder: JobRecord | undefined): QueueError {
  const who = holder === undefined ? "" : ` (submitted ${holder.submittedAt} by ${holder.submitter}, ${holder.state})`;
  return new QueueError("queue/name-taken", `there is a job ${name} already${who}`, {
    hint: "Choose another name, wait until it has ended, or cancel it.",
  });
}

export function outputTaken({ out }: Pick<NewJob, "out">, { name, out: theirs }: JobRecord): QueueError {
  const where = out.path === theirs.path ? "" : `, which overlaps ${out.root}:${out.path}`;
  return new QueueError("queue/output-taken", `job ${name} writes to ${theirs.root}:${theirs.path}${where}`, {
    hint: "Choose another output, or wait until that job has ended.",
  });
}

export function reservationLost({ name }: NewJob): QueueError {
  return new QueueError("queue/claim-lost", `planning of ${name} was taken for that of a coordinator that is gone`, {
    hint: "Submit it again: nothing was queued.",
    retryable: true,
  });
}

export function claimed(job: JobRecord, holder: string, claim?: string): JobRecord {
  return { ...job, state: "claimed", holder, claims: job.claims + 1, ...(claim === undefined ? {} : { claim }) };
}

export function released(job: JobRecord): JobRecord {
  return { ...job, state: "queued" };
}

export function ended(job: JobRecord, outcome: string, detail?: Json): JobRecord {
  return { ...job, state: "ended", wish: "none", outcome, ...(detail === undefined ? {} : { detail }) };
}

/** @throws QueueError `queue/unknown-job` */
export function wished(job: JobRecord | undefined, name: string, wish: Wish): JobRecord {
  if (job === undefined || job.state === "ended") {
    const message = job === undefined ? `there is no job ${name}` : `the job ${name} has ended: ${job.outcome}`;
    throw new QueueError("queue/unknown-job", message, { hint: "deltaworks list shows the jobs." });
  }
  // One that somebody has worked on left things behind: whoever claims it next clears them away.
  const untouched = job.state === "queued" && job.claims === 0;
  if (untouched && endsByWish(wish)) return ended(job, "cancelled");
  return { ...job, wish, ...(wish === "none" ? { resumes: (job.resumes ?? 0) + 1 } : {}) };
}

/** @throws QueueError `queue/unknown-job` */
export function checkForgettable(job: JobRecord | undefined, name: string): asserts job is JobRecord {
  if (job?.state === "ended") return;
  const message = job === undefined ? `there is no job ${name}` : `the job ${name} has not ended`;
  throw new QueueError("queue/unknown-job", message, { hint: "Only a job that has ended can be forgotten." });
}

export function isDue(job: JobRecord): boolean {
  return job.state === "queued" && job.wish !== "pause";
}

/** Highest priority first, then oldest. */
export function byTurn(a: JobRecord, b: JobRecord): number {
  return b.priority - a.priority || byAge(a, b);
}

export function byAge(a: JobRecord, b: JobRecord): number {
  if (a.submittedAt !== b.submittedAt) return a.submittedAt < b.submittedAt ? -1 : 1;
  return a.id < b.id ? -1 : 1;
}

export function claimLost(name: string, holder: string): QueueError {
  return new QueueError("queue/claim-lost", `${holder} no longer has the job ${name}`, {
    hint: "Nothing is lost: another coordinator goes on with it, or somebody ended it.",
  });
}

function endsByWish(wish: Wish): boolean {
  return wish === "cancel" || wish === "terminate";
}

function invalid(message: string, hint: string): QueueError {
  return new QueueError("queue/invalid", message, { hint });
}
