import type { JobClaim } from "../coordinator/queue/index.ts";
import { detailWhileRunning } from "./job-detail.ts";
import type { ServedJob } from "./served-job.ts";

/** Between two notes: each writes the record anew, with its recipe. */
const NOTE_MS = 5000;

/**
 * Notes in the queue how far a job is, for those who ask a coordinator that does not run it: as soon as there is something to tell, then
 * now and then. What could not be noted is noted with what comes next. Returns what ends it, and resolves once nothing is being noted.
 */
export function noteProgress(claim: JobClaim, job: ServedJob, failed: (error: unknown) => void): () => Promise<void> {
  let noted: string | undefined;
  let isChanged = false;
  let isOver = false;
  let timer: NodeJS.Timeout | undefined;
  let underWay: Promise<void> | undefined;
  const later = () => {
    if (isOver || timer !== undefined || underWay !== undefined) return;
    timer = setTimeout(note, noted === undefined ? 0 : NOTE_MS).unref();
  };
  const note = () => {
    timer = undefined;
    isChanged = false;
    const detail = detailWhileRunning(job);
    const text = JSON.stringify(detail);
    if (text === noted || claim.lost.aborted) return;
    noted = text;
    underWay = claim
      .update({ detail })
      .then(() => {}, failed)
      .finally(() => {
        underWay = undefined;
        if (isChanged) later();
      });
  };
  const unlisten = job.listen(() => {
    isChanged = true;
    later();
  });
  return async () => {
    isOver = true;
    unlisten();
    clearTimeout(timer);
    await underWay;
  };
}
