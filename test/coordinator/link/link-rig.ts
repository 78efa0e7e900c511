import { type ClientDuplexStream, credentials, Metadata, ServerCredentials } from "@grpc/grpc-js";
import type { WorkerLink, WorkerListener } from "../../../coordinator/link/index.ts";
import {
  coordinatorHandlers,
  type HubTimes,
  LinkError,
  type RemoteJob,
  ResultFetcher,
  RpcServer,
  WorkerHub,
} from "../../../coordinator/link/index.ts";
import type { AttemptRef, Plan, Report, UnitId } from "../../../merge/work/index.ts";
import {
  type Answer,
  AttachRequest,
  type AttachResponse,
  CoordinatorClient,
  Hello,
  type Question,
} from "../../../proto/index.ts";
import type { Files } from "../../../storage/index.ts";
import { FileStore, placeOf } from "../../../storage/index.ts";
import { coordinatorDefinition, PROTOCOL_VERSION, responsesIn, WORKER_KEY } from "../../../wire/index.ts";

export const JOB = "job-1";
export const unit = (name: string) => name as UnitId;
export const SIZE = 5 * 1024 * 1024 + 3;

/** One shard with two slices of odd size. */
export const plan = {
  tasks: [],
  inputs: [{ label: "base", files: [{ name: "model.safetensors", sizeBytes: 100, headerSha256: "ab".repeat(32) }] }],
  shards: [{ name: "model.safetensors", sizeBytes: 100 + 2 * SIZE }],
  slices: [
    { id: "s000000", shard: 0, offsetBytes: 100, sizeBytes: SIZE, parts: [] },
    { id: "s000001", shard: 0, offsetBytes: 100 + SIZE, sizeBytes: SIZE, parts: [] },
  ],
} as unknown as Plan;

/** A job that writes down what it hears, and answers what it is told to. */
export class RecordingJob implements WorkerListener {
  readonly heard: unknown[][] = [];
  /** What workers said that they may be writing. */
  readonly told: unknown[][] = [];
  link: WorkerLink | undefined;
  drops: readonly AttemptRef[] = [];
  renews: readonly AttemptRef[] = [];
  onGrant: (ref: AttemptRef) => void = (ref) => this.link?.answerGrant(ref, "granted");
  onReport: (report: Report) => void = (report) => this.link?.answerReport(report, "accepted");

  attached(link: WorkerLink, held: readonly AttemptRef[]) {
    this.heard.push(["attached", link.id, link.slots, ...held.map(({ attempt }) => attempt)]);
    this.link = link;
    return this.drops;
  }
  writing(worker: string, attempts: readonly AttemptRef[]) {
    this.told.push([worker, ...attempts.map(({ attempt }) => attempt)]);
  }
  detached(worker: string) {
    this.heard.push(["detached", worker]);
  }
  lost(worker: string) {
    this.heard.push(["lost", worker]);
  }
  heartbeat(worker: string, held: readonly AttemptRef[]) {
    this.heard.push(["heartbeat", worker, ...held.map(({ attempt }) => attempt)]);
    return { renewed: this.renews, dropped: this.drops };
  }
  handedBack(worker: string, attempts: readonly AttemptRef[]) {
    this.heard.push(["handedBack", worker, ...attempts.map(({ attempt }) => attempt)]);
  }
  draining(worker: string) {
    this.heard.push(["draining", worker]);
  }
  grantRequested(worker: string, unit: UnitId, attempt: number, sha256?: string) {
    this.heard.push(["grantRequested", worker, unit, attempt, sha256]);
    this.onGrant({ unit, attempt });
  }
  reported(worker: string, report: Report) {
    this.heard.push(["reported", worker, report.kind, report.attempt]);
    this.onReport(report);
  }
  mayWrite = () => true;
  roomForSummary = async () => () => {};
  barred(worker: string, isBarred: boolean) {
    this.heard.push(["barred", worker, isBarred]);
  }
  slotsChanged(worker: string, slots: number) {
    this.heard.push(["slotsChanged", worker, slots]);
  }
}

export interface RigOptions {
  readonly times?: Partial<HubTimes>;
  readonly inputPath?: string;
  readonly shardPath?: string;
  readonly store?: Files;
  readonly readBack?: RemoteJob["readBack"];
  readonly signing?: RemoteJob["signing"];
  readonly putPart?: RemoteJob["putPart"];
}

/** A hub behind a real port. */
export async function openRig({
  times,
  inputPath = "",
  shardPath = "",
  store = new FileStore(),
  readBack = async () => [],
  signing,
  putPart,
}: RigOptions = {}) {
  const identity = inputPath === "" ? undefined : await store.identity(placeOf(inputPath));
  const job: RemoteJob = {
    id: JOB,
    plan,
    planDigest: "cd".repeat(32),
    inputs: [
      { label: "base", files: [{ path: placeOf(inputPath), ...{ sizeBytes: 100, version: "1" }, ...identity }] },
    ],
    shardPaths: [placeOf(shardPath)],
    inputPlaces: [[{ root: "models", path: "base/model.safetensors" }]],
    shardPlaces: [{ root: "out", path: "merged/.deltaworks/stage/model.safetensors" }],
    ...{ readBack, signing, putPart },
  };
  const fetcher = new ResultFetcher(() => ({ credentials: credentials.createInsecure(), options: {} }));
  const defects: [error: unknown, where: string][] = [];
  const forgotten: string[] = [];
  const clock = { ms: 0, nowMs: () => clock.ms };
  const hub = new WorkerHub({
    softwareVersion: "0.0.0",
    startNumber: 7,
    times: { leaseMs: 60_000, heartbeatMs: 5_000, ioTimeoutMs: 20_000, ...times },
    store,
    clock,
    fetch: (worker, of, intake, ref) => fetcher.fetch(worker, of, intake, ref),
    forgotten: (worker) => forgotten.push(worker),
    changed: () => {
      for (const worker of hub.workers) for (const id of hub.jobs.keys()) hub.setSlots(worker, id, 2);
    },
    log: () => {},
    defect: (error, where) => defects.push([error, where]),
  });
  /** Names that are nobody's (any more). */
  const refused = new Set(["submitter"]);
  const handlers = coordinatorHandlers(hub, (_, claimed) => {
    if (refused.has(claimed)) throw new LinkError("link/not-attached", "no worker", { hint: "" });
    return claimed;
  });
  const services = [{ name: "deltaworks.v1.Coordinator", definition: coordinatorDefinition, handlers }];
  const server = new RpcServer({ services, credentials: ServerCredentials.createInsecure() });
  const port = await server.listen("127.0.0.1:0");
  const clients: CoordinatorClient[] = [];
  return {
    hub,
    defects,
    forgotten,
    clock,
    refused,
    server,
    port,
    job,
    client() {
      const client = new CoordinatorClient(`127.0.0.1:${port}`, credentials.createInsecure(), {
        "grpc.use_local_subchannel_pool": 1,
      });
      clients.push(client);
      return client;
    },
    async close() {
      hub.stop();
      fetcher.close();
      for (const client of clients) client.close();
      await server.shutdown(1000);
    },
  };
}

/** A worker's end of Attach, by hand. */
export class HandWorker {
  readonly name: string;
  readonly client: CoordinatorClient;
  readonly metadata = new Metadata();
  readonly received: NonNullable<AttachResponse["message"]>[] = [];
  readonly stream: ClientDuplexStream<AttachRequest, AttachResponse>;
  readonly ended: Promise<{ code: number; details: string; metadata: Metadata }>;
  #wake: () => void = () => {};
  #lastNumber = 0;
  readonly #asked = new Map<number, (answer: Answer["answer"]) => void>();

  constructor(client: CoordinatorClient, name: string, hello: Partial<Hello> = {}) {
    this.name = name;
    this.client = client;
    this.metadata.set(WORKER_KEY, name);
    this.stream = client.attach(this.metadata);
    this.stream.on("error", () => {});
    this.ended = new Promise((resolve) => this.stream.on("status", resolve));
    this.stream.on("data", (response: AttachResponse) => {
      for (const message of responsesIn(response)) {
        if (message?.$case === "answer") this.#asked.get(message.value.number)?.(message.value.answer);
        else if (message !== undefined) this.received.push(message);
      }
      this.#wake();
    });
    const full = {
      protocolVersion: PROTOCOL_VERSION,
      workerName: name,
      incarnation: "one",
      threads: 1,
      host: "there",
      ...hello,
    };
    this.send({ $case: "hello", value: Hello.fromPartial(full) });
  }

  send(message: NonNullable<AttachRequest["message"]>): void {
    this.stream.write(AttachRequest.fromPartial({ message }));
  }

  /** Asks all as one message; resolves to their answers in the order of the questions, rejects with how the session ended. */
  ask(...questions: NonNullable<Question["question"]>[]): Promise<Answer["answer"][]> {
    const numbered = questions.map((question) => ({ number: ++this.#lastNumber, question }));
    const answers = numbered.map(
      ({ number }) => new Promise<Answer["answer"]>((resolve) => this.#asked.set(number, resolve)),
    );
    const messages = numbered.map((value) => ({ message: { $case: "question", value } as const }));
    this.send({ $case: "several", value: { messages } });
    return Promise.race([
      Promise.all(answers),
      this.ended.then((why) => {
        throw Object.assign(new Error(why.details), why);
      }),
    ]);
  }

  /** The first message of a kind that has come or comes. */
  async next<C extends NonNullable<AttachResponse["message"]>["$case"]>(kind: C) {
    for (;;) {
      const at = this.received.findIndex(({ $case }) => $case === kind);
      if (at >= 0)
        return this.received.splice(at, 1)[0] as Extract<NonNullable<AttachResponse["message"]>, { $case: C }>;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

export const id = (attempt: number, of = "s000000") => ({ jobId: JOB, unitId: of, attempt: BigInt(attempt) });
