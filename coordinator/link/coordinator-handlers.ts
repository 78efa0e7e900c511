import type {
  Metadata,
  ServerDuplexStream,
  ServerErrorResponse,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
} from "@grpc/grpc-js";
import { type AttemptKey, failureFrom, type Report } from "../../merge/work/index.ts";
import {
  type Answer,
  type AttachRequest,
  type AttachResponse,
  type CoordinatorServer,
  GrantDecision,
  type Heartbeat,
  type Hello,
  type Question,
  type ReadInputRequest,
  type ReadInputResponse,
  type ReadPlanRequest,
  type ReadPlanResponse,
  ReportDecision,
  type SendResultRequest,
  type SendResultResponse,
} from "../../proto/index.ts";
import {
  attemptOf,
  BatchWriter,
  CHUNKS_IN_FLIGHT_MAX,
  encodedResponse,
  failedOf,
  hexOf,
  malformed,
  messageOfFailure,
  numberOf,
  reportOf,
  requestsIn,
  type Sink,
  StreamWriter,
  severalResponses,
  statusOf,
  WORKER_KEY,
} from "../../wire/index.ts";
import { notGranted } from "./result-intake.ts";
import { signRead } from "./sign-read.ts";
import { SummaryIntake } from "./summary-intake.ts";
import type { WorkerHub } from "./worker-hub.ts";
import type { Asked, GrantAnswer, ReportAnswer } from "./worker-link.ts";
import type { WorkerPeer } from "./worker-peer.ts";

/** What is known of the caller, whatever it says of itself. */
export interface PeerCall {
  getAuthContext(): { readonly sslPeerCertificate?: { readonly raw?: Uint8Array } | undefined };
  getPeer(): string;
  readonly metadata: Metadata;
}

/** The name under which a worker may call; `claimed`: what it says. @throws for callers that are no workers */
export type WorkerIdentity = (call: PeerCall, claimed: string) => string;

/** A stream is not read while it has asked so much that it has no answer to, or that it has not taken; ours ask less. */
const UNANSWERED_MAX = 4096;

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
  const workerOf = (call: PeerCall) => hub.attachedWorker(identity(call, claimedName(call)));
  const { unary, upload, stream } = callsOf(hub);
  return {
    attach: (call) => {
      new Session(call, hub, identity);
    },
    readPlan: (call) => stream(call, () => planMessages(hub, workerOf(call), call)),
    sendSummary: (call, callback) =>
      upload(call, callback, async () => ({ decision: await summaries.receive(call, workerOf(call)) })),
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
    signRead: (call, callback) =>
      unary(call, callback, async (request) => {
        workerOf(call);
        return signRead(hub.openJob(request.jobId).job, request);
      }),
    signPart: (call, callback) =>
      unary(call, callback, async ({ id, sha256, isGone }) => {
        const key = attemptOf(id);
        const link = workerOf(call).links.get(key.job);
        if (link === undefined) throw notGranted(key);
        const { url, headers } = await link.signPart(key, hexOf(sha256, "a SHA-256"), isGone);
        return { url, headers: { ...headers } };
      }),
  };
}

function claimedName(call: PeerCall): string {
  return String(call.metadata.get(WORKER_KEY)[0] ?? "");
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
  worker: WorkerPeer,
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

/** One connection of a worker: what it says is taken in order; questions are answered as their answers come, on this stream or not at all. */
class Session {
  readonly #call: ServerDuplexStream<AttachRequest, AttachResponse>;
  readonly #hub: WorkerHub;
  readonly #identity: WorkerIdentity;
  readonly #writer: BatchWriter;
  #worker: WorkerPeer | undefined;
  #ended = false;
  #unanswered = 0;

  constructor(call: ServerDuplexStream<AttachRequest, AttachResponse>, hub: WorkerHub, identity: WorkerIdentity) {
    this.#call = call;
    this.#hub = hub;
    this.#identity = identity;
    this.#writer = new BatchWriter(call as unknown as Sink<Uint8Array>, {
      join: severalResponses,
      soon: hub.options.soon ?? setImmediate,
      taken: () => this.#readOn(),
    });
    call.on("data", (request: AttachRequest) => this.#take(request));
    call.on("end", () => {
      this.#end();
      this.#writer.end().catch((error: unknown) => this.#cut(error));
    });
    for (const event of ["error", "cancelled", "close"]) call.on(event, () => this.#end());
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#worker !== undefined) this.#hub.detach(this.#worker, this.#writer);
  }

  #cut(error: unknown): void {
    this.#end();
    this.#hub.noteDefect(error, this.#call.getPath());
    if (!this.#writer.ended) this.#call.emit("error", asStatus(error));
  }

  #take(request: AttachRequest): void {
    if (this.#ended) return;
    try {
      // A stream may live for weeks, its certificate for a day: the worker attaches anew when it has the next one.
      if (this.#worker !== undefined) this.#identity(this.#call, this.#worker.id);
      for (const message of requestsIn(request)) {
        if (this.#ended) return;
        if (this.#worker !== undefined) this.#hear(this.#worker, message);
        else if (message?.$case === "hello") this.#worker = this.#greet(message.value);
        else throw malformed("something before the hello");
      }
      if (this.#isOverrun()) this.#call.pause();
    } catch (error) {
      this.#cut(error);
    }
  }

  #greet(hello: Hello): WorkerPeer {
    const name = this.#identity(this.#call, hello.workerName);
    if (name !== hello.workerName)
      throw malformed(`a hello of ${JSON.stringify(hello.workerName)} by ${JSON.stringify(name)}`);
    const peerHost = this.#call.getPeer().replace(/:\d+$/, "");
    return this.#hub.attach(hello, this.#writer, peerHost, (error) => this.#cut(error));
  }

  #hear(worker: WorkerPeer, message: AttachRequest["message"]): void {
    switch (message?.$case) {
      case "question":
        return this.#answer(worker, message.value);
      case "heartbeat":
        return worker.send({ $case: "heartbeat", value: answerHeartbeat(this.#hub, worker, message.value) });
      case "handBack":
        return this.#hub.handBack(worker, message.value.ids.map(attemptOf));
      case "draining":
        return this.#hub.draining(worker);
      case "hello":
        throw malformed("a second hello");
      default:
        throw malformed("a message of a kind that is unknown here");
    }
  }

  #answer(worker: WorkerPeer, { number, question }: Question): void {
    this.#unanswered++;
    switch (question?.$case) {
      case "grant": {
        const { id, sha256 } = question.value;
        const asked = new OpenQuestion(this, number, grantAnswer);
        return asked.by(() => requestGrant(worker, attemptOf(id), sha256, asked));
      }
      case "report": {
        const asked = new OpenQuestion(this, number, reportAnswer);
        return asked.by(() => take(worker, reportOf(question.value), asked));
      }
      case "failure": {
        const asked = new OpenQuestion(this, number, reportAnswer);
        return asked.by(() => take(worker, failedOf(question.value), asked));
      }
      default:
        throw malformed("a question of a kind that is unknown here");
    }
  }

  /** Of one question, once. */
  answered(number: number, answer: Answer["answer"]): void {
    this.#unanswered--;
    if (this.#ended) return;
    this.#writer.send(encodedResponse({ $case: "answer", value: { number, answer } }));
    this.#readOn();
  }

  noteDefect(error: unknown): void {
    this.#hub.noteDefect(error, `a question on ${this.#call.getPath()}`);
  }

  #isOverrun(): boolean {
    return this.#unanswered + this.#writer.untaken > UNANSWERED_MAX;
  }

  #readOn(): void {
    if (!this.#ended && this.#call.isPaused() && !this.#isOverrun()) this.#call.resume();
  }
}

/** One that waits for its answer. */
class OpenQuestion<A> implements Asked<A> {
  readonly #session: Session;
  readonly #number: number;
  readonly #inWords: (answer: A) => Answer["answer"];
  #isOpen = true;

  constructor(session: Session, number: number, inWords: (answer: A) => Answer["answer"]) {
    this.#session = session;
    this.#number = number;
    this.#inWords = inWords;
  }

  /** What asks the job; where it throws, that is the answer. */
  by(ask: () => void): void {
    try {
      ask();
    } catch (error) {
      this.fail(error);
    }
  }

  answer(answer: A): void {
    this.#close(this.#inWords(answer));
  }

  fail(error: unknown): void {
    this.#session.noteDefect(error);
    this.#close({ $case: "failure", value: messageOfFailure(failureFrom(error)) });
  }

  #close(answer: Answer["answer"]): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#session.answered(this.#number, answer);
  }
}

function grantAnswer(answer: GrantAnswer): Answer["answer"] {
  return { $case: "grant", value: grantDecisions[answer] };
}

function reportAnswer(answer: ReportAnswer): Answer["answer"] {
  return { $case: "report", value: reportDecisions[answer] };
}

function requestGrant(worker: WorkerPeer, key: AttemptKey, sha256: Uint8Array, asked: Asked<GrantAnswer>): void {
  const hash = sha256.length === 0 ? undefined : hexOf(sha256, "a SHA-256");
  const link = worker.links.get(key.job);
  if (link === undefined) asked.answer("refused");
  else link.requestGrant(key, hash, asked);
}

/** Whatever is reported is not being written any more. */
function take(
  worker: WorkerPeer,
  { key, report }: { readonly key: AttemptKey; readonly report: Report },
  asked: Asked<ReportAnswer>,
): void {
  worker.wroteAll(key);
  const link = worker.links.get(key.job);
  if (link === undefined) asked.answer("stale");
  else link.report(report, asked);
}

function answerHeartbeat(hub: WorkerHub, worker: WorkerPeer, { sequence, held }: Heartbeat) {
  const attempts = held.map(({ id, alive }) => ({ ...attemptOf(id), alive }));
  return { sequence, ...hub.heartbeat(worker, attempts) };
}

// ---- SendResult

/** Reading waits for writing, so no more than a window of the connection lies in memory. */
async function receive(
  call: ServerReadableStream<SendResultRequest, SendResultResponse>,
  hub: WorkerHub,
  worker: WorkerPeer,
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
