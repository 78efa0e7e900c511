import { describe, expect, test } from "vitest";
import type { Assignment, Plan, Report, UnitId } from "../../merge/work/index.ts";
import { Assignment as AssignmentMessage, FailureReport, SliceReport } from "../../proto/index.ts";
import { placeOf } from "../../storage/index.ts";
import {
  assignmentOf,
  checkVersions,
  chunksOf,
  failedOf,
  hexOf,
  indexPlan,
  messageOfAssignment,
  messageOfFailed,
  messageOfReport,
  numberOf,
  PROTOCOL_VERSION,
  reportOf,
} from "../../wire/index.ts";

const sha256 = "ab".repeat(32);

/** Two tensors in one shard: a small one, and one that is cut over three slices. */
const task = (name: string) => ({
  ...{ name, kind: "merge", method: "ties", dtype: "F32", shape: [3, 100], parameters: {}, models: [] },
});
const part = (task: number, part: number, partCount: number) => ({
  ...{ task, part, partCount, firstElement: part * 100, elementCount: 100 },
});
const plan = {
  tasks: [task("small"), task("large")],
  shards: [{ name: "model.safetensors", sizeBytes: 1700 }],
  slices: [
    { id: "s000000", shard: 0, offsetBytes: 100, sizeBytes: 400, parts: [part(0, 0, 1), part(1, 0, 3)] },
    { id: "s000001", shard: 0, offsetBytes: 500, sizeBytes: 400, parts: [part(1, 1, 3)] },
    { id: "s000002", shard: 0, offsetBytes: 900, sizeBytes: 800, parts: [part(1, 2, 3)] },
  ],
} as unknown as Plan;
const ours = [placeOf("/ours/out/model.safetensors")];
const theirs = indexPlan(plan, [placeOf("/theirs/out/model.safetensors")]);

const sent = (assignment: Assignment) =>
  AssignmentMessage.decode(AssignmentMessage.encode(messageOfAssignment("job-1", assignment, 60_000, ours)).finish());
const unit = (name: string) => name as UnitId;

describe("assignments", () => {
  test("name slices of the plan that both ends have; verdicts of their cut tensors go with them", () => {
    const [slice] = plan.slices;
    const verdict = { threshold: 0.5, ties: Uint32Array.of(1, 2) };
    const assignment = {
      ...{ unit: unit("s000000"), attempt: 3 * 2 ** 20 + 7, kind: "slice", slice, tasks: plan.tasks },
      verdicts: [undefined, verdict],
      audit: true,
    } as Assignment;
    const received = assignmentOf(sent(assignment), theirs);
    expect(received).toEqual({ job: "job-1", leaseMs: 60_000, assignment });
  });

  test("a survey names neighbouring parts of its tensor", () => {
    const parts = [plan.slices[1]!.parts[0]!, plan.slices[2]!.parts[0]!];
    const request = { kind: "histogram", bits: [1, 2] };
    const assignment = {
      ...{
        unit: unit("survey-1-1-0"),
        attempt: 1,
        kind: "survey",
        taskIndex: 1,
        task: plan.tasks[1]!,
        parts,
        request,
        firstRound: true,
      },
    } as Assignment;
    expect(assignmentOf(sent(assignment), theirs).assignment).toEqual(assignment);
  });

  test("paths are those of the machine that receives", () => {
    const path = "/ours/out/model.safetensors";
    const ranges = [{ offsetBytes: 0, sizeBytes: 100 }];
    const slices: Assignment = { unit: unit("seal-1-1"), attempt: 1, kind: "seal-slices", path: placeOf(path), ranges };
    const file: Assignment = {
      unit: unit("seal-1-0"),
      attempt: 1,
      kind: "seal-file",
      path: placeOf(path),
      sizeBytes: 1700,
    };
    const both: Assignment = { ...file, ranges: [...ranges, { offsetBytes: 100, sizeBytes: 1600 }] };
    for (const assignment of [slices, file, both]) {
      const received = assignmentOf(sent(assignment), theirs).assignment;
      expect(received).toEqual({ ...assignment, path: "/theirs/out/model.safetensors" });
    }
  });

  test.each([
    ["another slice", { $case: "slice", value: { sliceId: "s999999", verdicts: [], audit: false } }],
    ["parts beyond the tensor", { $case: "survey", value: { task: 1, firstPart: 2, partCount: 2 } }],
    ["another shard", { $case: "sealFile", value: { shard: 1, sizeBytes: 1700n } }],
    ["another size", { $case: "sealFile", value: { shard: 0, sizeBytes: 1701n } }],
    [
      "a range beyond the file",
      { $case: "sealSlices", value: { shard: 0, ranges: [{ offsetBytes: 1600n, sizeBytes: 101n }] } },
    ],
    [
      "a range beyond the file that is read whole",
      { $case: "sealFile", value: { shard: 0, sizeBytes: 1700n, ranges: [{ offsetBytes: 1700n, sizeBytes: 1n }] } },
    ],
    ["a kind that is unknown", undefined],
  ])("one that names %s is refused", (_, work) => {
    const id = { jobId: "job-1", unitId: "u", attempt: 1n };
    const message = AssignmentMessage.fromPartial({ id, work: work as never });
    expect(() => assignmentOf(message, theirs)).toThrow(expect.objectContaining({ code: "wire/malformed" }));
  });
});

describe("reports", () => {
  const counts = { bytesRead: 2 ** 40, bytesWritten: 77, tensorsCut: 1 };
  test.each<Exclude<Report, { kind: "failed" }>>([
    { unit: unit("s000001"), attempt: 9, kind: "slice", sha256, warnings: ["careful"], counts },
    {
      unit: unit("survey-1-1-0"),
      attempt: 9,
      kind: "survey",
      summary: { sums: Float64Array.of(-0, Number.NaN) },
      counts,
    },
    { unit: unit("s000001"), attempt: 9, kind: "audit", sha256, counts },
    { unit: unit("seal-1-1"), attempt: 9, kind: "seal", sha256: [sha256, "00".repeat(32)] },
  ])("of kind $kind come back as they went", (report) => {
    const message = SliceReport.decode(SliceReport.encode(messageOfReport("job-1", report)).finish());
    const key = { job: "job-1", unit: report.unit, attempt: 9 };
    expect(reportOf(message)).toEqual({ key, report });
  });

  test("of failures too", () => {
    const failure = { code: "storage/io", message: "EIO", hint: "Check the disk.", retryable: true };
    const report = { unit: unit("s000001"), attempt: 2, kind: "failed", failure } as const;
    const message = FailureReport.decode(FailureReport.encode(messageOfFailed("job-1", report)).finish());
    expect(failedOf(message)).toEqual({ key: { job: "job-1", unit: "s000001", attempt: 2 }, report });
  });

  test("a hash of another length, a size that is not exact and a nameless attempt are refused", () => {
    expect(() => hexOf(Buffer.alloc(31), "a SHA-256")).toThrow("a SHA-256 of 31 bytes, not 32");
    expect(() => numberOf(2n ** 53n, "a size")).toThrow("no exact number");
    expect(() => numberOf(-1n, "a size")).toThrow("no exact number");
    expect(() => reportOf(SliceReport.fromPartial({}))).toThrow("an attempt without a name");
  });
});

describe("versions of the contract", () => {
  const coordinator = { role: "coordinator", protocolVersion: PROTOCOL_VERSION, softwareVersion: "1.0.0" };
  test.each([
    ["coordinator", PROTOCOL_VERSION + 1],
    ["worker", 0],
  ])("the sentence says that the %s must be upgraded, for a worker of version %i", (side, protocolVersion) => {
    const worker = { role: "worker", protocolVersion, softwareVersion: "x" };
    expect(() => checkVersions(coordinator, worker)).toThrow(`upgrade the ${side}`);
  });

  test("equal ones fit", () => {
    checkVersions(coordinator, { ...coordinator, role: "worker" });
  });
});

test("chunks cover a range without gap, the last one shorter", () => {
  expect([...chunksOf(10, 25, 10)]).toEqual([
    { offsetBytes: 10, sizeBytes: 10 },
    { offsetBytes: 20, sizeBytes: 10 },
    { offsetBytes: 30, sizeBytes: 5 },
  ]);
  expect([...chunksOf(10, 0)]).toEqual([]);
});
