import { hostname } from "node:os";
import { pino } from "pino";
import type { Files, Place, StoredFile } from "../storage/index.ts";
import { redact } from "../trust/secrets/index.ts";

/** The log of a job: what must not stand in its output, such as times, host, threads and absolute paths. */
export interface JobLog {
  readonly log: pino.Logger;
  /** Waits for what was logged; later lines are lost. Failing to write a log fails nothing else. */
  close(): Promise<void>;
}

/** Lines of JSON, added to `path` through the store; from `level` on they go to stderr as well. */
export function openJobLog(store: Files, path: Place, level: string, stderr: (text: string) => void): JobLog {
  let file: StoredFile | undefined;
  let offsetBytes = 0;
  let tail = Promise.resolve();
  const append = async (line: string): Promise<void> => {
    if (file === undefined) {
      file = await store.openForWriting(path);
      offsetBytes = (await file.identity()).sizeBytes;
    }
    const bytes = Buffer.from(line);
    await file.write(offsetBytes, bytes);
    offsetBytes += bytes.length;
  };
  const write = (line: string) => {
    tail = tail.then(() => append(line)).catch(() => undefined);
  };
  const log = pino(
    { level: "trace", redact, base: { host: hostname(), pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.multistream([
      { level: "info", stream: { write } },
      ...(level === "silent" ? [] : [{ level: level as pino.Level, stream: { write: stderr } }]),
    ]),
  );
  return {
    log,
    close: async () => {
      await tail;
      await file?.close();
    },
  };
}
