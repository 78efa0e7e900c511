import type { Readable } from "../../storage/index.ts";
import { MAX_LINE_BYTES } from "./record.ts";

export interface Line {
  readonly offsetBytes: number;
  readonly endBytes: number;
  /** With its newline, which only the last line of a torn file lacks. Valid until the next line is asked for. */
  readonly bytes: Buffer;
}

/** One read; long enough that a replay is not bound by calls. */
const CHUNK_BYTES = 256 * 1024;
const NEWLINE = 0x0a;

/** The lines in a range of a file. A longer one than MAX_LINE_BYTES comes in pieces, as garbage may. */
export async function* linesOf(file: Readable, fromBytes: number, toBytes: number): AsyncGenerator<Line> {
  let buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  let offsetBytes = fromBytes; // of the buffer's first byte
  let filled = 0;
  while (offsetBytes + filled < toBytes) {
    const wanted = Math.min(buffer.length - filled, toBytes - offsetBytes - filled);
    await file.read(offsetBytes + filled, buffer.subarray(filled, filled + wanted));
    filled += wanted;
    let start = 0;
    while (start < filled) {
      const newline = buffer.subarray(0, filled).indexOf(NEWLINE, start);
      const overlong = newline < 0 && start === 0 && filled >= MAX_LINE_BYTES;
      if (newline < 0 && !overlong) break;
      const end = newline < 0 ? filled : newline + 1;
      yield { offsetBytes: offsetBytes + start, endBytes: offsetBytes + end, bytes: buffer.subarray(start, end) };
      start = end;
    }
    const roomy = start > 0 || filled < buffer.length ? buffer : Buffer.allocUnsafe(buffer.length * 2);
    buffer.copy(roomy, 0, start, filled);
    buffer = roomy;
    offsetBytes += start;
    filled -= start;
  }
  if (filled > 0) yield { offsetBytes, endBytes: toBytes, bytes: buffer.subarray(0, filled) };
}
