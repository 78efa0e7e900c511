import { Writable } from "node:stream";
import { describe, expect, test } from "vitest";
import { StreamWriter } from "../../wire/index.ts";

/** A stream whose other end takes a message only when told to. */
class SlowSink extends Writable {
  readonly taken: string[] = [];
  #next: (() => void) | undefined;

  constructor() {
    super({ objectMode: true, highWaterMark: 2 });
  }

  override _write(message: string, _: BufferEncoding, next: () => void): void {
    this.taken.push(message);
    this.#next = next;
  }

  take(): void {
    const next = this.#next;
    this.#next = undefined;
    next?.();
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("StreamWriter", () => {
  test("waits while the other end does not keep up, and goes on when it does", async () => {
    const sink = new SlowSink();
    const writer = new StreamWriter<string>(sink, 2);
    let written = 0;
    const all = (async () => {
      for (let k = 0; k < 10; k++) {
        await writer.write(`m${k}`);
        written++;
      }
    })();
    await turn();
    expect(written).toBe(1);
    expect(sink.writableLength).toBe(2);
    for (let k = 0; k < 10; k++) {
      sink.take();
      await turn();
      expect(sink.writableLength).toBeLessThanOrEqual(2);
    }
    await all;
    expect(sink.taken).toEqual(Array.from({ length: 10 }, (_, k) => `m${k}`));
  });

  test("keeps the order of overlapping calls", async () => {
    const sink = new SlowSink();
    const writer = new StreamWriter<string>(sink, 2);
    const all = Promise.all([..."abcdef"].map((letter) => writer.write(letter)));
    for (let k = 0; k < 7; k++) {
      await turn();
      sink.take();
    }
    await all;
    expect(sink.taken.join("")).toBe("abcdef");
  });

  test("a message that comes while others wait for room goes after them", async () => {
    const sink = new SlowSink();
    const writer = new StreamWriter<string>(sink, 2);
    const all = [writer.write("a"), writer.write("b"), writer.write("c")];
    for (const letter of "defg") {
      sink.take();
      await turn();
      all.push(writer.write(letter));
    }
    for (let k = 0; k < 7; k++) {
      sink.take();
      await turn();
    }
    await Promise.all(all);
    expect(sink.taken.join("")).toBe("abcdefg");
  });

  test("the first message goes into the stream at once", () => {
    const sink = new SlowSink();
    void new StreamWriter<string>(sink, 2).write("a");
    expect(sink.taken).toEqual(["a"]);
  });

  test.each([
    ["fails", (sink: SlowSink) => sink.destroy(new Error("connection reset")), "connection reset"],
    ["is closed", (sink: SlowSink) => sink.destroy(), "the stream ended"],
    ["is cancelled", (sink: SlowSink) => sink.emit("cancelled"), "the stream ended"],
  ])("writers are told when the stream %s, those who wait included", async (_, end, message) => {
    const sink = new SlowSink();
    const writer = new StreamWriter<string>(sink, 2);
    await writer.write("a");
    const waiting = writer.write("b");
    await turn();
    end(sink);
    await expect(waiting).rejects.toMatchObject({
      code: "wire/disconnected",
      message: expect.stringContaining(message),
    });
    await expect(writer.write("c")).rejects.toMatchObject({ code: "wire/disconnected" });
    expect(writer.ended).toBe(true);
  });
});
