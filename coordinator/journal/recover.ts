import type { StoredFile } from "../../storage/index.ts";
import { linesOf } from "./lines.ts";
import { checkHeader, headerLine, maybeRecord } from "./record.ts";

export interface Recovered {
  /** Last sequence of each subject. */
  readonly subjects: Map<string, number>;
  readonly lastSequence: number;
  /** Size of the file, all of it good and durable. */
  readonly sizeBytes: number;
  /** Bytes after the last good record that were cut off. */
  readonly tornBytes: number;
  /** At least so many records were durable once and are among the bytes cut off. */
  readonly lostRecords: number;
}

/**
 * Reads a journal file through and leaves it good and durable to its end.
 *
 * Everything from the first bad record on is cut off, good records among it too. A group reaches the disk page by page
 * in any order, so a crash may leave a hole with whole records behind it; as a group is written only after the one
 * before is durable, none of these records was acknowledged. A disk that rots may make such a hole among acknowledged
 * records. Then, too, the records before it are a state the job was in, and it goes on from there: what they lack is
 * done again. Records behind the hole tell the two apart by what they say was durable before them: `lostRecords`.
 *
 * What was read may stand in the system's cache only: the process was killed before it synced, or its sync failed, after
 * which Linux takes the pages for clean and a sync by us would succeed without writing them. Only groups followed by
 * another are proven to be on the disk, so the last group is written again, as it is, and synced.
 */
export async function recover(file: StoredFile, path: string): Promise<Recovered> {
  const foundBytes = await makeBorn(file, (await file.identity()).sizeBytes);
  const subjects = new Map<string, number>();
  let lastSequence = 0;
  let goodBytes = 0;
  let provenBytes = 0;
  let lostRecords = 0;
  let torn = false;
  for await (const line of linesOf(file, 0, foundBytes)) {
    if (line.offsetBytes === 0) {
      checkHeader(line.bytes, path);
      goodBytes = line.endBytes;
      continue;
    }
    const record = maybeRecord(line.bytes);
    torn ||= record?.sequence !== lastSequence + 1;
    if (record === undefined) continue;
    if (torn) {
      lostRecords = Math.max(lostRecords, record.durable - lastSequence);
      continue;
    }
    if (record.durable === lastSequence) provenBytes = line.offsetBytes; // the first of its group
    lastSequence = record.sequence;
    subjects.set(record.entry.subject, lastSequence);
    goodBytes = line.endBytes;
  }
  if (goodBytes < foundBytes) await file.truncate(goodBytes);
  await writeAgain(file, provenBytes, goodBytes);
  await file.sync();
  return { subjects, lastSequence, sizeBytes: goodBytes, tornBytes: foundBytes - goodBytes, lostRecords };
}

/** Writes the header of a file that is new, or whose making was cut short by a crash. Returns the file's size. */
async function makeBorn(file: StoredFile, sizeBytes: number): Promise<number> {
  if (sizeBytes > headerLine.length) return sizeBytes;
  const start = Buffer.alloc(sizeBytes);
  await file.read(0, start);
  // A page of the header that did not reach the disk reads as zeros. Anything else is not ours to overwrite.
  if (!start.every((byte, k) => byte === 0 || byte === headerLine[k])) return sizeBytes;
  await file.write(0, headerLine);
  return headerLine.length;
}

/** Most bytes in one write. */
const REWRITE_BYTES = 2 ** 20;

async function writeAgain(file: StoredFile, fromBytes: number, toBytes: number): Promise<void> {
  for (let at = fromBytes; at < toBytes; at += REWRITE_BYTES) {
    const bytes = Buffer.allocUnsafe(Math.min(REWRITE_BYTES, toBytes - at));
    await file.read(at, bytes);
    await file.write(at, bytes);
  }
}
