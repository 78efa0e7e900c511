import { readdirSync } from "node:fs";
import type { JobHistory } from "../../coordinator/job/index.ts";
import type { JobRecord } from "../../coordinator/queue/index.ts";
import { FileStore } from "../../storage/index.ts";

/** Folders of what versions before this one left. */
export const versions = readdirSync(import.meta.dirname).filter((name) => /^\d/.test(name));
export const store = new FileStore();

export function byName(jobs: readonly JobRecord[]): Record<string, JobRecord> {
  return Object.fromEntries(jobs.map((job) => [job.name, job]));
}

export function doneSlices({ slices }: JobHistory): number {
  return [...slices.values()].filter(({ doneSha256 }) => doneSha256 !== undefined).length;
}
