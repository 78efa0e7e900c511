import { errors, type Msg } from "@nats-io/transport-node";
import { type Nats, type Outage, priorityConsumer } from "../nats/index.ts";

/**
 * The right to run a job: a message of the work-queue stream. The protocol of pulls and acknowledgements is spoken
 * directly: the client's own consumers wait for messages, and here it must be known that there is none.
 */
export interface QueueToken {
  readonly id: string;
  readonly name: string;
  /** Since it was submitted, by the clocks of server and client. */
  readonly ageMs: number;
  /** By what others can give it back: `giveBackToken`. */
  readonly claim: string | undefined;
  /** Nobody else gets it for the consumer's `ack_wait` from now. */
  vouch(): void;
  /** It is due again, after a while. */
  giveBack(afterMs?: number): Promise<void>;
  /** It is taken off the queue. Resolves when the server says so; after an outage it may come back, and is dropped then. */
  drop(): Promise<void>;
}

const PULL_TIMEOUT_MS = 2000;

/** The next token of a priority; undefined where none is due. */
export async function takeToken(nats: Nats, priority: number, outage: Outage): Promise<QueueToken | undefined> {
  const subject = `$JS.API.CONSUMER.MSG.NEXT.${nats.names.jobsStream}.${priorityConsumer(priority)}`;
  for (;;) {
    let message: Msg;
    try {
      const pull = JSON.stringify({ batch: 1, no_wait: true });
      // On a subscription of its own: a token comes under its own subject, which the shared one would not recognise.
      message = await nats.connection.request(subject, pull, { timeout: PULL_TIMEOUT_MS, noMux: true });
    } catch (error) {
      await outage.passing(error);
      continue;
    }
    // 404: nothing there; 408: nothing within the time; else a consumer that moves, and is asked again.
    const status = message.headers?.code ?? 0;
    if (status === 404 || status === 408) return undefined;
    if (status !== 0) {
      await outage.passing(new errors.RequestError(`${status} ${message.headers?.description ?? ""}`.trim()));
      continue;
    }
    const token = maybeToken(nats, message);
    if (token !== undefined) return token;
    await acknowledge(nats, message, "+TERM"); // something else put it there
  }
}

function maybeToken(nats: Nats, message: Msg): QueueToken | undefined {
  const { id, name } = maybeContent(message) ?? {};
  if (typeof id !== "string" || typeof name !== "string") return undefined;
  return {
    id,
    name,
    ageMs: Date.now() - publishedMs(message),
    claim: message.reply,
    vouch: () => {
      try {
        message.respond("+WPI");
      } catch {
        // The connection is closed: whether the claim is lost is found out by asking.
      }
    },
    giveBack: (afterMs = 0) => acknowledge(nats, message, giveBackWord(afterMs)),
    drop: () => acknowledge(nats, message, "+ACK"),
  };
}

/** A token of somebody who has ended; of one that somebody else has by now the server passes over it. */
export async function giveBackToken(nats: Nats, claim: string): Promise<void> {
  if (claim.startsWith(ACKNOWLEDGEMENTS)) await acknowledge(nats, { reply: claim }, giveBackWord(0));
}

const ACKNOWLEDGEMENTS = "$JS.ACK.";

function giveBackWord(afterMs: number): string {
  return `-NAK ${JSON.stringify({ delay: afterMs * 1_000_000 })}`;
}

function maybeContent(message: Msg): { readonly id?: unknown; readonly name?: unknown } | undefined {
  try {
    return message.json();
  } catch {
    return undefined;
  }
}

/** Where a message comes from stands in its reply subject: … . time in nanoseconds . pending [. random]. */
function publishedMs({ reply = "" }: Msg): number {
  const parts = reply.split(".");
  // $JS.ACK.stream.consumer.delivered.sequence.delivery.time.pending, or with domain and account hash in front.
  const nanos = parts.length > 9 ? parts[9] : parts[7];
  return Number(nanos ?? 0) / 1_000_000;
}

/** As a request, so that it is known to have arrived; an outage is no error: whoever gets the token next decides anew. */
async function acknowledge(nats: Nats, { reply }: Pick<Msg, "reply">, word: string): Promise<void> {
  if (reply === undefined) return;
  await nats.connection.request(reply, word, { timeout: PULL_TIMEOUT_MS }).catch(() => undefined);
}
