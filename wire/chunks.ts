/** Bytes in one message of a stream: 1 MiB is fastest, smaller ones cost a quarter more. */
export const CHUNK_BYTES = 1024 * 1024;
/** Most bytes of a message on streams of bytes: a chunk and its frame. */
export const CHUNK_MESSAGE_MAX_BYTES = 2 * CHUNK_BYTES;
/** Window of streams that a client receives; with the default of 64 KiB a millisecond of distance costs nine tenths. */
export const FLOW_CONTROL_WINDOW_BYTES = 8 * 1024 * 1024;
/** Most bytes of a control message: a verdict or summary of a tensor with a million rows has room. */
export const CONTROL_MESSAGE_MAX_BYTES = 64 * 1024 * 1024;
/** A summary of at most so many bytes goes with other reports; a larger one in pieces, by itself. */
export const SUMMARY_MESSAGE_MAX_BYTES = 256 * 1024;
/** For how long a worker gathers what it asks and reports. */
export const GATHER_MS = 5;

/** The ranges of at most `chunkBytes` that make up `sizeBytes` from `offsetBytes` on. */
export function* chunksOf(
  offsetBytes: number,
  sizeBytes: number,
  chunkBytes = CHUNK_BYTES,
): Generator<{ readonly offsetBytes: number; readonly sizeBytes: number }> {
  for (let done = 0; done < sizeBytes; done += chunkBytes) {
    yield { offsetBytes: offsetBytes + done, sizeBytes: Math.min(chunkBytes, sizeBytes - done) };
  }
}
