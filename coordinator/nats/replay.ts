import { randomBytes } from "node:crypto";
import { DeliverPolicy, type JsMsg } from "@nats-io/jetstream";
import type { Nats } from "./connect.ts";
import type { Outage } from "./outage.ts";

export interface ReplayRange {
  readonly stream: string;
  /** Matches what is to be read. */
  readonly subjects: string;
  /** Sequences: behind one, up to another that is there and matches. */
  readonly after: bigint;
  readonly end: bigint;
  /** The patience for one interruption. */
  outage(): Outage;
}

/** Messages that the server may send before they have been read. */
const READ_AHEAD = 2000;

/**
 * Messages that are in a stream, by an ordered consumer: what is lost on the way, by us or by a server that goes down, is
 * asked for again from where the reading is. Throws what `outage` throws.
 */
export async function* replay(nats: Nats, range: ReplayRange): AsyncGenerator<JsMsg> {
  let seen = range.after;
  let outage = range.outage();
  while (seen < range.end) {
    try {
      const consumer = await nats.client.consumers.get(range.stream, {
        filter_subjects: range.subjects,
        deliver_policy: DeliverPolicy.StartSequence,
        opt_start_seq: Number(seen) + 1,
        name_prefix: consumerName(nats, "replay"),
      });
      const messages = await consumer.consume({ max_messages: READ_AHEAD, idle_heartbeat: 1000, expires: 5000 });
      try {
        for await (const message of messages) {
          if (BigInt(message.seq) <= seen) continue;
          seen = BigInt(message.seq);
          outage = range.outage(); // it goes on
          yield message;
          if (seen >= range.end) break;
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

/** Two consumers of one name would disturb each other. */
export function consumerName({ names }: Nats, purpose: string): string {
  return `${names.prefix}-${purpose}-${randomBytes(6).toString("hex")}`;
}
