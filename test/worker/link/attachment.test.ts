/** A worker's session by a clock of the test's own: when it asks, when it looks for another connection, what it says meanwhile. */
import { Duplex } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import {
  AttachRequest,
  AttachResponse,
  type AttemptId,
  type AttemptProgress,
  Hello,
  Welcome,
} from "../../../proto/index.ts";
import { FileStore } from "../../../storage/index.ts";
import { encodedRequest, PROTOCOL_VERSION, requestsIn } from "../../../wire/index.ts";
import { Attachment } from "../../../worker/link/attachment.ts";
import type { Connection } from "../../../worker/transfer/index.ts";
import { ToldClock } from "../../support/told-clock.ts";

/** The coordinator's end of one connection. */
class Call extends Duplex {
  readonly heard: string[] = [];
  /** What came as one. */
  readonly messages: string[] = [];
  /** Answers what it hears; else it takes everything and says nothing. */
  answers = true;
  override closed = false;
  times: Partial<Welcome> = {};
  renews: readonly AttemptId[] = [];

  constructor() {
    super({ objectMode: true, read: () => {} });
  }
  override _write(bytes: Uint8Array, _: string, done: () => void): void {
    const messages = requestsIn(AttachRequest.decode(bytes));
    this.messages.push(messages.map((message) => message?.$case).join());
    for (const message of messages) this.#hear(message);
    done();
  }
  #hear(message: AttachRequest["message"]): void {
    this.heard.push(message?.$case ?? "");
    if (this.answers && message?.$case === "hello") {
      const times = { leaseMs: 30_000n, heartbeatMs: 5_000n, ioTimeoutMs: 20_000n, ...this.times };
      const value = Welcome.fromPartial({ protocolVersion: PROTOCOL_VERSION, ...times });
      this.say({ $case: "welcome", value });
    }
    if (this.answers && message?.$case === "heartbeat") {
      this.say({
        $case: "heartbeat",
        value: { sequence: message.value.sequence, renewed: [...this.renews], dropped: [] },
      });
    }
  }
  say(message: NonNullable<AttachResponse["message"]>): void {
    this.push(AttachResponse.fromPartial({ message }));
  }
  cancel(): void {}
}

class Rig {
  readonly clock = new ToldClock();
  readonly calls: Call[] = [];
  readonly log: string[] = [];
  /** What heartbeats name, and what is heard of their answers. */
  held: readonly AttemptProgress[] = [];
  readonly answered: unknown[] = [];
  isThere: () => boolean = () => true;
  welcomes = true;
  times: Partial<Welcome> = {};
  readonly attachment: Attachment;
  #begun: Promise<string> | undefined;

  constructor() {
    this.attachment = new Attachment({
      connection: { address: "c:7410", workerName: "w" },
      store: new FileStore(),
      log: (level, event) => this.log.push(`${level} ${event}`),
      seams: { timers: this.clock, connect: async () => this.#connection() },
      listener: {
        hello: () => Hello.fromPartial({ protocolVersion: PROTOCOL_VERSION, workerName: "w" }),
        heartbeat: () => ({ held: this.held, memoryUsedBytes: 0 }),
        attached: () => this.log.push("attached"),
        detached: () => this.log.push("detached"),
        answered: (...said) => this.answered.push(said),
        received: () => {},
      },
    });
    onTestFinished(() => this.attachment.close());
  }

  #connection(): Connection {
    const call = new Call();
    call.answers = this.welcomes;
    call.times = this.times;
    const isThere = this.isThere();
    const refused = Object.assign(new Error("refused"), { code: 14, details: "refused" });
    return {
      client: {
        makeBidiStreamRequest: () => {
          if (!isThere) throw refused;
          this.calls.push(call);
          return call;
        },
      } as never,
      renewed: new Promise(() => {}),
      tried: async () => {},
      isReady: () => isThere,
      close: () => {
        call.closed = true;
      },
    };
  }

  get ended(): Promise<string> | undefined {
    return this.#begun;
  }

  async pass(untilMs: number): Promise<void> {
    this.#begun ??= this.attachment.run().then(
      () => "ended",
      (error: Error & { code?: string }) => `${error.code} ${error.message}`,
    );
    await turn();
    await this.clock.pass(untilMs);
    await turn();
  }
}

test("a session that is answered goes on on its connection, and asks no more often than it must", async () => {
  const rig = new Rig();
  await rig.pass(60_000);
  expect(rig.calls).toHaveLength(1);
  expect(rig.log).toEqual(["attached"]);
  expect(rig.calls[0]?.heard.filter((kind) => kind === "heartbeat").length).toBeLessThanOrEqual(40);
});

test("a silent connection is left for another one within 5 s, and not before that stands", async () => {
  const rig = new Rig();
  await rig.pass(1);
  const [first] = rig.calls;
  first!.answers = false;
  rig.isThere = () => false;
  await rig.pass(9_000);
  expect([rig.calls.length, first?.closed, rig.log]).toEqual([1, false, ["attached"]]);
  rig.isThere = () => true;
  await rig.pass(14_000);
  expect(rig.calls).toHaveLength(2);
  expect(first?.closed).toBe(true);
  expect(rig.log).toEqual(["attached", "detached", "warn not attached", "attached"]);
});

test("however seldom heartbeats are, one on which nothing is heard is left within 5 s", async () => {
  const rig = new Rig();
  rig.times = { leaseMs: 360_000n, heartbeatMs: 60_000n };
  await rig.pass(1);
  rig.calls[0]!.answers = false;
  await rig.pass(5_000);
  expect(rig.calls).toHaveLength(2);
  expect(rig.log.at(-1)).toBe("attached");
});

test("what is gathered waits some milliseconds, or goes with what cannot wait, in order; without a session it is lost", async () => {
  const rig = new Rig();
  const question = (number: number) => encodedRequest({ $case: "question", value: { number, question: undefined } });
  expect(rig.attachment.gather(question(1))).toBe(false);
  await rig.pass(1);
  const { messages } = rig.calls[0]!;
  messages.length = 0;
  expect(rig.attachment.gather(question(2))).toBe(true);
  expect(rig.attachment.gather(question(3))).toBe(true);
  await rig.pass(5);
  expect(messages).toEqual([]);
  await rig.pass(6);
  expect(messages).toEqual(["question,question"]);
  rig.attachment.gather(question(4));
  rig.attachment.send({ $case: "draining", value: { graceMs: 1n } });
  expect(messages).toEqual(["question,question", "question,draining"]);
});

test("one that answers after all is kept", async () => {
  const rig = new Rig();
  await rig.pass(1);
  const [first] = rig.calls;
  first!.answers = false;
  rig.isThere = () => false;
  await rig.pass(9_000);
  first!.answers = true;
  first!.say({ $case: "heartbeat", value: { sequence: 1n << 60n, renewed: [], dropped: [] } });
  await rig.pass(10_000);
  rig.isThere = () => true;
  await rig.pass(30_000);
  expect(rig.calls).toHaveLength(1);
});

test("what an answer to a heartbeat does not say to be renewed is not, and an answer to none renews nothing", async () => {
  const rig = new Rig();
  const id = { jobId: "job", unitId: "s000000", attempt: 1n };
  rig.held = [{ id, alive: true, bytesDone: 0n }];
  await rig.pass(1);
  const [call] = rig.calls;
  expect(rig.answered.splice(0)).toEqual([[[], 0, []]]);
  call!.renews = [id];
  await rig.pass(5_001);
  const key = { job: "job", unit: "s000000", attempt: 1 };
  expect(rig.answered.splice(0).at(-1)).toEqual([[key], 5_000, []]);
  call!.say({ $case: "heartbeat", value: { sequence: 1n << 60n, renewed: [id], dropped: [id] } });
  await rig.pass(5_002);
  expect(rig.answered).toEqual([[[], 0, [key]]]);
});

test("a coordinator that is not there is tried at least every 2 s, and said so every 10 s, for as long as it takes", async () => {
  const rig = new Rig();
  rig.isThere = () => false;
  await rig.pass(600_000);
  const said = rig.log.filter((line) => line === "warn not attached").length;
  expect(said).toBeGreaterThanOrEqual(50);
  expect(said).toBeLessThanOrEqual(61);
  expect(rig.log.filter((line) => line.endsWith("not attached")).length).toBeGreaterThanOrEqual(300);
  rig.isThere = () => true;
  await rig.pass(602_001);
  expect(rig.log.at(-1)).toBe("attached");
});

test("a coordinator that takes a connection and says nothing has 3 s for its welcome", async () => {
  const rig = new Rig();
  rig.welcomes = false;
  await rig.pass(2_999);
  expect(rig.calls).toHaveLength(1);
  rig.welcomes = true;
  await rig.pass(3_000 + 250); // the first pause
  expect(rig.calls).toHaveLength(2);
  expect(rig.log).toEqual(["warn not attached", "attached"]);
});

test("a coordinator whose times would never let it write is refused, with the rule", async () => {
  const rig = new Rig();
  rig.times = { leaseMs: 5_000n, heartbeatMs: 834n };
  await rig.pass(1);
  expect(await rig.ended).toMatch(/^worker\/refused .* 5000 ms .* 20000 ms.*never write/);
});
