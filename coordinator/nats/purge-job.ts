import { ask } from "./ask.ts";
import type { Nats } from "./connect.ts";
import { tokenOf } from "./names.ts";

/**
 * Takes a job's entries out of the journal, for good; for a job that has ended, by an administrator. Returns how many
 * messages there were.
 */
export async function purgeJob(nats: Nats, job: string): Promise<number> {
  const { names, manager } = nats;
  let purged = 0;
  for (const kind of ["j", "b"]) {
    const filter = `${names.prefix}.${kind}.${tokenOf(job)}.>`;
    purged += (await ask(nats, `purge ${filter}`, () => manager.streams.purge(names.journalStream, { filter }))).purged;
  }
  return purged;
}
