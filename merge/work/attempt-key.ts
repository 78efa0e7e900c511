import type { AttemptRef } from "./assignment.ts";

/** An attempt among those of all jobs. `job`: by whatever name those who speak of it know the job. */
export interface AttemptKey extends AttemptRef {
  readonly job: string;
}

/** For maps and logs. */
export function textOfAttempt({ job, unit, attempt }: AttemptKey): string {
  return `${job}/${unit}/${attempt}`;
}

/** The same among those of one job. */
export function textOfRef({ unit, attempt }: AttemptRef): string {
  return `${unit}/${attempt}`;
}
