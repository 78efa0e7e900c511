/** That a job stands still reaches whoever asks: from the core through the driver, the service's log and message, to the command line. */
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { messageOfJob } from "../../api/grpc/job-messages.ts";
import { jsonOfJob, progressText } from "../../cli/job-table.ts";
import { type JobHistory, JobRunner, remoteLimits } from "../../coordinator/job/index.ts";
import type { WorkerLink } from "../../coordinator/link/index.ts";
import type { JobRecord } from "../../coordinator/queue/index.ts";
import type { WorkerId } from "../../merge/work/index.ts";
import { viewOf } from "../../service/job-view.ts";
import { ServedJob } from "../../service/served-job.ts";
import { placeOf } from "../../storage/index.ts";
import { plan } from "../coordinator/link/link-rig.ts";

const options = { seed: "0", sliceBytes: 1, shardBytes: 1, recipeName: "r.yml", requestId: "", auditShare: 0 };
const flags = { allowNonfinite: false, allowUnknownKeys: false, allowVocabularyMismatch: false, overwrite: false };
const RECORD = {
  ...{ id: "j", name: "job", priority: 2, recipe: "", state: "claimed", wish: "none", claims: 1, submitter: "" },
  ...{ submittedAt: "2026-01-01T00:00:00.000Z", out: { root: "out", path: "x" } },
  options: { ...options, ...flags, restart: false, hashInputs: false },
} as unknown as JobRecord;
const NOTHING: JobHistory = {
  ...{ replaced: [], phase: "planned", files: [], slices: new Map(), verdicts: new Map(), epochs: [] },
};

/** A driver with one worker that holds what it is given and says nothing, and the served job that observes it. */
function held() {
  let nowMs = 0;
  let tick = () => {};
  const log: string[] = [];
  const served = new ServedJob(RECORD, {
    clock: { nowMs: () => nowMs },
    log: (event: string, _: unknown, level = "info") => log.push(`${level} ${event}`),
  } as never);
  const link = {
    ...{ id: "w" as WorkerId, trust: "other", incarnation: "i", host: "h", memoryBytes: 1e9, slots: 2 },
    ...{ assign() {}, answerGrant() {}, answerReport() {}, cancel() {}, async close() {} },
  } as WorkerLink;
  const runner = new JobRunner(
    {
      ...{ plan, shardPaths: [placeOf("/s")], surveyElements: 1, earlierWriters: [] },
      limits: { ...remoteLimits({ slices: 2 }), attemptBase: 0, earlierGrantsMs: 0 },
    },
    NOTHING,
    {
      records: new Proxy({} as never, { get: () => async () => {} }),
      clock: { nowMs: () => nowMs },
      workers: async (listener) => void listener.attached(link, []),
      ticks: (given) => {
        tick = given;
        return () => {};
      },
      publish: async () => {},
      discardStage: async () => {},
      observer: served,
    },
  );
  void runner.run();
  const at = (ms: number) => {
    nowMs = ms;
    const attempts = plan.slices.map(({ id }) => ({ unit: id as never, attempt: 1, alive: true, bytesDone: 0 }));
    runner.heartbeat(link.id, attempts);
    tick();
    return viewOf(RECORD, served);
  };
  return { at, log, runner, link };
}

test("a job that stands still says so in its message, as text and JSON, and at warn in the log, each minute", () => {
  const { at, log } = held();
  const moving = at(119_000);
  expect([moving.stalled, progressText(messageOfJob(moving)), jsonOfJob(messageOfJob(moving)).stalled]).toEqual([
    undefined,
    expect.not.stringContaining("stands still"),
    undefined,
  ]);
  const stands = at(120_000);
  expect(stands.stalled).toMatchObject({ code: "coordinator/stalled" });
  expect(progressText(messageOfJob(stands))).toMatch(/0\/2 slices {2}0 % {2}stands still$/);
  expect(jsonOfJob(messageOfJob(stands)).stalled).toMatchObject({
    code: "coordinator/stalled",
    hint: expect.any(String),
  });
  at(121_000);
  at(179_000);
  expect(log).toEqual(["warn job stands still"]);
  at(180_000);
  expect(log).toEqual(["warn job stands still", "warn job stands still"]);
});

test("it takes that back with the first unit that is finished; questions and failures are none", async () => {
  const { at, log, runner, link } = held();
  await turn(); // the worker stands in the journal
  at(130_000);
  const [first, second] = plan.slices.map(({ id }) => id as never);
  runner.grantRequested(link.id, first!, 1, "x");
  const failure = { code: "storage/io", message: "", hint: "", retryable: true };
  runner.reported(link.id, { unit: second!, attempt: 1, kind: "failed", failure });
  expect(at(131_000).stalled).toBeDefined();
  const counts = { bytesRead: 0, bytesWritten: 0, tensorsCut: 0 };
  runner.reported(link.id, { unit: first!, attempt: 1, kind: "slice", sha256: "x", warnings: [], counts });
  await turn(); // and the slice
  expect(runner.progress().slicesDone).toBe(1);
  expect(at(132_000).stalled).toBeUndefined();
  expect(log).toEqual(["warn job stands still", "info job goes on"]);
});

test("an audit that is given up is warned of once, and counted as often as it happens", () => {
  const warned: unknown[] = [];
  const served = new ServedJob(RECORD, {
    clock: { nowMs: () => 0 },
    log: (event: string, facts: { message?: string }) => event === "warning" && warned.push(facts.message),
  } as never);
  served.counted("audit");
  served.counted("audit-skipped");
  served.counted("audit-skipped");
  expect(warned).toEqual([expect.stringContaining("audits_skipped_total")]);
  expect(served.warnings).toEqual(warned);
  expect(viewOf(RECORD, served).counters).toMatchObject({ audits_total: 1, audits_skipped_total: 2 });
});
