import type { Client, ClientWritableStream } from "@grpc/grpc-js";
import type { AttemptKey, WorkCounts } from "../../merge/work/index.ts";
import type { ReportDecision, SendSummaryRequest, SendSummaryResponse } from "../../proto/index.ts";
import {
  CHUNK_BYTES,
  CHUNKS_IN_FLIGHT_MAX,
  messageOfAttempt,
  messageOfCounts,
  type PackedData,
  StreamWriter,
  sendSummaryMethod,
} from "../../wire/index.ts";

export interface SummaryToSend {
  readonly id: AttemptKey;
  readonly counts: WorkCounts;
  readonly data: PackedData;
}

/**
 * Sends what a survey found, whatever its size, in pieces, as fast as the coordinator takes them. Resolves to what became of it.
 * @throws ServiceError; WireError `wire/disconnected`
 */
export async function sendSummary(
  client: Client,
  { id, counts, data }: SummaryToSend,
  deadlineMs: number,
): Promise<ReportDecision> {
  const { path, requestSerialize, responseDeserialize } = sendSummaryMethod;
  let call: ClientWritableStream<SendSummaryRequest> | undefined;
  const answered = new Promise<SendSummaryResponse>((resolve, reject) => {
    call = client.makeClientStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      { deadline: Date.now() + deadlineMs },
      (error: unknown, response?: SendSummaryResponse) =>
        error || response === undefined ? reject(error) : resolve(response),
    );
  });
  // What the other end says is the better reason, and an early answer needs no more bytes.
  answered.catch(() => undefined);
  if (call === undefined) throw new Error("a call was not begun");
  const stream = call;
  const writer = new StreamWriter<SendSummaryRequest>(stream, CHUNKS_IN_FLIGHT_MAX);
  const write = async () => {
    const structureBytes = BigInt(data.structure.length);
    const sizes = { structureBytes, arrayBytes: BigInt(data.arrayBytes) };
    const value = { id: messageOfAttempt(id), counts: messageOfCounts(counts), ...sizes };
    await writer.write({ message: { $case: "header", value } });
    for (const chunk of piecesOf([data.structure, ...data.arrays])) {
      await writer.write({ message: { $case: "chunk", value: chunk } });
    }
    await writer.end();
  };
  const written = write().catch((error: unknown) => {
    stream.cancel();
    throw error;
  });
  written.catch(() => undefined);
  const early = await Promise.race([answered, written]);
  return (early ?? (await answered)).decision;
}

/** Pieces of CHUNK_BYTES, the last one shorter, of arrays that may be far shorter than that. */
export function* piecesOf(arrays: readonly Uint8Array[], pieceBytes = CHUNK_BYTES): Generator<Buffer> {
  let [piece, used] = [Buffer.allocUnsafe(pieceBytes), 0];
  for (const array of arrays) {
    for (let at = 0; at < array.length; ) {
      const part = array.subarray(at, at + pieceBytes - used);
      piece.set(part, used);
      used += part.length;
      at += part.length;
      if (used < pieceBytes) continue;
      yield piece;
      [piece, used] = [Buffer.allocUnsafe(pieceBytes), 0];
    }
  }
  if (used > 0) yield piece.subarray(0, used);
}
