import { DeliverPolicy, JetStreamApiCodes, JetStreamApiError } from "@nats-io/jetstream";
import { ask } from "./ask.ts";
import type { Nats } from "./connect.ts";
import { consumerName } from "./replay.ts";

/** Larger than any: a message that expects it is refused. */
const NEVER = Number.MAX_SAFE_INTEGER;

/**
 * Finds out whether this user may do what a coordinator does, without leaving anything behind: writes are tried with a
 * condition that cannot hold, reads with consumers that are removed at once.
 * @throws NatsError `nats/denied` naming what is not allowed; `nats/unreachable`
 */
export async function checkAccess(nats: Nats): Promise<void> {
  const { names, client, manager } = nats;
  const { prefix } = names;
  for (const subject of [
    `${prefix}.j.check.phase`,
    `${prefix}.b.check.0`,
    `${prefix}.q.0.check`,
    `${prefix}.r.check`,
  ]) {
    await ask(nats, `publish to ${subject}`, async () => {
      try {
        await client.publish(subject, "", { expect: { lastSubjectSequence: NEVER } });
      } catch (error) {
        const refused = error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamWrongLastSequence;
        if (!refused) throw error;
      }
    });
  }
  for (const stream of [names.journalStream, names.jobsStream, names.recordsStream]) {
    await ask(nats, `read from ${stream}`, () => manager.streams.getMessage(stream, { last_by_subj: `${prefix}.>` }));
  }
  for (const stream of [names.journalStream, names.recordsStream]) {
    await ask(nats, `read ${stream} through`, async () => {
      const name_prefix = consumerName(nats, "check");
      const consumer = await client.consumers.get(stream, { name_prefix, deliver_policy: DeliverPolicy.New });
      await consumer.delete();
    });
  }
}
