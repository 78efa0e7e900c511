/** Summaries of any size, over a real connection: past the wall that one message has, and with no more in memory than was admitted. */
import { type Client, credentials, Metadata, Server, ServerCredentials } from "@grpc/grpc-js";
import { afterEach, describe, expect, test } from "vitest";
// Behind the door: nobody else receives summaries.
import { Room } from "../../../coordinator/link/room.ts";
import { SummaryIntake } from "../../../coordinator/link/summary-intake.ts";
import type { Report } from "../../../merge/work/index.ts";
import { CoordinatorClient, CoordinatorService, ReportDecision, SendSummaryRequest } from "../../../proto/index.ts";
import {
  CONTROL_MESSAGE_MAX_BYTES,
  dataBytes,
  failuresOfCall,
  isTooLarge,
  messageOfAttempt,
  packedData,
  WORKER_KEY,
} from "../../../wire/index.ts";
import { canPass, sendSummary } from "../../../worker/transfer/index.ts";
import { HandWorker, JOB, openRig, RecordingJob, unit } from "./link-rig.ts";

let ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.reverse()) await end();
  ends = [];
});

const SURVEY = "survey-0-1-0";
const counts = { bytesRead: 7, bytesWritten: 0, tensorsCut: 0 };

/** As much as 200 models say that have all bins. */
function summaryOf(models: number, bins: number) {
  const columns = Array.from({ length: models }, (_, model) => ({
    total: {
      below: model,
      bins: Uint16Array.from({ length: bins }, (_, k) => k),
      counts: new Uint32Array(bins).fill(model + 1),
      zeros: 0,
    },
    parts: [],
    below: model,
  }));
  return { order: { road: "histogram", columns } };
}

/** A worker that holds a survey, and whatever the job hears of it. */
async function surveying() {
  const rig = await openRig();
  ends.push(() => rig.close());
  const job = new RecordingJob();
  const reports: Report[] = [];
  job.onReport = (report) => {
    reports.push(report);
    job.link?.answerReport(report, "accepted");
  };
  await rig.hub.source(rig.job)(job);
  const worker = new HandWorker(rig.client(), "w1");
  await worker.next("welcome");
  const assignment = {
    unit: unit(SURVEY),
    attempt: 5,
    kind: "survey",
    taskIndex: 0,
    task: {},
    parts: [],
    request: "x",
  };
  job.link?.assign({ ...assignment, firstRound: true } as never, 60_000);
  await worker.next("assignment");
  return { reports, job, defects: rig.defects, client: named(rig.client(), worker.name) };
}

/** The client as a worker has it: its name goes with every call. */
function named(client: CoordinatorClient, name: string): Client {
  const makeClientStreamRequest = client.makeClientStreamRequest.bind(client) as (...args: unknown[]) => unknown;
  const metadata = new Metadata();
  metadata.set(WORKER_KEY, name);
  return {
    makeClientStreamRequest: (path: unknown, write: unknown, read: unknown, options: unknown, done: unknown) =>
      makeClientStreamRequest(path, write, read, metadata, options, done),
  } as unknown as Client;
}

describe("a summary", () => {
  test("of 200 models that no message has room for is reported as it was", async () => {
    const { reports, client } = await surveying();
    const summary = summaryOf(200, 65_536);
    expect(dataBytes(summary)).toBeGreaterThan(CONTROL_MESSAGE_MAX_BYTES);
    const id = { job: JOB, unit: unit(SURVEY), attempt: 5 };
    const decision = await sendSummary(client, { id, counts, data: packedData(summary) }, 60_000);
    expect(decision).toBe(ReportDecision.REPORT_DECISION_ACCEPTED);
    expect(reports).toMatchObject([{ unit: SURVEY, attempt: 5, kind: "survey", counts }]);
    const [{ summary: got }] = reports as unknown as [{ summary: typeof summary }];
    expect(got.order.columns).toHaveLength(200);
    for (const [k, { total, below }] of got.order.columns.entries()) {
      const sent = summary.order.columns[k]!;
      expect(below).toBe(k);
      expect([total.bins.constructor, total.counts.constructor]).toEqual([Uint16Array, Uint32Array]);
      expect(Buffer.from(total.bins.buffer).equals(Buffer.from(sent.total.bins.buffer))).toBe(true);
      expect(Buffer.from(total.counts.buffer).equals(Buffer.from(sent.total.counts.buffer))).toBe(true);
    }
  });

  test("of an attempt that the worker does not hold is answered without being received", async () => {
    const { reports, client } = await surveying();
    const id = { job: JOB, unit: unit(SURVEY), attempt: 4 };
    const decision = await sendSummary(client, { id, counts, data: packedData(summaryOf(200, 65_536)) }, 60_000);
    expect(decision).toBe(ReportDecision.REPORT_DECISION_STALE);
    expect(reports).toEqual([]);
  });

  test("at which the job breaks ends the call, and is told as a defect: nobody's input explains it", async () => {
    const { client, defects, job } = await surveying();
    const broken = new Error("a count is -1");
    job.onReport = () => {
      throw broken;
    };
    const id = { job: JOB, unit: unit(SURVEY), attempt: 5 };
    await expect(sendSummary(client, { id, counts, data: packedData(summaryOf(2, 8)) }, 60_000)).rejects.toThrow();
    expect(defects).toEqual([[broken, "/deltaworks.v1.Coordinator/SendSummary"]]);
  });

  test("in parts that are out of order is refused by name", async () => {
    const { reports, client } = await surveying();
    const id = { job: JOB, unit: unit(SURVEY), attempt: 5 };
    const data = packedData(summaryOf(2, 8));
    const failed = await sendSummary(client, { id, counts, data: { ...data, arrayBytes: 7 } }, 60_000).catch((e) => e);
    expect(failuresOfCall(failed, "there")[0]).toMatchObject({ code: "wire/malformed" });
    expect(reports).toEqual([]);
  });
});

test("no more is received at once than there is room for: others wait with their first bytes unread", async () => {
  const pulled = { a: 0, b: 0 };
  const admitted: string[] = [];
  let goOn = () => {};
  const paused = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const data = packedData({ numbers: new Float64Array(1000) });
  const streamOf = (name: "a" | "b") =>
    (async function* () {
      const id = messageOfAttempt({ job: JOB, unit: unit(name), attempt: 1 });
      const sizes = { structureBytes: BigInt(data.structure.length), arrayBytes: BigInt(data.arrayBytes) };
      yield SendSummaryRequest.fromPartial({ message: { $case: "header", value: { id, ...sizes } } });
      for (const chunk of [data.structure, ...data.arrays]) {
        pulled[name]++;
        if (name === "a") await paused;
        yield SendSummaryRequest.fromPartial({ message: { $case: "chunk", value: chunk as Buffer } });
      }
    })();
  const report = ({ unit }: Report, { answer }: { answer(of: string): void }) => {
    admitted.push(unit);
    answer("accepted");
  };
  const roomForSummary = async () => () => {};
  const worker = { links: new Map([[JOB, { isOwn: () => true, roomForSummary, report }]]) };
  const intake = new SummaryIntake(10_000);
  const [a, b] = (["a", "b"] as const).map((name) => intake.receive(streamOf(name) as never, worker as never));
  await new Promise((resolve) => setImmediate(resolve));
  expect(pulled).toEqual({ a: 1, b: 0 });
  goOn();
  await Promise.all([a, b]);
  expect(admitted).toEqual(["a", "b"]);
  expect(pulled).toEqual({ a: 2, b: 2 });
});

test("what its job has no room for yet is not received, and not at all once it is another's", async () => {
  const data = packedData({ numbers: new Float64Array(1000) });
  let pulled = 0;
  const stream = (async function* () {
    const id = messageOfAttempt({ job: JOB, unit: unit("early"), attempt: 1 });
    const sizes = { structureBytes: BigInt(data.structure.length), arrayBytes: BigInt(data.arrayBytes) };
    yield SendSummaryRequest.fromPartial({ message: { $case: "header", value: { id, ...sizes } } });
    pulled++;
  })();
  let [isOwn, given] = [true, 0];
  let give = (_reported: () => void) => {};
  const room = new Promise<() => void>((resolve) => {
    give = resolve;
  });
  const asked: number[] = [];
  const roomForSummary = (_ref: unknown, bytes: number) => {
    asked.push(bytes);
    return room;
  };
  const worker = { links: new Map([[JOB, { isOwn: () => isOwn, roomForSummary }]]) };
  const received = new SummaryIntake().receive(stream as never, worker as never);
  await new Promise((resolve) => setImmediate(resolve));
  expect([asked, pulled]).toEqual([[data.structure.length + data.arrayBytes], 0]);
  isOwn = false;
  give(() => given++);
  expect(await received).toBe(ReportDecision.REPORT_DECISION_STALE);
  expect([given, pulled]).toEqual([1, 0]);
});

test("room is given in the order of asking, to what is larger than all of it when it is alone", async () => {
  const room = new Room(100);
  const order: string[] = [];
  const take = async (name: string, bytes: number) => {
    const back = await room.take(bytes);
    order.push(name);
    return back;
  };
  const small = await take("small", 60);
  const [huge, last] = [take("huge", 1000), take("last", 10)];
  await Promise.resolve();
  expect([order, room.takenBytes]).toEqual([["small"], 60]);
  small();
  (await huge)();
  (await last)();
  expect([order, room.takenBytes]).toEqual([["small", "huge", "last"], 0]);
});

describe("a message that is too large", () => {
  const request = { id: { jobId: JOB, unitId: "x".repeat(9000), attempt: 1n } };

  /** What the caller is told, with limits of so many bytes at the two ends. */
  async function refusal(clientBytes: number, serverBytes: number, answerBytes = 0): Promise<unknown> {
    const server = new Server({ "grpc.max_receive_message_length": serverBytes });
    const queryResult = { ...CoordinatorService.queryResult, responseSerialize: () => Buffer.alloc(answerBytes) };
    const answered = (_: unknown, done: (error: null, answer: unknown) => void) => done(null, {});
    server.addService({ queryResult } as never, { queryResult: answered } as never);
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      ),
    );
    ends.push(() => server.forceShutdown());
    const client = new CoordinatorClient(`127.0.0.1:${port}`, credentials.createInsecure(), {
      "grpc.max_send_message_length": clientBytes,
      "grpc.max_receive_message_length": 1000,
    });
    ends.push(() => client.close());
    return new Promise((resolve) => client.queryResult(request, (error) => resolve(error)));
  }

  test.each([
    ["for this end to send", 1000, 100_000, 0],
    ["for the other end to receive", 100_000, 1000, 0],
    ["for this end to receive, as an answer", 100_000, 100_000, 3000],
  ])("%s will be so for ever: it is an error that says so", async (_, clientBytes, serverBytes, answerBytes) => {
    const error = (await refusal(clientBytes, serverBytes, answerBytes)) as never;
    expect(isTooLarge(error)).toBe(true);
    expect(canPass(error)).toBe(false);
    expect(failuresOfCall(error, "there")[0]).toMatchObject({
      code: "wire/too-large",
      retryable: false,
      message: expect.stringMatching(/1000/),
    });
  });

  test("is told apart from a proxy that is busy", () => {
    const busy = Object.assign(new Error(), { code: 8, details: "Bandwidth exhausted or memory limit exceeded" });
    expect(canPass(busy)).toBe(true);
  });
});
