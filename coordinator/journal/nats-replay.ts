import { randomBytes } from "node:crypto";
import { DeliverPolicy, type JsMsg } from "@nats-io/jetstream";
import type { NatsPlace } from "./nats-place.ts";

/** Messages that the server may send before they have been read. */
const READ_AHEAD = 2000;

/**
 * The job's messages after one sequence, up to another that is there, by an ordered consumer: what is lost on the way, by
 * us or by a server that goes down, is asked for again from where the reading is.
 * @throws JournalError `journal/unavailable`
 */
export async function* replay(place: NatsPlace, after: bigint, end: bigint): AsyncGenerator<JsMsg> {
  let seen = after;
  let outage = place.outage("read the journal");
  while (seen < end) {
    try {
      const consumer = await place.nats.client.consumers.get(place.stream, {
        filter_subjects: place.subjects.all,
        deliver_policy: DeliverPolicy.StartSequence,
        opt_start_seq: Number(seen) + 1,
        // Two of one name would disturb each other.
        name_prefix: `${place.nats.names.prefix}-replay-${randomBytes(6).toString("hex")}`,
      });
      const messages = await consumer.consume({ max_messages: READ_AHEAD, idle_heartbeat: 1000, expires: 5000 });
      try {
        for await (const message of messages) {
          if (BigInt(message.seq) <= seen) continue;
          seen = BigInt(message.seq);
          outage = place.outage("read the journal"); // it goes on
          yield message;
          if (seen >= end) break;
        }
      } finally {
        await messages.close();
        await consumer.delete().catch(() => undefined); // the server drops it after a while by itself
      }
    } catch (error) {
      await outage.passing(error);
    }
  }
}
