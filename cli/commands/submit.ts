import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { SubmittedOptions } from "../../options/index.ts";
import { readRecipe } from "../../prepare/index.ts";
import type { Job, JobsClient } from "../../proto/index.ts";
import { nameOf, openStores, placeOf } from "../../storage/index.ts";
import { maybePlace, messageOfOptions } from "../../wire/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { failureOfMessage, jsonOfJob, progressText, stateName } from "../job-table.ts";
import { CallFailure, type ClientOptions, type JobsConnection, SUBMIT_DEADLINE_MS } from "../jobs-client.ts";
import { printFailure } from "../print-failure.ts";
import { ProgressLine } from "../progress-line.ts";
import { exitCodeOf, withJobs } from "./jobs.ts";

export interface SubmitOptions extends Partial<SubmittedOptions>, ClientOptions {
  readonly name?: string;
  readonly priority?: number;
  readonly wait: boolean;
  readonly quiet: boolean;
}

/** Between tries to go on watching after the coordinator went away. */
const AGAIN_MS = 2000;

/** `deltaworks submit RECIPE OUT` */
export function submitCommand(
  [recipeText = "", out = ""]: readonly string[],
  options: SubmitOptions,
  io: Io,
): Promise<number> {
  const recipePath = placeOf(recipeText);
  return withJobs(options, io, async (connection) => {
    const recipe = await readRecipe(openStores(), recipePath);
    const request = {
      requestId: randomUUID(),
      name: options.name ?? "",
      priority: options.priority,
      recipe,
      recipeName: nameOf(recipePath),
      output: outputOf(out),
      options: messageOfOptions(options),
    };
    const { job, warnings } = await submitted(connection, request, io, options);
    if (job === undefined) throw new Error("the coordinator named no job");
    for (const warning of warnings) warn(warning, options, io);
    if (options.json) io.stdout(`${JSON.stringify({ event: "submitted", ...jsonOfJob(job) })}\n`);
    else if (!options.quiet) io.stderr(`submitted  ${job.name}\n`);
    if (!options.wait) {
      if (!options.json) io.stdout(`${job.name}\n`);
      return exitCodes.done;
    }
    return follow(connection, job, options, io);
  });
}

type Request = Parameters<JobsClient["submit"]>[0];

/**
 * A refused recipe is the user's, as with merge: exit 2. Where nobody answers, one that starts for instance, the call is repeated: with the
 * same request id it makes no second job.
 */
function submitted(connection: JobsConnection, request: Request, io: Io, options: SubmitOptions) {
  let said = "";
  return connection.call((client) => client.submit, request, {
    deadlineMs: SUBMIT_DEADLINE_MS,
    waits: (why) => {
      if (why === said || options.quiet || options.json) return;
      said = why;
      io.stderr(`waiting  ${why}\n`);
    },
  });
}

/** "root:path"; the coordinator resolves anything else. */
function outputOf(text: string): { root: string; path: string } {
  return maybePlace(text) ?? { root: "", path: text.replace(/(?<=.)\/+$/, "") };
}

/** Tells how the job goes on until it has ended, also while the coordinator restarts. Interrupting it leaves the job as it is. */
async function follow(connection: JobsConnection, job: Job, options: SubmitOptions, io: Io): Promise<number> {
  const report = new Report(options, io);
  // Each once, whichever coordinator says it.
  const warned = new Set<string>();
  for (;;) {
    try {
      let last = job;
      // Nobody asked for history here.
      const client = await connection.client();
      const call = client.watch({ job: job.jobId, afterSequence: 2n ** 63n, follow: true });
      for await (const { message } of call) {
        if (message?.$case === "warning" && !warned.has(message.value)) {
          warned.add(message.value);
          warn(message.value, options, io);
        }
        if (message?.$case === "progress" || message?.$case === "ended") {
          last = message.value;
          report.progress(last);
        }
      }
      return report.ended(last);
    } catch (error) {
      const failure = new CallFailure(error as ConstructorParameters<typeof CallFailure>[0], connection.address);
      if (!failure.retryable) throw failure;
      report.say(`waiting  ${failure.message}`);
    }
    await delay(AGAIN_MS);
  }
}

function warn(message: string, { json, quiet }: SubmitOptions, io: Io): void {
  if (json) io.stdout(`${JSON.stringify({ event: "warning", message })}\n`);
  else if (!quiet) io.stderr(`warning  ${message}\n`);
}

class Report {
  readonly #options: SubmitOptions;
  readonly #io: Io;
  readonly #line: ProgressLine;
  #told = "";

  constructor(options: SubmitOptions, io: Io) {
    this.#options = options;
    this.#io = io;
    this.#line = new ProgressLine(io, process.stderr.isTTY === true, () => performance.now());
  }

  progress(job: Job): void {
    const text = progressText(job);
    if (!this.#options.json) {
      if (!this.#options.quiet) this.#line.show(text);
    } else if (text !== this.#told) {
      this.#told = text;
      this.#io.stdout(`${JSON.stringify({ event: "progress", ...jsonOfJob(job) })}\n`);
    }
  }

  say(text: string): void {
    if (!this.#options.json && !this.#options.quiet) this.#line.say(text);
  }

  ended(job: Job): number {
    this.#line.clear();
    const cause = failureOfMessage(job);
    if (this.#options.json) this.#io.stdout(`${JSON.stringify({ event: "ended", ...jsonOfJob(job) })}\n`);
    else if (cause !== undefined) printFailure(this.#io, cause, false);
    else if (!this.#options.quiet) {
      const out = job.output === undefined ? "" : `${job.output.root}:${job.output.path}`;
      this.#io.stdout(`${stateName(job)}  ${out}\n`);
    }
    return exitCodeOf(job);
  }
}
