import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { JobId, JobRecord } from "../../coordinator/queue/index.ts";
import type { Json } from "../../merge/work/index.ts";
import { detailOfEnd, detailOfRun, waitingFor } from "../../service/job-detail.ts";
import { viewOf } from "../../service/job-view.ts";
import type { ServedJob } from "../../service/served-job.ts";

function record(detail: Json): JobRecord {
  const job = { name: "a", priority: 2, recipe: "", options: {}, out: { root: "out", path: "a" }, submitter: "" };
  const state = {
    state: "ended",
    wish: "none",
    claims: 1,
    outcome: "failed",
    submittedAt: "2026-01-02T03:04:05Z",
  } as const;
  return { ...job, ...state, id: "1" as JobId, detail };
}

const CAUSE = { code: "storage/full", message: "m", hint: "h", retryable: true };

test("what a coordinator noted of a job is told", () => {
  const detail = {
    endedAtMs: 5,
    slices: 4,
    slicesDone: 3,
    bytesRead: 2,
    bytesWritten: 1,
    warnings: ["w"],
    cause: CAUSE,
  };
  expect(viewOf(record(detail), undefined)).toMatchObject({
    ...{ endedAtMs: 5, slices: 4, slicesDone: 3, bytesRead: 2, bytesWritten: 1 },
    cause: { code: "storage/full", retryable: true },
    warnings: ["w"],
  });
});

test("what was counted, and what was warned of, is told when a job has ended as while it ran", () => {
  const served = {
    ...{ counters: new Map([["audit-skipped", 3]]), stalls: 2, warnings: ["not all was audited"] },
    ...{ plan: { slices: 4 }, progressNow: { slicesDone: 4 } },
  } as unknown as ServedJob;
  const running = viewOf({ ...record({}), state: "claimed" }, served);
  expect(running.warnings).toEqual(["not all was audited"]);
  for (const detail of [detailOfRun(served), detailOfEnd(served, CAUSE)]) {
    const { counters, warnings } = viewOf(record(JSON.parse(JSON.stringify(detail)) as Json), undefined);
    expect([counters, warnings]).toEqual([running.counters, running.warnings]);
  }
});

test("what is noted of a job stays small, however much there is to say", () => {
  const served = { counters: new Map(), stalls: 0, warnings: Array.from({ length: 100 }, () => "w".repeat(5000)) };
  const cause = { ...CAUSE, message: "m".repeat(2 ** 20) };
  for (const detail of [detailOfEnd(served as unknown as ServedJob, cause), waitingFor(undefined, cause)])
    expect(JSON.stringify(detail).length).toBeLessThan(64 * 1024);
});

test("what a job is tried again after is told until it gets going, and of one that has ended no more", () => {
  const detail = { slicesDone: 1, waits: CAUSE };
  const queued = { ...record(detail), state: "queued" } as const;
  expect(viewOf(queued, undefined)).toMatchObject({ slicesDone: 1, stalled: { code: "storage/full" } });
  expect(viewOf(record(detail), undefined).stalled).toBeUndefined();
  const going = {
    progressNow: { slicesDone: 1 },
    counters: new Map(),
    stalls: 0,
    warnings: [],
  } as unknown as ServedJob;
  expect(viewOf({ ...queued, state: "claimed" }, going).stalled).toBeUndefined();
});

test("what was counted is told by names that stay", () => {
  const served = { counters: new Map([["lapsed-lease", 3]]), stalls: 2, warnings: [] } as unknown as ServedJob;
  const { counters } = viewOf({ ...record({}), state: "claimed" }, served);
  expect(counters).toMatchObject({ lapsed_leases_total: 3, stalls_total: 2, disputes_total: 0 });
  const documented = readFileSync("docs/operations.md", "utf8");
  for (const name of Object.keys(counters)) expect(documented).toContain(`\`${name}\``);
  expect(viewOf(record({}), undefined).counters).toEqual({});
});

describe("a record whose detail is not as it should be is told of all the same", () => {
  test.each<[string, Json]>([
    ["no object", ["x"]],
    ["a text", "x"],
    ["numbers as text", { slices: "4", bytesRead: "2" }],
    ["half numbers", { bytesRead: 0.5, endedAtMs: 1.5 }],
    ["numbers below 0", { bytesWritten: -1, slicesDone: -1 }],
    ["nothing where something was", { slices: null, cause: null }],
    ["a cause without its parts", { cause: { code: "x" } }],
    ["a cause that is a text", { cause: "x" }],
  ])("%s", (_, detail) => {
    const view = viewOf(record(detail), undefined);
    expect(view).toMatchObject({
      name: "a",
      slices: 0,
      slicesDone: 0,
      bytesRead: 0,
      bytesWritten: 0,
      endedAtMs: undefined,
    });
    expect(view.cause).toBeUndefined();
  });

  test("a plan that is no digest", () => {
    const planned = { ...record({}), plan: "digest" };
    expect(viewOf(planned, undefined).planSha256).toBeUndefined();
  });
});
