import type {
  Metadata,
  ServerDuplexStream,
  ServerErrorResponse,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
} from "@grpc/grpc-js";
import type { Report } from "../../merge/work/index.ts";
import {
  type AttachRequest,
  type AttachResponse,
  type CoordinatorServer,
  GrantDecision,
  type Heartbeat,
  type Hello,
  type ReadInputRequest,
  type ReadInputResponse,
  type ReadPlanRequest,
  type ReadPlanResponse,
  ReportDecision,
  type SendResultRequest,
  type SendResultResponse,
} from "../../proto/index.ts";
import {
  type AttemptKey,
  attemptOf,
  CHUNKS_IN_FLIGHT_MAX,
  failedOf,
  hexOf,
  malformed,
  numberOf,
  reportOf,
  StreamWriter,
  statusOf,
  WORKER_KEY,
} from "../../wire/index.ts";
import type { RemoteWorker } from "./remote-worker.ts";
import { SummaryIntake } from "./summary-intake.ts";
import type { WorkerHub } from "./worker-hub.ts";
import type { GrantAnswer, ReportAnswer } from "./worker-link.ts";

/** What is known of the caller, whatever it says of itself. */
export interface Caller {
  getAuthContext(): { readonly sslPeerCertificate?: { readonly raw?: Uint8Array } | undefined };
  getPeer(): string;
  readonly metadata: Metadata;
}

/** The name under which a worker may call; `claimed`: what it says. @throws for callers that are no workers */
export type WorkerIdentity = (call: Caller, claimed: string) => string;

/** Entries of one unary call; ours gather fewer. */
const ENTRIES_MAX = 4096;

const grantDecisions: Readonly<Record<GrantAnswer, GrantDecision>> = {
  granted: GrantDecision.GRANT_DECISION_GRANTED,
  refused: GrantDecision.GRANT_DECISION_REFUSED,
  later: GrantDecision.GRANT_DECISION_LATER,
};
const reportDecisions: Readonly<Record<ReportAnswer, ReportDecision>> = {
  accepted: ReportDecision.REPORT_DECISION_ACCEPTED,
  stale: ReportDecision.REPORT_DECISION_STALE,
};

/** The service that workers call, on top of the hub. */
export function coordinatorHandlers(hub: WorkerHub, identity: WorkerIdentity): CoordinatorServer {
  const summaries = new SummaryIntake();
  const workerOf = (call: Caller) => hub.attachedWorker(identity(call, claimedName(call)));
  const { unary, upload, stream } = callsOf(hub);
  return {
    attach: (call) => attach(call, hub, identity),
    readPlan: (call) => stream(call, () => planMessages(hub, workerOf(call), call)),
    requestGrants: (call, callback) =>
      unary(call, callback, async ({ requests }) => {
        const worker = workerOf(call);
        checkCount(requests.length);
        const asked = requests.map(({ id, sha256 }) => ({
          id,
          key: attemptOf(id),
          sha256: sha256.length === 0 ? undefined : hexOf(sha256, "a SHA-256"),
        }));
        const answers = await Promise.all(asked.map(({ key, sha256 }) => requestGrant(worker, key, sha256)));
        return { answers: asked.map(({ id }, k) => ({ id, decision: grantDecisions[answers[k] ?? "refused"] })) };
      }),
    reportSlices: (call, callback) =>
      unary(call, callback, async ({ reports }) => {
        const worker = workerOf(call);
        checkCount(reports.length);
        const answers = await Promise.all(reports.map(reportOf).map(({ key, report }) => take(worker, key, report)));
        return { answers: reports.map(({ id }, k) => ({ id, decision: reportDecisions[answers[k] ?? "stale"] })) };
      }),
    sendSummary: (call, callback) =>
      upload(call, callback, async () => ({ decision: await summaries.receive(call, workerOf(call)) })),
    reportFailures: (call, callback) =>
      unary(call, callback, async ({ reports }) => {
        const worker = workerOf(call);
        checkCount(reports.length);
        const answers = await Promise.all(reports.map(failedOf).map(({ key, report }) => take(worker, key, report)));
        return { answers: reports.map(({ id }, k) => ({ id, decision: reportDecisions[answers[k] ?? "stale"] })) };
      }),
    sendResult: (call, callback) =>
      upload(call, callback, async () => ({ receivedBytes: BigInt(await receive(call, hub, workerOf(call))) })),
    queryResult: (call, callback) =>
      unary(call, callback, async ({ id }) => {
        const worker = workerOf(call);
        const key = attemptOf(id);
        const open = hub.openJob(key.job);
        const own = worker.links.get(key.job)?.isOwn(key) === true;
        return { receivedBytes: BigInt(own ? open.intake.receivedBytes(key) : 0) };
      }),
    readInput: (call) =>
      stream(call, () => {
        workerOf(call);
        return inputChunks(hub, call);
      }),
  };
}

function claimedName(call: Caller): string {
  return String(call.metadata.get(WORKER_KEY)[0] ?? "");
}

function requestGrant(
  worker: RemoteWorker,
  key: AttemptKey,
  sha256: string | undefined,
): Promise<GrantAnswer> | GrantAnswer {
  return worker.links.get(key.job)?.requestGrant(key, sha256) ?? "refused";
}

/** Whatever is reported is not being written any more. */
function take(worker: RemoteWorker, key: AttemptKey, report: Report): Promise<ReportAnswer> | ReportAnswer {
  worker.wroteAll(key);
  return worker.links.get(key.job)?.report(report) ?? "stale";
}

function checkCount(entries: number): void {
  if (entries > ENTRIES_MAX) throw malformed(`${entries} entries in one call, more than ${ENTRIES_MAX}`);
}

// ---- kinds of calls

/** What ends a call is told to whoever called; what no caller can have caused, to the hub as well. */
function callsOf(hub: WorkerHub) {
  return {
    unary<Request, Response>(
      call: ServerUnaryCall<Request, Response>,
      callback: sendUnaryData<Response>,
      answer: (request: Request) => Promise<Response>,
    ): void {
      answer(call.request)
        .then((response) => callback(null, response))
        .catch((error: unknown) => {
          hub.noteDefect(error, call.getPath());
          callback(statusOf(error) as Partial<ServerErrorResponse>);
        });
    },

    /** Answers once `received` has taken what the other end sends. */
    upload<Request, Response>(
      call: ServerReadableStream<Request, Response>,
      callback: sendUnaryData<Response>,
      received: () => Promise<Response>,
    ): void {
      received().then(
        (response) => callback(null, response),
        (error: unknown) => {
          hub.noteDefect(error, call.getPath());
          if (!call.cancelled) callback(statusOf(error) as Partial<ServerErrorResponse>);
        },
      );
    },

    /** Sends what comes out, as fast as the other end takes it, until it loses interest. */
    stream<Request, Response>(
      call: ServerWritableStream<Request, Response>,
      messages: () => AsyncIterable<Response>,
    ): void {
      const writer = new StreamWriter<Response>(call, CHUNKS_IN_FLIGHT_MAX);
      const send = async () => {
        for await (const message of messages()) {
          if (call.cancelled) return;
          await writer.write(message);
        }
        await writer.end();
      };
      send().catch((error: unknown) => {
        hub.noteDefect(error, call.getPath());
        if (!writer.ended) call.emit("error", asStatus(error));
      });
    },
  };
}

/**
 * What grpc-js sends as the status of a stream on which it is emitted. Not to be given to `destroy`: the listener of grpc-js would
 * end a destroyed stream, which is an error, which ends it, without end.
 */
function asStatus(error: unknown): Error {
  return Object.assign(new Error(), statusOf(error));
}

async function* planMessages(
  hub: WorkerHub,
  worker: RemoteWorker,
  { request }: ServerWritableStream<ReadPlanRequest, ReadPlanResponse>,
): AsyncGenerator<ReadPlanResponse> {
  const { job, planPieces } = hub.openJob(request.jobId);
  hub.options.log("plan sent", { worker: worker.id, job: job.id });
  yield* planPieces.messages(request.takesGzip);
}

async function* inputChunks(
  hub: WorkerHub,
  { request }: ServerWritableStream<ReadInputRequest, ReadInputResponse>,
): AsyncGenerator<ReadInputResponse> {
  const open = hub.openJob(request.jobId);
  const [offset, size] = [numberOf(request.offsetBytes, "an offset"), numberOf(request.sizeBytes, "a size")];
  for await (const chunk of open.outlet.read(request.input, request.file, offset, size)) yield { chunk };
}

// ---- Attach

function attach(
  call: ServerDuplexStream<AttachRequest, AttachResponse>,
  hub: WorkerHub,
  identity: WorkerIdentity,
): void {
  const writer = new StreamWriter<AttachResponse>(call);
  let worker: RemoteWorker | undefined;
  let ended = false;
  const end = () => {
    if (ended) return;
    ended = true;
    if (worker !== undefined) hub.detach(worker, writer);
  };
  const cut = (error: unknown) => {
    end();
    hub.noteDefect(error, call.getPath());
    if (!writer.ended) call.emit("error", asStatus(error));
  };
  call.on("data", ({ message }: AttachRequest) => {
    if (ended) return;
    try {
      if (message?.$case === "hello") {
        if (worker !== undefined) throw malformed("a second hello");
        worker = greet(call, message.value, hub, identity, writer, cut);
      } else {
        if (worker === undefined) throw malformed("something before the hello");
        // A stream may live for weeks, its certificate for a day: the worker attaches anew when it has the next one.
        identity(call, worker.id);
        hear(hub, worker, message);
      }
    } catch (error) {
      cut(error);
    }
  });
  call.on("end", () => {
    end();
    writer.end().catch(cut);
  });
  call.on("error", end);
  call.on("cancelled", end);
  call.on("close", end);
}

function greet(
  call: ServerDuplexStream<AttachRequest, AttachResponse>,
  hello: Hello,
  hub: WorkerHub,
  identity: WorkerIdentity,
  writer: StreamWriter<AttachResponse>,
  cut: (error: unknown) => void,
): RemoteWorker {
  const name = identity(call, hello.workerName);
  if (name !== hello.workerName)
    throw malformed(`a hello of ${JSON.stringify(hello.workerName)} by ${JSON.stringify(name)}`);
  return hub.attach(hello, writer, call.getPeer().replace(/:\d+$/, ""), cut);
}

function hear(hub: WorkerHub, worker: RemoteWorker, message: AttachRequest["message"]): void {
  switch (message?.$case) {
    case "heartbeat":
      return worker.send({ $case: "heartbeat", value: answerHeartbeat(hub, worker, message.value) });
    case "handBack":
      return hub.handBack(worker, message.value.ids.map(attemptOf));
    case "draining":
      return hub.draining(worker);
    default:
      throw malformed("a message of a kind that is unknown here");
  }
}

function answerHeartbeat(hub: WorkerHub, worker: RemoteWorker, { sequence, held }: Heartbeat) {
  const attempts = held.map(({ id, alive }) => ({ ...attemptOf(id), alive }));
  return { sequence, dropped: hub.heartbeat(worker, attempts) };
}

// ---- SendResult

/** Reading waits for writing, so no more than a window of the connection lies in memory. */
async function receive(
  call: ServerReadableStream<SendResultRequest, SendResultResponse>,
  hub: WorkerHub,
  worker: RemoteWorker,
): Promise<number> {
  let result: ReturnType<ReturnType<WorkerHub["openJob"]>["intake"]["begin"]> | undefined;
  let sizeBytes = 0;
  try {
    for await (const { message } of call as AsyncIterable<SendResultRequest>) {
      if (message?.$case === "header" && result === undefined) {
        const key = attemptOf(message.value.id);
        sizeBytes = numberOf(message.value.sizeBytes, "a size");
        if (worker.links.get(key.job)?.isOwn(key) !== true)
          throw malformed(`a result of ${key.unit}, which it does not hold`);
        result = hub.openJob(key.job).intake.begin(key, numberOf(message.value.offsetBytes, "an offset"), sizeBytes);
      } else if (message?.$case === "chunk" && result !== undefined) {
        await result.write(message.value);
      } else if (message?.$case === "sha256" && result !== undefined) {
        await result.finish(hexOf(message.value, "a SHA-256"));
        return sizeBytes;
      } else {
        throw malformed("parts of a result in an order that is unknown here");
      }
    }
    throw malformed("a result without its end");
  } finally {
    await result?.close();
  }
}
