import { stateNameOf } from "../api/grpc/index.ts";
import type { Job } from "../proto/index.ts";

export function stateName({ state }: Job): string {
  return stateNameOf(state) ?? "unknown";
}

/** As --json prints it. */
export function jsonOfJob(job: Job): Record<string, unknown> {
  return {
    id: job.jobId,
    name: job.name,
    priority: job.priority,
    state: stateName(job),
    phase: job.phase,
    ...(job.coordinator === "" ? {} : { coordinator: job.coordinator }),
    out: job.output === undefined ? "" : `${job.output.root}:${job.output.path}`,
    plan: job.planSha256.toString("hex"),
    slices: job.slices,
    slicesDone: job.slicesDone,
    bytesRead: Number(job.bytesRead),
    bytesWritten: Number(job.bytesWritten),
    submittedAt: new Date(Number(job.submittedAtMs)).toISOString(),
    ...(job.endedAtMs === 0n ? {} : { endedAt: new Date(Number(job.endedAtMs)).toISOString() }),
    ...(job.cause === undefined ? {} : { cause: failureOfMessage(job) }),
    ...(job.stalled === undefined ? {} : { stalled: stallOf(job) }),
    ...(job.warnings.length === 0 ? {} : { warnings: job.warnings }),
    ...(Object.keys(job.counters).length === 0 ? {} : { counters: countersOf(job) }),
  };
}

function countersOf({ counters }: Job): Record<string, number> {
  return Object.fromEntries(Object.entries(counters).map(([name, count]) => [name, Number(count)]));
}

/** Why a job stands still, if it does. */
export function stallOf({ stalled }: Pick<Job, "stalled">) {
  return failureOfMessage({ cause: stalled });
}

export function failureOfMessage({ cause }: Pick<Job, "cause">) {
  return cause === undefined ? undefined : { code: cause.code, message: cause.message, hint: cause.hint };
}

/** "merging  251/412 slices  61 %". */
export function progressText(job: Job): string {
  const percent = job.slices === 0 ? 0 : Math.floor((100 * job.slicesDone) / job.slices);
  const phase = stateName(job) === "running" && job.phase !== "" ? job.phase : stateName(job);
  const stands = job.stalled === undefined ? "" : "  stands still";
  return `${phase}  ${job.slicesDone}/${job.slices} slices  ${percent} %${stands}`;
}
