import type { ServerErrorResponse, ServerUnaryCall, ServerWritableStream, sendUnaryData } from "@grpc/grpc-js";
import { type JournalRecord, JournalTail, type Sequence } from "../coordinator/journal/index.ts";
import type { Caller, WorkerHub, WorkerPeer } from "../coordinator/link/index.ts";
import { DEFAULT_PRIORITY, type JobRecord, type Wish } from "../coordinator/queue/index.ts";
import type { SubmittedOptions } from "../options/index.ts";
import { JOURNAL_PATH } from "../output/index.ts";
import type { Job, JobsServer, SubmitRequest, WatchRequest, WatchResponse, WorkerStatus } from "../proto/index.ts";
import { join, type Source } from "../storage/index.ts";
import { malformed, messageOfFailure, optionsOfMessage, StreamWriter, statusOf } from "../wire/index.ts";
import { ServiceError } from "./errors.ts";
import type { JobCoordinator } from "./job-coordinator.ts";
import { hasEnded, messageOfRecord } from "./job-message.ts";
import type { Roots } from "./roots.ts";
import type { JobJournals } from "./served-job.ts";

export interface JobsHandlersOptions {
  readonly coordinator: JobCoordinator;
  readonly hub: WorkerHub;
  readonly roots: Roots;
  readonly store: Source;
  readonly journals?: JobJournals | undefined;
  /** Where a submission says nothing; of what is left out, the table's. */
  readonly defaults: Partial<SubmittedOptions>;
  /** The name of whoever calls. @throws for callers that may not `action` ("submit a job") */
  submitter(call: Caller, action: string): string;
}

/** A recipe is text that people write; what the queue keeps of a job has room for so much. */
const RECIPE_LENGTH_MAX = 512 * 1024;
/** Live progress comes no more often. */
const PROGRESS_MS = 200;

/** The service that people and programs call to have models merged. */
export function jobsHandlers(options: JobsHandlersOptions): JobsServer {
  const { coordinator, hub } = options;
  const message = (record: JobRecord) => messageOfRecord(record, coordinator.served(record.id));
  const wish =
    (asked: Wish, action: string) =>
    (
      call: ServerUnaryCall<{ job: string }, { job: Job | undefined }>,
      callback: sendUnaryData<{ job: Job | undefined }>,
    ) =>
      unary(call, callback, async ({ job }) => {
        options.submitter(call, action);
        return { job: message(await coordinator.wish(job, asked)) };
      });
  return {
    submit: (call, callback) =>
      unary(call, callback, async (request) => {
        const submitter = options.submitter(call, "submit a job");
        const { record, warnings } = await coordinator.submit(submissionOf(request, submitter, options));
        return { job: message(record), warnings: [...warnings] };
      }),
    list: (call, callback) =>
      unary(call, callback, async ({ all }) => {
        options.submitter(call, "list jobs");
        const records = await coordinator.list();
        return { jobs: records.filter(({ state }) => all || state !== "ended").map(message) };
      }),
    get: (call, callback) =>
      unary(call, callback, async ({ job }) => {
        options.submitter(call, "look at a job");
        return { job: message(await coordinator.find(job)) };
      }),
    watch: (call) => {
      const writer = new StreamWriter<WatchResponse>(call);
      const run = async () => {
        options.submitter(call, "watch a job");
        await watch(call, writer, options);
        await writer.end();
      };
      run().catch((error: unknown) => {
        if (!writer.ended) call.emit("error", Object.assign(new Error(), statusOf(error)));
      });
    },
    pause: wish("pause", "pause a job"),
    resume: wish("none", "resume a job"),
    cancel: wish("cancel", "cancel a job"),
    terminate: wish("terminate", "terminate a job"),
    listWorkers: (call, callback) =>
      unary(call, callback, async () => {
        options.submitter(call, "list workers");
        return { workers: [...hub.workers].filter(({ attached }) => attached).map(statusOfWorker) };
      }),
  };
}

function unary<Request, Response>(
  call: ServerUnaryCall<Request, Response>,
  callback: sendUnaryData<Response>,
  answer: (request: Request) => Promise<Response>,
): void {
  answer(call.request).then(
    (response) => callback(null, response),
    (error: unknown) => callback(statusOf(error) as Partial<ServerErrorResponse>),
  );
}

function submissionOf(request: SubmitRequest, submitter: string, { roots, defaults }: JobsHandlersOptions) {
  const { requestId, name, priority, recipe, recipeName, output } = request;
  if (requestId === "") throw malformed("a job without a request id");
  if (recipe.length > RECIPE_LENGTH_MAX) {
    throw new ServiceError("service/option", `the recipe has ${recipe.length} characters`, {
      hint: `A recipe may have ${RECIPE_LENGTH_MAX}.`,
    });
  }
  if (output === undefined) throw malformed("a job without an output");
  const out = output.root === "" ? roots.placeOfText(output.path) : { root: output.root, path: output.path };
  roots.pathOf(out);
  return {
    name,
    priority: priority ?? DEFAULT_PRIORITY,
    recipe,
    out,
    submitter,
    options: {
      requestId,
      recipeName: recipeName === "" ? "recipe" : recipeName,
      ...optionsOfMessage(request.options, defaults),
    },
  };
}

/** History from the journal, then, with `follow`, what happens until the job has ended; as fast as the other end takes it. */
async function watch(
  call: ServerWritableStream<WatchRequest, WatchResponse>,
  writer: StreamWriter<WatchResponse>,
  { coordinator, roots, store, journals }: JobsHandlersOptions,
): Promise<void> {
  const { job, afterSequence, follow } = call.request;
  const first = await coordinator.find(job);
  const { id } = first;
  const tail = new JournalTail(store, join(await roots.outputPath(first.out), JOURNAL_PATH));
  const shared = journals === undefined ? undefined : new SharedTail(journals, id, afterSequence);
  let warnings = 0;
  for (;;) {
    if (call.cancelled) return;
    coordinator.checkServing();
    // Before the journal is read: what ends the job is in there by then.
    const record = await coordinator.findAgain(first);
    const served = coordinator.served(id);
    // A journal in the output belongs to the last job that wrote there.
    const history = shared?.next() ?? ((await coordinator.isLastAt(record)) ? tail.next() : []);
    for await (const { entry, sequence } of history) {
      if (sequence <= afterSequence) continue;
      const value = { sequence, subject: entry.subject, body: JSON.stringify(entry.body) };
      await writer.write({ message: { $case: "entry", value } });
    }
    const value = messageOfRecord(record, served);
    for (; warnings < value.warnings.length; warnings++) {
      await writer.write({ message: { $case: "warning", value: value.warnings[warnings] ?? "" } });
    }
    await writer.write({ message: { $case: "progress", value } });
    if (!follow || hasEnded(value)) return;
    await new Promise((resolve) => setTimeout(resolve, PROGRESS_MS));
  }
}

/** Sequences from here on mean that nobody wants history. */
const NO_HISTORY = 2n ** 62n;
/** A shared journal is read again no more often: each time from its beginning. */
const SHARED_MS = 2000;

/** What comes into a journal that lies in no output. */
class SharedTail {
  readonly #journals: JobJournals;
  readonly #job: string;
  #after: bigint;
  #readMs = Number.NEGATIVE_INFINITY;

  constructor(journals: JobJournals, job: string, after: bigint) {
    this.#journals = journals;
    this.#job = job;
    this.#after = after;
  }

  async *next(): AsyncGenerator<JournalRecord> {
    const nowMs = performance.now();
    if (this.#after >= NO_HISTORY || nowMs - this.#readMs < SHARED_MS) return;
    this.#readMs = nowMs;
    for await (const record of this.#journals.history(this.#job, this.#after as Sequence)) {
      this.#after = record.sequence;
      yield record;
    }
  }
}

function statusOfWorker(worker: WorkerPeer): WorkerStatus {
  const { facts, id, links, draining, setAside } = worker;
  let unitsHeld = 0;
  for (const link of links.values()) unitsHeld += link.unitsHeld;
  return {
    name: id,
    softwareVersion: facts.softwareVersion,
    threads: facts.threads,
    memoryBytes: BigInt(facts.memoryBytes),
    unitsHeld,
    quarantined: setAside === undefined ? undefined : messageOfFailure(setAside),
    draining,
  };
}
