import { eventOfMessage } from "../../api/grpc/index.ts";
import { type Job, JobState, type JobsClient } from "../../proto/index.ts";
import type { Recorded } from "../../service/index.ts";
import { openStores } from "../../storage/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { failureOfMessage, jsonOfJob, progressText, stallOf, stateName } from "../job-table.ts";
import { CallFailure, type ClientOptions, JobsConnection } from "../jobs-client.ts";
import { printFailure } from "../print-failure.ts";
import { reportError } from "../report-error.ts";
import { textTable } from "./text-table.ts";

/** Of an event; `--json` has all. */
const SLICES_SHOWN = 4;

/** Rooms and codes that speak of what was asked: another recipe or command line would do. */
const refusals = /^(?:recipe|checkpoint|method|plan|service|queue\/(?:invalid|name-taken|unknown-job)$|trust\/option$)/;

function isRefusal(code: string): boolean {
  return refusals.test(code);
}

/** Opens a connection for one command, and says what went wrong. */
export async function withJobs(
  options: ClientOptions,
  io: Io,
  run: (jobs: JobsConnection) => Promise<number>,
): Promise<number> {
  let jobs: JobsConnection | undefined;
  try {
    jobs = await JobsConnection.open(openStores(), options);
    return await run(jobs);
  } catch (error) {
    if (!(error instanceof CallFailure)) return reportError(io, error, options.json);
    for (const failure of error.failures) printFailure(io, failure, options.json);
    return error.failures.every(({ code }) => isRefusal(code)) ? exitCodes.usage : exitCodes.failed;
  } finally {
    jobs?.close();
  }
}

export interface ListOptions extends ClientOptions {
  readonly all: boolean;
}

/** `deltaworks list` */
export function listCommand(_: readonly string[], options: ListOptions, io: Io): Promise<number> {
  return withJobs(options, io, async (connection) => {
    const { jobs } = await connection.call((client) => client.list, { all: options.all });
    if (options.json) for (const job of jobs) io.stdout(`${JSON.stringify(jsonOfJob(job))}\n`);
    else if (jobs.length > 0) {
      const rows = jobs.map((job) => [
        job.name,
        job.stalled === undefined ? stateName(job) : `${stateName(job)}, stands still`,
        `${job.slicesDone}/${job.slices}`,
        String(job.priority),
        job.output === undefined ? "" : `${job.output.root}:${job.output.path}`,
      ]);
      io.stdout(textTable([["name", "state", "slices", "priority", "output"], ...rows]));
    }
    return exitCodes.done;
  });
}

/** `deltaworks status JOB` */
export function statusCommand([name = ""]: readonly string[], options: ClientOptions, io: Io): Promise<number> {
  return withJobs(options, io, async (connection) => {
    const { job } = await connection.call((client) => client.get, { job: name });
    printJob(job, options, io);
    return exitCodes.done;
  });
}

const changes = {
  pause: (client: JobsClient) => client.pause,
  resume: (client: JobsClient) => client.resume,
  cancel: (client: JobsClient) => client.cancel,
  terminate: (client: JobsClient) => client.terminate,
} as const;

/** `deltaworks pause JOB` and its like. */
export function changeCommand(change: keyof typeof changes) {
  return ([name = ""]: readonly string[], options: ClientOptions, io: Io): Promise<number> =>
    withJobs(options, io, async (connection) => {
      const { job } = await connection.call(changes[change], { job: name });
      printJob(job, options, io);
      return exitCodes.done;
    });
}

/** `deltaworks workers` */
export function workersCommand(_: readonly string[], options: ClientOptions, io: Io): Promise<number> {
  return withJobs(options, io, async (connection) => {
    const { workers } = await connection.call((client) => client.listWorkers, {});
    if (options.json) {
      for (const { name, softwareVersion, threads, memoryBytes, unitsHeld, draining, quarantined } of workers) {
        const facts = {
          name,
          version: softwareVersion,
          threads,
          memoryBytes: Number(memoryBytes),
          unitsHeld,
          draining,
          ...(quarantined === undefined ? {} : { setAside: failureOfMessage({ cause: quarantined }) }),
        };
        io.stdout(`${JSON.stringify(facts)}\n`);
      }
    } else if (workers.length > 0) {
      const rows = workers.map(({ name, softwareVersion, threads, unitsHeld, draining, quarantined }) => [
        name,
        softwareVersion,
        String(threads),
        String(unitsHeld),
        quarantined !== undefined ? `set aside: ${quarantined.message}` : draining ? "draining" : "",
      ]);
      io.stdout(textTable([["name", "version", "threads", "units", ""], ...rows]));
    }
    return exitCodes.done;
  });
}

export interface EventsOptions extends ClientOptions {
  readonly follow: boolean;
}

/** `deltaworks events JOB`: its whole history. */
export function eventsCommand([name = ""]: readonly string[], options: EventsOptions, io: Io): Promise<number> {
  return withJobs(options, io, async (connection) => {
    try {
      const client = await connection.client();
      const call = client.watch({ job: name, afterSequence: 0n, follow: options.follow });
      for await (const message of call) {
        const event = eventOfMessage(message);
        if (event?.cursor === undefined) continue;
        const { cursor, type, ...facts } = event;
        if (options.json) io.stdout(`${JSON.stringify({ event: type, cursor, ...facts })}\n`);
        else io.stdout(`${String(cursor).padStart(8)}  ${type.padEnd(14)}  ${factsText(event)}`.trimEnd().concat("\n"));
      }
    } catch (error) {
      throw new CallFailure(error as ConstructorParameters<typeof CallFailure>[0], connection.address);
    }
    return exitCodes.done;
  });
}

/** What there is to say of an event beside its kind. */
function factsText(event: Recorded): string {
  switch (event.type) {
    case "taken-over":
      return `by ${event.by}`;
    case "begun":
      return `plan ${event.planSha256.slice(0, 16)}`;
    case "tensor-settled":
      return `task ${event.task}`;
    case "slices-done": {
      const first = event.slices.slice(0, SLICES_SHOWN).map(({ slice, worker }) => `${slice} by ${worker}`);
      const more = event.slices.length - first.length;
      return `${first.join(", ")}${more > 0 ? `, and ${more} more` : ""}`;
    }
    case "slice-audited":
    case "slice-lost":
      return event.slice;
    case "slice-disputed":
      return `${event.slice}: ${event.workers.join(" and ")} do not agree`;
    case "paused":
      return `${event.cause.code}  ${event.cause.message}`;
    case "publishing":
      return `${event.files.length} files`;
    default:
      return "";
  }
}

function printJob(job: Job | undefined, { json }: ClientOptions, io: Io): void {
  if (job === undefined) return;
  if (json) return io.stdout(`${JSON.stringify(jsonOfJob(job))}\n`);
  io.stdout(`${job.name}  ${progressText(job)}\n`);
  if (job.output !== undefined) io.stdout(`  output  ${job.output.root}:${job.output.path}\n`);
  const cause = failureOfMessage(job);
  if (cause !== undefined) io.stdout(`  ${stateName(job)}  ${cause.code}  ${cause.message}\n  hint  ${cause.hint}\n`);
  const stall = stallOf(job);
  if (stall !== undefined) io.stdout(`  stands still  ${stall.code}  ${stall.message}\n  hint  ${stall.hint}\n`);
  for (const warning of job.warnings) io.stdout(`  warning  ${warning}\n`);
}

/** How a job's end ends the command: as `deltaworks merge` would. */
export function exitCodeOf({ state }: Job): number {
  return state === JobState.JOB_STATE_DONE ? exitCodes.done : exitCodes.failed;
}
