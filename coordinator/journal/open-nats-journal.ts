import type { Nats } from "../nats/index.ts";
import type { Journal } from "./journal.ts";

export interface NatsJournalOptions {
  /** How long an append or a read waits for a server that does not answer. */
  readonly outageMs?: number;
  /** How long what is under way may go on once the journal is closed. */
  readonly closeMs?: number;
}

export interface NatsJournal extends Journal {
  /**
   * More than 0: records say that so many, at least, were acknowledged before them and are gone: the server was put back
   * to an older state. Known once they were read. Their work is redone.
   */
  readonly lostRecords: number;
  /**
   * Names what keeps the journal, for as long as that has forgotten nothing that it acknowledged; undefined: that cannot be told.
   * @throws JournalError `journal/unavailable`
   */
  keeper(): Promise<string | undefined>;
}

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
