import type { AttemptKey, Report } from "../merge/work/index.ts";
import type { FailureReport, SliceReport } from "../proto/index.ts";
import { attemptOf, messageOfAttempt } from "./attempt-id.ts";
import { dataOf, messageOfData } from "./data.ts";
import { malformed } from "./errors.ts";
import { countsOf, failureOf, messageOfCounts, messageOfFailure } from "./failure.ts";
import { bytesOfHex, hexOf } from "./numbers.ts";

/** A report that is not a failure. */
export type ResultReport = Exclude<Report, { readonly kind: "failed" }>;
export type FailedReport = Extract<Report, { readonly kind: "failed" }>;

export function messageOfReport(job: string, report: ResultReport): SliceReport {
  const { unit, attempt } = report;
  const id = messageOfAttempt({ job, unit, attempt });
  const counts = "counts" in report ? messageOfCounts(report.counts) : undefined;
  return { id, counts, warnings: report.kind === "slice" ? [...report.warnings] : [], result: resultOf(report) };
}

function resultOf(report: ResultReport): NonNullable<SliceReport["result"]> {
  switch (report.kind) {
    case "slice":
      return { $case: "sliceSha256", value: bytesOfHex(report.sha256) };
    case "audit":
      return { $case: "auditSha256", value: bytesOfHex(report.sha256) };
    case "survey":
      return { $case: "summary", value: messageOfData(report.summary) };
    case "seal":
      return { $case: "seal", value: { sha256: report.sha256.map(bytesOfHex) } };
  }
}

/** What a report says, and of which job. @throws WireError `wire/malformed` */
export function reportOf(message: SliceReport): { readonly key: AttemptKey; readonly report: ResultReport } {
  const key = attemptOf(message.id);
  const { unit, attempt } = key;
  const { result } = message;
  switch (result?.$case) {
    case "sliceSha256": {
      const sha256 = hexOf(result.value, "a SHA-256");
      const counts = countsOf(message.counts);
      return { key, report: { unit, attempt, kind: "slice", sha256, warnings: message.warnings, counts } };
    }
    case "auditSha256": {
      const sha256 = hexOf(result.value, "a SHA-256");
      return { key, report: { unit, attempt, kind: "audit", sha256, counts: countsOf(message.counts) } };
    }
    case "summary": {
      const summary = dataOf(result.value);
      return { key, report: { unit, attempt, kind: "survey", summary, counts: countsOf(message.counts) } };
    }
    case "seal": {
      const sha256 = result.value.sha256.map((bytes) => hexOf(bytes, "a SHA-256"));
      return { key, report: { unit, attempt, kind: "seal", sha256 } };
    }
    default:
      throw malformed("a report of a kind that is unknown here");
  }
}

export function messageOfFailed(job: string, { unit, attempt, failure }: FailedReport): FailureReport {
  return { id: messageOfAttempt({ job, unit, attempt }), failure: messageOfFailure(failure) };
}

/** @throws WireError `wire/malformed` */
export function failedOf(message: FailureReport): { readonly key: AttemptKey; readonly report: FailedReport } {
  const key = attemptOf(message.id);
  const { unit, attempt } = key;
  return { key, report: { unit, attempt, kind: "failed", failure: failureOf(message.failure) } };
}
