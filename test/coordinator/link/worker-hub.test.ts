import { status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CodedError } from "../../../errors/index.ts";
import { type Assignment, planFromText } from "../../../merge/work/index.ts";
import {
  type Answer,
  AttachRequest,
  GrantDecision,
  Heartbeat,
  ReportDecision,
  SliceReport,
} from "../../../proto/index.ts";
import { failuresOfCall, PROTOCOL_VERSION, planTextOf } from "../../../wire/index.ts";
import { HandWorker, id, JOB, openRig, plan, RecordingJob, unit } from "./link-rig.ts";

const sha256 = Buffer.alloc(32, 7);
let rig: Awaited<ReturnType<typeof openRig>>;
let job: RecordingJob;

beforeEach(async () => {
  rig = await openRig();
  job = new RecordingJob();
});
afterEach(() => rig.close());

const slice = (attempt: number): Assignment => ({
  ...{ unit: unit("s000000"), attempt, kind: "slice", slice: plan.slices[0]!, tasks: [], verdicts: [], audit: false },
});

const sliceReport = (attempt: number) =>
  SliceReport.fromPartial({ id: id(attempt), result: { $case: "sliceSha256", value: sha256 } });
const grants = (worker: HandWorker, ...attempts: number[]) =>
  worker.ask(...attempts.map((attempt) => ({ $case: "grant", value: { id: id(attempt), sha256 } }) as const));
const report = (worker: HandWorker, ...attempts: number[]) =>
  worker.ask(...attempts.map((attempt) => ({ $case: "report", value: sliceReport(attempt) }) as const));
const decisions = (answers: Answer["answer"][]) => answers.map((answer) => answer?.value);

/** Roots of a worker that sees all. */
const roots = [
  { name: "models", writable: false },
  { name: "out", writable: true },
];

describe("Attach", () => {
  test("welcomes, describes the job ahead of its first assignment, and lends", async () => {
    await rig.hub.source(rig.job)(job);
    const worker = new HandWorker(rig.client(), "w1", { roots });
    const { value: welcome } = await worker.next("welcome");
    expect(welcome).toMatchObject({
      protocolVersion: PROTOCOL_VERSION,
      epoch: 7n,
      leaseMs: 60_000n,
      heartbeatMs: 5_000n,
    });
    job.link!.assign(slice(1), 60_000);
    job.link!.assign(slice(2), 60_000);
    await worker.next("assignment");
    await worker.next("assignment");
    expect(worker.received.map(({ $case }) => $case)).toEqual(["job"]);
    const { value } = await worker.next("job");
    expect(value).toMatchObject({ jobId: JOB, inputAccess: 1, outputAccess: 1 });
    expect(value.inputs[0]?.files[0]?.place).toMatchObject({ root: "models", path: "base/model.safetensors" });
    expect(JSON.stringify(value.shards)).not.toContain("/tmp");
  });

  test("an assignment that the job makes at once comes after the welcome", async () => {
    const { attached } = job;
    job.attached = (link, held) => {
      link.assign(slice(1), 60_000);
      return attached.call(job, link, held);
    };
    await rig.hub.source(rig.job)(job);
    const worker = new HandWorker(rig.client(), "w1", { roots });
    await worker.next("assignment");
    expect(worker.received.map(({ $case }) => $case)).toEqual(["welcome", "job"]);
  });

  test("other versions are refused with a sentence", async () => {
    const worker = new HandWorker(rig.client(), "w1", { protocolVersion: PROTOCOL_VERSION + 1 });
    const { code, details } = await worker.ended;
    expect(code).toBe(status.FAILED_PRECONDITION);
    expect(details).toContain("upgrade the coordinator");
  });

  test("two workers of one name: the second is refused while the first is there", async () => {
    const first = new HandWorker(rig.client(), "w1");
    await first.next("welcome");
    const second = new HandWorker(rig.client(), "w1", { incarnation: "two" });
    const refused = await second.ended;
    const [failure] = failuresOfCall(refused as never, "");
    expect(failure).toMatchObject({ code: "link/name-taken", retryable: true });
    first.stream.end();
    await first.ended;
    await new HandWorker(rig.client(), "w1", { incarnation: "two" }).next("welcome");
  });

  test("the same worker on a new connection keeps what it holds, but for what is not its any more", async () => {
    await rig.hub.source(rig.job)(job);
    const first = new HandWorker(rig.client(), "w1");
    await first.next("welcome");
    job.drops = [{ unit: unit("s000000"), attempt: 3 }];
    const other = { jobId: "gone", unitId: "s000000", attempt: 9n };
    const second = new HandWorker(rig.client(), "w1", { held: [id(3), id(4), other] });
    const { value } = await second.next("welcome");
    expect(value.dropped.map(({ jobId, attempt }) => [jobId, attempt])).toEqual([
      [JOB, 3n],
      ["gone", 9n],
    ]);
    expect((await first.ended).code).toBe(status.UNAVAILABLE);
    expect(job.heard).toEqual([
      ["attached", "w1", 0],
      ["slotsChanged", "w1", 2],
      ["detached", "w1"],
      ["attached", "w1", 2, 3, 4],
    ]);
  });

  test("what a worker says that it is writing is told to the job, now or when the job opens", async () => {
    const worker = new HandWorker(rig.client(), "w1", { writing: { ids: [id(3)] } });
    await worker.next("welcome");
    // Of this job, which is not open yet.
    await rig.hub.source(rig.job)(job);
    expect(job.told).toEqual([["w1", 3]]);
    const silent = new HandWorker(rig.client(), "w2");
    await silent.next("welcome");
    expect(job.told).toEqual([["w1", 3]]);
  });

  test("what it writes of a job that is not open may be of the same output: nothing is told before it hands that back", async () => {
    await rig.hub.source(rig.job)(job);
    const of = (jobId: string) => ({ jobId, unitId: "s000000", attempt: 9n });
    const worker = new HandWorker(rig.client(), "w1", { writing: { ids: [of("before"), id(3)] } });
    await worker.next("welcome");
    expect(job.told).toEqual([]);
    worker.send({ $case: "handBack", value: { ids: [of("before")] } });
    worker.send({ $case: "heartbeat", value: Heartbeat.fromPartial({ sequence: 1n }) });
    await worker.next("heartbeat");
    expect(job.told).toEqual([["w1", 3]]);
  });

  test("what was granted here and not answered for is told to the next run of the job", async () => {
    const next = new RecordingJob();
    await rig.hub.source(rig.job)(job);
    const worker = new HandWorker(rig.client(), "w1", { writing: { ids: [] } });
    await worker.next("welcome");
    for (const attempt of [3, 4]) {
      job.link?.assign({ unit: unit("s000000"), attempt, kind: "seal-file", path: "", sizeBytes: 1 } as never, 1000);
      job.link?.answerGrant({ unit: unit("s000000"), attempt }, "granted");
    }
    worker.send({ $case: "handBack", value: { ids: [id(3)] } });
    worker.send({ $case: "heartbeat", value: Heartbeat.fromPartial({ sequence: 1n }) });
    await worker.next("heartbeat");
    await rig.hub.closeJob(JOB);
    await rig.hub.source(rig.job)(next);
    expect(next.told).toEqual([["w1", 4]]);
  });

  test("where a job does not take the worker nobody is attached, and the next try is a first one", async () => {
    const { attached } = job;
    job.attached = () => {
      throw new CodedError("x/not-now", "not now", { hint: "", retryable: true });
    };
    await rig.hub.source(rig.job)(job);
    const refused = await new HandWorker(rig.client(), "w1").ended;
    expect(refused.code).toBe(status.UNAVAILABLE);
    expect([...rig.hub.workers]).toEqual([]);
    expect(() => rig.hub.attachedWorker("w1")).toThrow("not attached");
    job.attached = attached;
    await new HandWorker(rig.client(), "w1", { incarnation: "two" }).next("welcome");
    expect(job.heard).toEqual([
      ["detached", "w1"],
      ["attached", "w1", 0],
      ["slotsChanged", "w1", 2],
    ]);
  });

  test("a hello that cannot be read leaves the connection before it as it is", async () => {
    const first = new HandWorker(rig.client(), "w1");
    await first.next("welcome");
    const nameless = { jobId: JOB, unitId: "", attempt: 1n };
    const refused = await new HandWorker(rig.client(), "w1", { held: [nameless] }).ended;
    expect(refused.code).toBe(status.INVALID_ARGUMENT);
    first.send({ $case: "heartbeat", value: { sequence: 1n, held: [], memoryUsedBytes: 0n } });
    expect((await first.next("heartbeat")).value.sequence).toBe(1n);
  });

  test("a silent connection is cut off; a worker that is gone for good is forgotten", async () => {
    await rig.hub.source(rig.job)(job);
    const worker = new HandWorker(rig.client(), "w1");
    await worker.next("welcome");
    rig.clock.ms = 20_000;
    rig.hub.tick();
    expect(rig.hub.attachedWorker("w1").attached).toBe(true);
    rig.clock.ms = 20_001;
    rig.hub.tick();
    expect((await worker.ended).code).toBe(status.UNAVAILABLE);
    expect(job.heard.at(-1)).toEqual(["detached", "w1"]);
    expect([[...rig.hub.workers].length, rig.forgotten]).toEqual([1, []]);
    rig.clock.ms = 700_000;
    rig.hub.tick();
    expect([[...rig.hub.workers].length, rig.forgotten]).toEqual([0, ["w1"]]);
  });

  test("heartbeats name attempts, and are answered with those that are renewed and those that are to be dropped", async () => {
    await rig.hub.source(rig.job)(job);
    const worker = new HandWorker(rig.client(), "w1");
    await worker.next("welcome");
    job.drops = [{ unit: unit("s000000"), attempt: 3 }];
    job.renews = [{ unit: unit("s000000"), attempt: 5 }];
    const held = [
      { id: id(3), bytesDone: 5n, alive: true },
      { id: id(4), bytesDone: 5n, alive: true },
      { id: id(5), bytesDone: 5n, alive: true },
      { id: { jobId: "gone", unitId: "x", attempt: 1n }, bytesDone: 0n, alive: true },
    ];
    worker.send({ $case: "heartbeat", value: { sequence: 41n, held, memoryUsedBytes: 0n } });
    const { value } = await worker.next("heartbeat");
    expect(value.sequence).toBe(41n);
    expect(value.renewed).toMatchObject([id(5)]);
    expect(value.dropped.map(({ jobId }) => jobId).sort()).toEqual(["gone", JOB]);
    expect(job.heard.at(-1)).toEqual(["heartbeat", "w1", 3, 4, 5]);
  });

  test("a worker whose certificate has run out meanwhile is heard no more", async () => {
    const worker = new HandWorker(rig.client(), "w1");
    await worker.next("welcome");
    worker.send({ $case: "heartbeat", value: Heartbeat.fromPartial({ sequence: 1n }) });
    await worker.next("heartbeat");
    rig.refused.add("w1");
    worker.send({ $case: "heartbeat", value: Heartbeat.fromPartial({ sequence: 2n }) });
    expect((await worker.ended).details).toBe("no worker");
    expect(worker.received).toEqual([]);
  });

  test("a second hello ends the call", async () => {
    const worker = new HandWorker(rig.client(), "w1");
    await worker.next("welcome");
    worker.send({ $case: "hello", value: {} as never });
    expect((await worker.ended).code).toBe(status.INVALID_ARGUMENT);
  });
});

describe("an error without a code", () => {
  test.each([
    ["in Attach", "heartbeat"],
    ["in a question", "reported"],
  ] as const)("%s ends it, and is told as a defect: nobody's input explains it", async (_, what) => {
    await rig.hub.source(rig.job)(job);
    const worker = new HandWorker(rig.client(), "w1", { roots });
    await worker.next("welcome");
    const broken = new Error("a count is -1");
    job[what] = () => {
      throw broken;
    };
    if (what === "heartbeat") {
      worker.send({
        $case: "heartbeat",
        value: { sequence: 1n, held: [{ id: id(1), bytesDone: 0n, alive: true }], memoryUsedBytes: 0n },
      });
      expect((await worker.ended).code).toBe(status.INTERNAL);
    } else {
      const failure = { $case: "failure", value: { code: "merge/internal", retryable: false } };
      expect(await report(worker, 1)).toMatchObject([failure]);
    }
    expect(rig.defects).toEqual([[broken, expect.stringContaining("/deltaworks.v1.Coordinator/")]]);
  });

  test("is none where the caller is wrong", async () => {
    const worker = new HandWorker(rig.client(), "w1");
    await worker.next("welcome");
    worker.send({ $case: "handBack", value: { ids: [{ jobId: "", unitId: "", attempt: 0n }] } });
    expect((await worker.ended).code).toBe(status.INVALID_ARGUMENT);
    expect(rig.defects).toEqual([]);
  });
});

describe("grants and reports", () => {
  async function attached(name = "w1") {
    await rig.hub.source(rig.job)(job);
    const worker = new HandWorker(rig.client(), name, { roots });
    await worker.next("welcome");
    return worker;
  }

  test("each entry has its own answer, in the order of the entries", async () => {
    const worker = await attached();
    const answers = new Map([
      [1, "granted"],
      [2, "refused"],
      [3, "later"],
    ] as const);
    job.onGrant = (ref) => job.link!.answerGrant(ref, answers.get(ref.attempt as 1)!);
    expect(decisions(await grants(worker, 3, 1, 2))).toEqual([
      GrantDecision.GRANT_DECISION_LATER,
      GrantDecision.GRANT_DECISION_GRANTED,
      GrantDecision.GRANT_DECISION_REFUSED,
    ]);
    expect(job.heard.at(-1)).toEqual(["grantRequested", "w1", "s000000", 2, "07".repeat(32)]);
  });

  test("a report is answered when the job answers, not before", async () => {
    const worker = await attached();
    let accept: () => void = () => {};
    const reported = new Promise<void>((resolve) => {
      job.onReport = (of) => {
        accept = () => job.link!.answerReport(of, "accepted");
        resolve();
      };
    });
    let answered = false;
    const answer = report(worker, 1).finally(() => {
      answered = true;
    });
    await reported;
    await grants(worker, 2); // a whole round trip later
    expect(answered).toBe(false);
    accept();
    expect(decisions(await answer)).toEqual([ReportDecision.REPORT_DECISION_ACCEPTED]);
  });

  test("a report that is repeated while it becomes durable is answered each time, and each time after that", async () => {
    const worker = await attached();
    const heard: (() => void)[] = [];
    const next = () => new Promise<void>((resolve) => heard.push(resolve));
    job.onReport = () => heard.shift()?.();
    const [first, second] = [next(), next()];
    const waiting = [report(worker, 1), report(worker, 1)];
    await Promise.all([first, second]);
    job.link!.answerReport({ unit: unit("s000000"), attempt: 1 }, "accepted");
    const accepted = [ReportDecision.REPORT_DECISION_ACCEPTED];
    expect((await Promise.all(waiting)).map(decisions)).toEqual([accepted, accepted]);
    job.onReport = (of) => job.link!.answerReport(of, "accepted");
    expect(decisions(await report(worker, 1))).toEqual(accepted);
    expect(decisions(await report(worker, 1))).toEqual(accepted);
  });

  test("what waits for an answer when its attempt is cancelled is stale", async () => {
    const worker = await attached();
    const reported = new Promise<void>((resolve) => {
      job.onReport = () => resolve();
    });
    const waiting = report(worker, 1);
    await reported;
    job.link!.cancel([{ unit: unit("s000000"), attempt: 1 }]);
    expect(decisions(await waiting)).toEqual([ReportDecision.REPORT_DECISION_STALE]);
  });

  test("of what was lent to another worker nobody else may speak", async () => {
    await attached("w1");
    const link = job.link!;
    const thief = new HandWorker(rig.client(), "w2", { roots });
    await thief.next("welcome");
    link.assign(slice(5), 60_000);
    job.heard.length = 0;
    expect(decisions(await grants(thief, 5))).toEqual([GrantDecision.GRANT_DECISION_REFUSED]);
    expect(decisions(await report(thief, 5))).toEqual([ReportDecision.REPORT_DECISION_STALE]);
    thief.send({ $case: "handBack", value: { ids: [id(5)] } });
    thief.send({ $case: "heartbeat", value: { sequence: 1n, held: [], memoryUsedBytes: 0n } });
    await thief.next("heartbeat");
    expect(job.heard).toEqual([]);
  });

  test("of an ended job everything is stale, also what was waiting for an answer", async () => {
    const worker = await attached();
    const reported = new Promise<void>((resolve) => {
      job.onReport = () => resolve();
    });
    const waiting = report(worker, 1);
    await reported;
    await rig.hub.closeJob(JOB);
    expect(decisions(await waiting)).toEqual([ReportDecision.REPORT_DECISION_STALE]);
    expect(decisions(await report(worker, 1))).toEqual([ReportDecision.REPORT_DECISION_STALE]);
    expect((await worker.next("jobEnded")).value).toMatchObject({ jobId: JOB });
  });

  test("an answer goes to the connection on which was asked or to none; the next one asks anew", async () => {
    const worker = await attached();
    const reported = new Promise<void>((resolve) => {
      job.onReport = () => resolve();
    });
    const waiting = report(worker, 1);
    waiting.catch(() => undefined);
    await reported;
    const again = new HandWorker(rig.client(), "w1", { roots });
    await again.next("welcome");
    await expect(waiting).rejects.toMatchObject({ code: status.UNAVAILABLE });
    job.onReport = () => {};
    // Under the same number, which is of another question now.
    const asked = grants(again, 2);
    job.link!.answerReport({ unit: unit("s000000"), attempt: 1 }, "accepted");
    expect(decisions(await asked)).toEqual([GrantDecision.GRANT_DECISION_GRANTED]);
    job.onReport = (of) => job.link!.answerReport(of, "accepted");
    expect(decisions(await report(again, 1))).toEqual([ReportDecision.REPORT_DECISION_ACCEPTED]);
  });

  test("one that cannot be read has an answer that says so; those beside it are answered as ever", async () => {
    const worker = await attached();
    const nameless = { $case: "grant", value: { id: { ...id(1), unitId: "" }, sha256 } } as const;
    const short = {
      $case: "report",
      value: { ...sliceReport(2), result: { $case: "sliceSha256", value: Buffer.alloc(3) } },
    } as const;
    const sound = { $case: "grant", value: { id: id(3), sha256 } } as const;
    const unreadable = { $case: "failure", value: { code: "wire/malformed", retryable: false } };
    expect(await worker.ask(nameless, sound, short)).toMatchObject([
      unreadable,
      { $case: "grant", value: GrantDecision.GRANT_DECISION_GRANTED },
      unreadable,
    ]);
    expect(rig.defects).toEqual([]);
  });

  test("a worker that asks more than is answered is not read until it is answered", async () => {
    const worker = await attached();
    const link = job.link!;
    const waiting: number[] = [];
    job.onReport = ({ attempt }) => waiting.push(attempt);
    const many = 5000;
    const answers = report(worker, ...Array.from({ length: many }, (_, k) => k));
    while (waiting.length < many) await new Promise((resolve) => setImmediate(resolve));
    let isRead = false;
    job.onGrant = (ref) => {
      isRead = true;
      link.answerGrant(ref, "granted");
    };
    const granted = grants(worker, many);
    // Longer than a round trip: of another worker, which is read.
    const other = new HandWorker(rig.client(), "w2", { roots });
    await other.next("welcome");
    expect(isRead).toBe(false);
    for (const attempt of waiting) link.answerReport({ unit: unit("s000000"), attempt }, "accepted");
    expect(new Set(decisions(await answers))).toEqual(new Set([ReportDecision.REPORT_DECISION_ACCEPTED]));
    expect(decisions(await granted)).toEqual([GrantDecision.GRANT_DECISION_GRANTED]);
  });

  test("a worker that is not attached is heard only once it has said who it is", async () => {
    const client = rig.client();
    const worker = new HandWorker(client, "w1");
    await worker.next("welcome");
    const stream = client.attach(worker.metadata);
    const ended = new Promise<{ code: number }>((resolve) => stream.on("status", resolve));
    stream.on("error", () => {});
    stream.on("data", () => {});
    const question = { number: 1, question: { $case: "report", value: sliceReport(1) } } as const;
    stream.write(AttachRequest.fromPartial({ message: { $case: "question", value: question } }));
    expect((await ended).code).toBe(status.INVALID_ARGUMENT);
    expect(job.heard.filter(([what]) => what === "reported")).toEqual([]);
  });
});

test.each([
  ["gzip, to those who take it", true],
  ["text, to workers that know nothing else", false],
])("the plan comes in pieces, whole: %s", async (_, takesGzip) => {
  await rig.hub.source(rig.job)(job);
  const worker = new HandWorker(rig.client(), "w1");
  await worker.next("welcome");
  const pieces: Buffer[] = [];
  for await (const message of worker.client.readPlan({ jobId: JOB, takesGzip }, worker.metadata)) {
    expect(message.gzipChunk.length > 0).toBe(takesGzip);
    pieces.push(Buffer.from(planTextOf(message)));
  }
  expect(planFromText(Buffer.concat(pieces))).toEqual(plan);
});
