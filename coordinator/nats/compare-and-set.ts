import { JetStreamApiCodes, JetStreamApiError, type StoredMsg } from "@nats-io/jetstream";
import type { MsgHdrs } from "@nats-io/transport-node";
import type { Nats } from "./connect.ts";
import type { Outage } from "./outage.ts";

/** Unlike that of any other message, of any process: tells whether a message found there is ours. */
export const WRITER_HEADER = "Deltaworks-Writer";

export interface ConditionalMessage {
  readonly stream: string;
  readonly subject: string;
  readonly payload: Uint8Array;
  /** Holds WRITER_HEADER. */
  readonly headers: MsgHdrs;
  /** The last sequence of the subject that is expected; 0n: none. */
  readonly after: bigint;
  /** The last sequence of the whole stream that is expected: what was decided by all of its messages still holds. Absent: any. */
  readonly streamAfter?: bigint;
  /** It may have been stored before. */
  readonly maybeThere?: boolean;
}

export type Stored = { readonly stored: true; readonly sequence: bigint };
/** `last`: what its subject holds instead; null for nothing. */
export type NotStored = { readonly stored: false; readonly last: StoredMsg | null };

/**
 * Publishes a message if the last one of its subject is the expected one, and that of the stream where it is named. A try that is not answered may have been stored or
 * not: it is looked up before the next one. If the subject's last message is its own, it was; else the comparison makes
 * sending it twice harmless. Throws what `outage` throws.
 */
export async function compareAndSet(
  nats: Nats,
  message: ConditionalMessage,
  outage: Outage,
): Promise<Stored | NotStored> {
  const { stream, subject, payload, headers, after, streamAfter } = message;
  const expect = {
    ...{ lastSubjectSequence: Number(after), streamName: stream },
    ...(streamAfter === undefined ? {} : { lastSequence: Number(streamAfter) }),
  };
  const writer = headers.get(WRITER_HEADER);
  if (writer === "") throw new Error(`a message to ${subject} names no writer`);
  let refused = false;
  for (let look = message.maybeThere === true; ; look = true) {
    if (look) {
      // Somebody was first: ourselves, maybe, in a try that was not answered.
      const last = await lastMessage(nats, stream, subject, outage);
      if (last !== null && last.header.get(WRITER_HEADER) === writer)
        return { stored: true, sequence: BigInt(last.seq) };
      if (BigInt(last?.seq ?? 0) !== after || (refused && streamAfter !== undefined)) return { stored: false, last };
    }
    try {
      const ack = await nats.client.publish(subject, payload, {
        headers,
        expect,
      });
      return { stored: true, sequence: BigInt(ack.seq) };
    } catch (error) {
      refused = isWrongSequence(error);
      if (!refused) await outage.passing(error);
    }
  }
}

/** The last message of a subject, which may have wildcards. Asks the stream's leader: a replica may be behind. */
export async function lastMessage(
  nats: Nats,
  stream: string,
  subject: string,
  outage: Outage,
): Promise<StoredMsg | null> {
  for (;;) {
    try {
      return await nats.manager.streams.getMessage(stream, { last_by_subj: subject });
    } catch (error) {
      await outage.passing(error);
    }
  }
}

/**
 * Writes an empty message, and gives its sequence. From then on whoever asks the stream's leader reads all that was acknowledged
 * before: one that was elected a moment ago answers before it has taken over everything, but it writes in order. For whoever would
 * else take something for gone. Throws what `outage` throws.
 */
export async function writeMark(nats: Nats, subject: string, outage: Outage): Promise<bigint> {
  for (;;) {
    try {
      return BigInt((await nats.client.publish(subject, "")).seq);
    } catch (error) {
      await outage.passing(error);
    }
  }
}

/** That of the stream, whatever its subject; 0n for none. */
export async function lastSequence(nats: Nats, stream: string, outage: Outage): Promise<bigint> {
  for (;;) {
    try {
      return BigInt((await nats.manager.streams.info(stream)).state.last_seq);
    } catch (error) {
      await outage.passing(error);
    }
  }
}

function isWrongSequence(error: unknown): boolean {
  return (
    error instanceof JetStreamApiError &&
    (error.code === JetStreamApiCodes.StreamWrongLastSequence ||
      error.code === JetStreamApiCodes.StreamWrongLastSequenceUnknown)
  );
}
