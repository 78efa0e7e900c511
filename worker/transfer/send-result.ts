import type { Client, ClientWritableStream } from "@grpc/grpc-js";
import type { AttemptKey } from "../../merge/work/index.ts";
import { CoordinatorService, type SendResultRequest, type SendResultResponse } from "../../proto/index.ts";
import {
  bytesOfHex,
  CHUNKS_IN_FLIGHT_MAX,
  chunksOf,
  messageOfAttempt,
  numberOf,
  StreamWriter,
  sendResultMethod,
} from "../../wire/index.ts";
import { unary } from "./unary.ts";

/** Of QueryResult. */
const QUERY_DEADLINE_MS = 20_000;

export interface ResultToSend {
  readonly id: AttemptKey;
  readonly bytes: Uint8Array;
  readonly sha256: string;
}

/**
 * Sends a granted result up, from where an earlier try ended. Resolves once it is in storage and synced.
 * `mayContinue` is asked before each chunk; where it says no, the stream is cancelled and the call rejects.
 * @throws ServiceError; WireError `wire/disconnected`
 */
export async function sendResult(
  client: Client,
  { id, bytes, sha256 }: ResultToSend,
  deadlineMs: number,
  mayContinue: () => boolean,
): Promise<void> {
  const offsetBytes = Math.min(bytes.length, await queryResult(client, id));
  const { path, requestSerialize, responseDeserialize } = sendResultMethod;
  let call: ClientWritableStream<SendResultRequest> | undefined;
  const answered = new Promise<SendResultResponse | undefined>((resolve, reject) => {
    call = client.makeClientStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      { deadline: Date.now() + deadlineMs },
      (error: unknown, response?: SendResultResponse) => (error ? reject(error) : resolve(response)),
    );
  });
  answered.catch(() => undefined);
  if (call === undefined) throw new Error("a call was not begun");
  const stream = call;
  const writer = new StreamWriter<SendResultRequest>(stream, CHUNKS_IN_FLIGHT_MAX);
  try {
    const header = { id: messageOfAttempt(id), offsetBytes: BigInt(offsetBytes), sizeBytes: BigInt(bytes.length) };
    await writer.write({ message: { $case: "header", value: header } });
    for (const range of chunksOf(offsetBytes, bytes.length - offsetBytes)) {
      if (!mayContinue()) throw new Error(`${id.unit} may not be sent any more`);
      const value = bytes.subarray(range.offsetBytes, range.offsetBytes + range.sizeBytes);
      await writer.write({ message: { $case: "chunk", value: value as Buffer } });
    }
    await writer.write({ message: { $case: "sha256", value: bytesOfHex(sha256) } });
    await writer.end();
  } catch (error) {
    stream.cancel();
    // What the other end said is the better reason, where it said something.
    await answered;
    throw error;
  }
  await answered;
}

async function queryResult(client: Client, id: AttemptKey): Promise<number> {
  const request = { id: messageOfAttempt(id) };
  const { receivedBytes } = await unary(client, CoordinatorService.queryResult, request, QUERY_DEADLINE_MS);
  return numberOf(receivedBytes, "an offset");
}
