import type { Readable } from "../storage/index.ts";

export interface ReadAhead {
  readonly windowBytes: number;
  /** Windows that are asked for before the first of them is taken. */
  readonly ahead: number;
}

/** All bytes of a file in order, window by window; one is valid until the next is asked for. */
export async function* readAhead(
  file: Readable,
  sizeBytes: number,
  { windowBytes, ahead }: ReadAhead,
): AsyncGenerator<Uint8Array> {
  const buffers = Array.from({ length: ahead }, () => new Uint8Array(Math.min(windowBytes, sizeBytes)));
  const asked: Promise<Uint8Array>[] = [];
  const ask = (index: number) => {
    const at = index * windowBytes;
    if (at >= sizeBytes) return;
    const window = (buffers[index % buffers.length] ?? new Uint8Array()).subarray(
      0,
      Math.min(windowBytes, sizeBytes - at),
    );
    const reading = file.read(at, window, "steady").then(() => window);
    reading.catch(() => undefined); // whoever stops early waits for none of them
    asked.push(reading);
  };
  for (let index = 0; index < ahead; index++) ask(index);
  try {
    for (let index = 0; index * windowBytes < sizeBytes; index++) {
      const window = await asked.shift();
      if (window === undefined) return;
      yield window;
      // The buffer of the window before is free only now.
      ask(index + ahead);
    }
  } finally {
    await Promise.allSettled(asked); // the file is closed next
  }
}
