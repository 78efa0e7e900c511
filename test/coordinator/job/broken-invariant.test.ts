/** Whatever throws inside of a job's run ends the run with that error; whoever called hears nothing of it, and nothing stands still. */
import { expect, test } from "vitest";
import { type CoreEvent, type Effect, type JobState, reduce } from "../../../coordinator/core/index.ts";
import { type JobPorts, type JobRecords, JobRunner, remoteLimits } from "../../../coordinator/job/index.ts";
import { JournalError } from "../../../coordinator/journal/index.ts";
import type { WorkerLink } from "../../../coordinator/link/index.ts";
import type { Plan, UnitId, WorkerId } from "../../../merge/work/index.ts";
import { placeOf } from "../../../storage/index.ts";

const plan = {
  tasks: [{ name: "t", kind: "copy", method: "", dtype: "F32", shape: [2], parameters: {}, models: [] }],
  inputs: [],
  options: {},
  shards: [{ name: "m", sizeBytes: 8 }],
  slices: [
    {
      ...{ id: "s0", shard: 0, offsetBytes: 0, sizeBytes: 8 },
      parts: [{ task: 0, part: 0, partCount: 1, firstElement: 0, elementCount: 2 }],
    },
  ],
} as unknown as Plan;
const history = { replaced: [], phase: "planned", files: [], slices: new Map(), verdicts: new Map() } as never;
/** A journal that takes everything. */
const records = new Proxy({}, { get: () => async () => {} }) as JobRecords;
const W1 = "w1" as WorkerId;

function runner(decide: (state: JobState, event: CoreEvent) => readonly Effect[], ports: Partial<JobPorts> = {}) {
  let ticking = false;
  const job = new JobRunner(
    {
      ...{ plan, shardPaths: [placeOf("/m")], surveyElements: 1 },
      limits: { ...remoteLimits({ slices: 1 }), attemptBase: 0, earlierGrantsMs: 0 },
      seams: { decide },
    },
    history,
    {
      records,
      clock: { nowMs: () => 1 },
      ticks: () => {
        ticking = true;
        return () => {
          ticking = false;
        };
      },
      publish: async () => {},
      discardStage: async () => {},
      observer: { progress: () => {}, warning: () => {}, counted: () => {} },
      ...ports,
    },
  );
  return { job, isTicking: () => ticking };
}

function link(id: WorkerId, log: string[] = []): WorkerLink {
  return {
    ...{ id, trust: "other", incarnation: "1", host: "h", memoryBytes: 1e9, slots: 2 },
    assign: ({ unit, attempt }) => void log.push(`assign ${unit}#${attempt}`),
    answerGrant: () => {},
    answerReport: () => {},
    cancel: () => {},
    close: async () => void log.push("close"),
  };
}

const throwsAt = (type: string) => (state: JobState, event: CoreEvent) => {
  if (event.type === type) throw new Error(`the count of ${type} is -1`);
  return reduce(state, event);
};

test.each([
  "worker-attached",
  "heartbeat",
  "handed-back",
  "worker-detached",
  "grant-requested",
  "slice-computed",
  "time-passed",
])("in %s: the run ends with the error that names it, links are closed, ticks end, callers go on", async (type) => {
  const log: string[] = [];
  let tick = () => {};
  const { job, isTicking } = runner(throwsAt(type), {
    ticks: (given) => {
      tick = given;
      return () => {
        tick = () => log.push("ticked");
      };
    },
  });
  const ended = job.run();
  const ref = { unit: "s0" as UnitId, attempt: 1 };
  job.attached(link(W1, log), []);
  job.heartbeat(W1, [{ ...ref, alive: true }]);
  job.grantRequested(W1, ref.unit, 1, "ab");
  job.reported(W1, {
    ...{ ...ref, kind: "slice", sha256: "ab", warnings: [] },
    counts: { bytesRead: 0, bytesWritten: 0, tensorsCut: 0 },
  });
  tick();
  job.handedBack(W1, [ref]);
  job.detached(W1);
  await expect(ended).rejects.toThrow(`the count of ${type} is -1`);
  // Nothing of it lives on: what workers say is theirs to drop.
  expect(job.attached(link("w2" as WorkerId, log), [ref])).toEqual([ref]);
  expect(job.heartbeat(W1, [{ ...ref, alive: true }])).toMatchObject({ renewed: [], dropped: [ref] });
  expect(isTicking()).toBe(false);
});

test("in an effect, or in whoever watches: the run ends with the error as well", async () => {
  const broken = {
    ...link(W1),
    assign: () => {
      throw new Error("there is no such unit");
    },
  };
  const first = runner(reduce).job;
  const ended = first.run();
  first.attached(broken, []);
  await expect(ended).rejects.toThrow("there is no such unit");

  let calls = 0;
  const second = runner(reduce, {
    observer: {
      warning: () => {},
      counted: () => {},
      progress: () => {
        if (++calls === 2) throw new Error("nobody can watch this");
      },
    },
  }).job;
  const watched = second.run();
  second.attached(link(W1), []);
  await expect(watched).rejects.toThrow("nobody can watch this");
});

test("a seal without a hash for each range is a failure of its attempt, and lent again; it is not published as empty", async () => {
  const log: string[] = [];
  const { job } = runner((state, event) => {
    if (event.type === "unit-failed") log.push(`failed ${event.failure.code}`);
    return reduce(state, event);
  });
  const ended = job.run();
  const of = { unit: "s0" as UnitId, attempt: 1 };
  job.attached(link(W1, log), []);
  await new Promise((resolve) => setImmediate(resolve)); // its name is in the journal
  job.grantRequested(W1, of.unit, 1, "ab");
  const counts = { bytesRead: 0, bytesWritten: 0, tensorsCut: 0 };
  job.reported(W1, { ...of, kind: "slice", sha256: "ab", warnings: [], counts });
  await new Promise((resolve) => setImmediate(resolve));
  const seal = log.find((line) => line.startsWith("assign seal-1-0#")) ?? "";
  expect(seal).not.toBe("");
  job.reported(W1, { unit: "seal-1-0" as UnitId, attempt: Number(seal.split("#")[1]), kind: "seal", sha256: [] });
  expect(log).toContain("failed coordinator/other-than-lent");
  expect(log.filter((line) => line.startsWith("assign seal-1-0#"))).toHaveLength(2);
  job.stop();
  job.detached(W1);
  void ended;
});

test("links that the run still has are closed", async () => {
  const log: string[] = [];
  const { job } = runner(throwsAt("heartbeat"));
  const ended = job.run();
  job.attached(link(W1, log), []);
  job.heartbeat(W1, []);
  await expect(ended).rejects.toThrow();
  expect(log).toEqual(["assign s0#1", "close"]);
});

test("a leadership that cannot be confirmed for another reason than an outage ends the job with the reason", async () => {
  const errors = [
    new JournalError("journal/unavailable", "away", { hint: "" }),
    new Error("the last sequence went back"),
  ];
  let tick = () => {};
  const { job } = runner(reduce, {
    leadership: { limitMs: 10, confirm: () => Promise.reject(errors.shift()) },
    ticks: (given) => {
      tick = given;
      return () => {};
    },
  });
  const ended = job.run();
  await new Promise((resolve) => setImmediate(resolve));
  expect(job.progress().phase).not.toBe("failed"); // an outage is waited for
  tick();
  await expect(ended).resolves.toMatchObject({
    outcome: "failed",
    cause: { message: expect.stringContaining("the last sequence went back") },
  });
});
