import type { Nats } from "../nats/index.ts";
import type { NatsJournal, NatsJournalOptions } from "./nats-journal.ts";

/**
 * The journal of one job in JetStream: a stream for all jobs, a subject for each of the job's (nats-entries.ts). Several
 * processes may have it open. What is acknowledged is as durable as the server's settings make it: `sync_interval: always`,
 * or three replicas on machines that do not fail together. How appends outlive an outage: nats-appends.ts.
 * The connection stays the caller's: `close` does not end it.
 * @throws JournalError `journal/unavailable`
 */
export async function openNatsJournal(nats: Nats, job: string, options: NatsJournalOptions = {}): Promise<NatsJournal> {
  // Loaded when it is needed: whoever merges on one machine must not wait for a client of NATS.
  const { openJetStreamJournal } = await import("./nats-journal.ts");
  return openJetStreamJournal(nats, job, options);
}
