import type { Failure } from "../../merge/work/index.ts";

/** What people may ask of a running job. Every call is safe to repeat; one that comes too late for its phase does nothing. */
export interface JobControls {
  /** Gives out no new work; what is in flight is finished. The reason is journalled: a paused job stays so through restarts. */
  pause(reason: Failure): void;
  resume(): void;
  /** Ends the job cleanly: attempts are dropped, and once no lease can write any more the stage is removed. Ends as "cancelled". */
  cancel(): void;
  /** As `cancel`, but `run` settles at once; the stage goes when no lease can write any more: see `JobRunner.discarded`. */
  terminate(): void;
  /** Lets slices in flight become durable, then ends as "stopped": whoever opens the journal next goes on (SIGTERM, hand-over). */
  stop(): void;
}
