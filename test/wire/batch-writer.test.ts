import { EventEmitter } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { AttachRequest } from "../../proto/index.ts";
import { BatchWriter, encodedRequest, requestsIn, severalRequests } from "../../wire/index.ts";

/** A stream that takes a message when it is told to. */
class Stream extends EventEmitter {
  readonly written: string[] = [];
  readonly #waiting: (() => void)[] = [];
  ended = false;

  write(bytes: Uint8Array, taken: () => void): boolean {
    this.written.push(Buffer.from(bytes).toString());
    this.#waiting.push(taken);
    return true;
  }
  async take(): Promise<void> {
    this.#waiting.shift()?.();
    await turn();
  }
  end(): void {
    this.ended = true;
  }
}

function open(bytesMax?: number) {
  const stream = new Stream();
  const soon: (() => void)[] = [];
  const writer = new BatchWriter(stream as unknown as ConstructorParameters<typeof BatchWriter>[0], {
    join: (messages) => Buffer.from(messages.map((one) => Buffer.from(one).toString()).join("+")),
    soon: (act) => soon.push(act),
    ...(bytesMax === undefined ? {} : { bytesMax }),
  });
  const send = (...texts: string[]) => {
    for (const text of texts) writer.send(Buffer.from(text));
  };
  const pass = () => {
    for (const act of soon.splice(0)) act();
  };
  return { stream, writer, send, pass };
}

test("what comes together goes together, in its order; what is alone goes as it is", async () => {
  const { stream, send, pass } = open();
  send("a", "b", "c");
  expect(stream.written).toEqual([]);
  pass();
  expect(stream.written).toEqual(["a+b+c"]);
  await stream.take();
  send("d");
  pass();
  expect(stream.written).toEqual(["a+b+c", "d"]);
});

test("while one is on its way the next ones gather, and go as soon as it is taken", async () => {
  const { stream, writer, send, pass } = open();
  send("a");
  pass();
  send("b");
  pass();
  send("c");
  expect(stream.written).toEqual(["a"]);
  expect(writer.untaken).toBe(3);
  await stream.take();
  expect(stream.written).toEqual(["a", "b+c"]);
  await stream.take();
  expect(writer.untaken).toBe(0);
});

test("no more go together than there is room for; one that is larger goes alone", async () => {
  const { stream, send, pass } = open(4);
  send("aa", "bb", "c", "dddddd", "e");
  pass();
  for (let k = 0; k < 4; k++) await stream.take();
  expect(stream.written).toEqual(["aa+bb", "c", "dddddd", "e"]);
});

test("flushing does not wait for more, and is over when all is taken", async () => {
  const { stream, writer, send } = open();
  send("a", "b");
  let flushed = false;
  const over = writer.flush().then(() => {
    flushed = true;
  });
  expect(stream.written).toEqual(["a+b"]);
  await turn();
  expect(flushed).toBe(false);
  await stream.take();
  await over;
  send("c");
  const ended = writer.end();
  await stream.take();
  await ended;
  expect([stream.written, stream.ended]).toEqual([["a+b", "c"], true]);
});

test("when the stream has ended nothing waits, and nobody does", async () => {
  const { stream, writer, send, pass } = open();
  send("a");
  pass();
  send("b");
  const flushed = writer.flush();
  stream.emit("close");
  await flushed;
  send("c");
  pass();
  expect([stream.written, writer.untaken, writer.ended]).toEqual([["a"], 0, true]);
});

test.each([1, 2, 300])("%i messages of all lengths are read as they were sent", (count) => {
  const sent = Array.from({ length: count }, (_, k) => {
    const ids = Array.from({ length: k % 7 }, () => ({ jobId: "j", unitId: "x".repeat(k * 3), attempt: BigInt(k) }));
    return { $case: "handBack", value: { ids } } as const;
  });
  const received = AttachRequest.decode(severalRequests(sent.map(encodedRequest)));
  expect(requestsIn(received)).toMatchObject(sent);
});
