/** A coordinator as small as can be: lends every slice of a plan to whoever attaches, grants everything, and notes what it hears. */
import { createHash } from "node:crypto";
import { mkdirSync, openSync, readFileSync, readSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join, relative } from "node:path";
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from "@grpc/grpc-js";
import type { Plan, Slice } from "../../../merge/work/index.ts";
import { textOfAttempt } from "../../../merge/work/index.ts";
import { prepareText } from "../../../prepare/index.ts";
import {
  type Answer,
  type AttachRequest,
  type AttachResponse,
  type AttemptProgress,
  CoordinatorService,
  type Hello,
  InputAccess,
  type JobDescription,
  OutputAccess,
  type QueryResultRequest,
  type QueryResultResponse,
  type Question,
  type ReadInputRequest,
  type ReadInputResponse,
  type ReadPlanRequest,
  type ReadPlanResponse,
  type SendResultRequest,
  type SendResultResponse,
} from "../../../proto/index.ts";
import { FileStore, placeOf } from "../../../storage/index.ts";
import {
  attemptOf,
  bytesOfHex,
  fetchResultMethod,
  hexOf,
  messageOfAttempt,
  PlanPieces,
  PROTOCOL_VERSION,
  readInputMethod,
  requestsIn,
  sendResultMethod,
} from "../../../wire/index.ts";

export const JOB = "job-1";
const FAILURES_MAX = 20;
export const GRANTED = 1;
export const REFUSED = 2;
export const LATER = 3;

export interface FakeOptions {
  /** The folder behind root "models", and the one behind root "out". */
  readonly models: string;
  readonly out: string;
  readonly recipe: string;
  readonly sliceBytes: number;
  readonly input?: InputAccess;
  readonly output?: OutputAccess;
  readonly leaseMs?: number;
  readonly heartbeatMs?: number;
  readonly ioTimeoutMs?: number;
  readonly protocolVersion?: number;
  /** Assignments that are out at once. */
  readonly slots?: number;
  /** What an attempt that asks is told. */
  readonly grant?: (unit: string, attempt: number) => number;
  /** False: whoever reports has no answer. */
  readonly answersReport?: (self: FakeCoordinator) => boolean;
  readonly onMessage?: (message: NonNullable<AttachRequest["message"]>, fake: FakeCoordinator) => void;
}

interface Session {
  readonly hello: Hello;
  readonly call: ServerDuplexStream<AttachRequest, AttachResponse>;
}

export class FakeCoordinator {
  readonly plan: Plan;
  readonly stage: string;
  readonly done = new Map<string, string>();
  readonly failures: { readonly unit: string; readonly code: string; readonly message: string }[] = [];
  readonly hellos: Hello[] = [];
  readonly grantsAsked: string[] = [];
  readonly handedBack: string[] = [];
  readonly beats: { readonly unit: string; readonly alive: boolean }[][] = [];
  session: Session | undefined;
  port = 0;
  readonly #options: FakeOptions;
  readonly #inputs: Awaited<ReturnType<typeof prepareText>>["inputs"];
  readonly #digest: string;
  readonly #received = new Map<string, number>();
  #server = new Server();
  #waiting: Slice[];
  #attempt = 1;
  readonly #out = new Set<string>();
  #allDone: () => void = () => {};
  readonly finished: Promise<void>;

  private constructor(options: FakeOptions, prepared: Awaited<ReturnType<typeof prepareText>>) {
    this.#options = options;
    this.plan = prepared.plan;
    this.#digest = prepared.digest;
    this.#inputs = prepared.inputs;
    this.#waiting = [...prepared.plan.slices];
    this.stage = join(options.out, ".deltaworks", "stage");
    mkdirSync(this.stage, { recursive: true });
    for (const { name, header, sizeBytes } of this.plan.shards) {
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
      writeFileSync(join(this.stage, name), Buffer.concat([length, Buffer.from(header)]));
      truncateSync(join(this.stage, name), sizeBytes);
    }
    this.finished = new Promise((resolve) => {
      this.#allDone = resolve;
    });
  }

  static async start(options: FakeOptions): Promise<FakeCoordinator> {
    const prepared = await prepareText(new FileStore(), options.recipe, "recipe.yml", {
      seed: "0",
      sliceBytes: options.sliceBytes,
      shardBytes: 2 ** 40,
      allowNonfinite: false,
      allowUnknownKeys: false,
      modelsRoot: placeOf(options.models),
      cwd: placeOf(options.models),
      environment: {},
    });
    const fake = new FakeCoordinator(options, prepared);
    await fake.listen();
    return fake;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async listen(): Promise<void> {
    this.#server = new Server({ "grpc.max_receive_message_length": 64 * 2 ** 20 });
    this.#server.addService(
      { ...CoordinatorService, readInput: readInputMethod, sendResult: sendResultMethod },
      {
        attach: (call: ServerDuplexStream<AttachRequest, AttachResponse>) => this.#attach(call),
        readPlan: (call: ServerWritableStream<ReadPlanRequest, ReadPlanResponse>) => {
          for (const message of new PlanPieces(this.plan).messages(call.request.takesGzip)) call.write(message);
          call.end();
        },
        sendResult: (
          call: ServerReadableStream<SendResultRequest, SendResultResponse>,
          answer: sendUnaryData<SendResultResponse>,
        ) => this.#receive(call, answer),
        queryResult: (
          { request }: ServerUnaryCall<QueryResultRequest, QueryResultResponse>,
          answer: sendUnaryData<QueryResultResponse>,
        ) => answer(null, { receivedBytes: BigInt(this.#received.get(textOfAttempt(attemptOf(request.id))) ?? 0) }),
        readInput: (call: ServerWritableStream<ReadInputRequest, ReadInputResponse>) => {
          const { input, file, offsetBytes, sizeBytes } = call.request;
          const path = this.#inputs[input]!.files[file]!.path;
          const bytes = Buffer.alloc(Number(sizeBytes));
          readSync(openSync(path, "r"), bytes, 0, bytes.length, Number(offsetBytes));
          for (let at = 0; at < bytes.length; at += 2 ** 20) call.write({ chunk: bytes.subarray(at, at + 2 ** 20) });
          call.end();
        },
      },
    );
    this.port = await new Promise((resolve, reject) => {
      this.#server.bindAsync(`127.0.0.1:${this.port}`, ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
  }

  /** As if the process were killed. */
  stop(): void {
    this.session = undefined;
    this.#server.forceShutdown();
  }

  send(message: NonNullable<AttachResponse["message"]>): void {
    this.session?.call.write({ message });
  }

  /** Resolves with the next message of this kind. */
  heard(kind: NonNullable<AttachRequest["message"]>["$case"]): Promise<void> {
    return new Promise((resolve) => {
      this.#heard.push((message) => {
        if (message.$case === kind) resolve();
      });
    });
  }

  /** Attempts that are lent and not answered for. */
  get out(): string[] {
    return [...this.#out];
  }

  /** The slice is lent to nobody any more, and lent anew. */
  lendAgain(unit: string): void {
    for (const key of this.#out) if (key.startsWith(`${unit}/`)) this.#giveBack(unit, Number(key.split("/")[1]));
    this.#more();
  }

  readonly #heard: ((message: NonNullable<AttachRequest["message"]>) => void)[] = [];

  /** Lends nothing more until `resume`. */
  paused = false;

  resume(): void {
    this.paused = false;
    this.#more();
  }

  #attach(call: ServerDuplexStream<AttachRequest, AttachResponse>): void {
    call.on("error", () => {});
    call.on("data", (request: AttachRequest) => {
      for (const message of requestsIn(request)) this.#hear(call, message);
    });
    call.on("end", () => call.end());
  }

  #hear(call: ServerDuplexStream<AttachRequest, AttachResponse>, message: AttachRequest["message"]): void {
    if (message?.$case === "question") this.#ask(call, message.value);
    if (message?.$case === "hello") this.#welcome(call, message.value);
    if (message?.$case === "heartbeat") {
      const { sequence, held } = message.value;
      this.beats.push(held.map(({ id, alive }) => ({ unit: attemptOf(id).unit, alive })));
      const isOut = ({ id }: AttemptProgress) => {
        const { unit, attempt } = attemptOf(id);
        return this.#out.has(`${unit}/${attempt}`);
      };
      const renewed = held.filter((of) => of.alive && isOut(of)).map(({ id }) => id!);
      const dropped = held.filter((of) => !isOut(of)).map(({ id }) => id!);
      call.write({ message: { $case: "heartbeat", value: { sequence, renewed, dropped } } });
    }
    if (message?.$case === "handBack") {
      for (const id of message.value.ids) {
        const { unit, attempt } = attemptOf(id);
        this.handedBack.push(unit);
        this.#giveBack(unit, attempt);
      }
    }
    if (message === undefined) return;
    for (const hear of this.#heard) hear(message);
    this.#options.onMessage?.(message, this);
  }

  #ask(call: ServerDuplexStream<AttachRequest, AttachResponse>, { number, question }: Question): void {
    const answer = (value: Answer["answer"]) =>
      call.write({ message: { $case: "answer", value: { number, answer: value } } });
    if (question === undefined) return;
    const { unit, attempt } = attemptOf(question.value.id);
    if (question.$case === "grant") {
      this.grantsAsked.push(`${unit}/${attempt}`);
      const known = this.#out.has(`${unit}/${attempt}`);
      const decision = known ? (this.#options.grant?.(unit, attempt) ?? GRANTED) : REFUSED;
      if (decision === GRANTED && this.#options.output === OutputAccess.OUTPUT_ACCESS_FETCH_RESULT)
        void this.#fetch(unit, attempt);
      answer({ $case: "grant", value: decision as 1 });
    } else if (question.$case === "report") {
      const { result } = question.value;
      if (this.#options.answersReport?.(this) === false) return;
      void Promise.resolve(this.#fetches.get(`${unit}/${attempt}`)).then(() => {
        const sha256 = result?.$case === "sliceSha256" ? hexOf(result.value, "a hash") : "";
        const isCurrent = this.#out.delete(`${unit}/${attempt}`);
        if (isCurrent) this.done.set(unit, sha256);
        answer({ $case: "report", value: (isCurrent ? 1 : 2) as 1 });
        this.#more();
      });
    } else {
      const { failure } = question.value;
      this.failures.push({ unit, code: failure?.code ?? "", message: failure?.message ?? "" });
      this.#giveBack(unit, attempt);
      answer({ $case: "report", value: 1 });
      this.#more();
    }
  }

  #welcome(call: ServerDuplexStream<AttachRequest, AttachResponse>, hello: Hello): void {
    this.hellos.push(hello);
    const {
      leaseMs = 30_000,
      heartbeatMs = 200,
      ioTimeoutMs = 5_000,
      protocolVersion = PROTOCOL_VERSION,
    } = this.#options;
    if (hello.protocolVersion !== protocolVersion) {
      call.emit("error", { code: status.FAILED_PRECONDITION, details: "upgrade the worker", metadata: new Metadata() });
      return;
    }
    this.session = { hello, call };
    // What was on its way when the connection broke, the worker never got.
    const held = new Set(hello.held.map(attemptOf).map(({ unit, attempt }) => `${unit}/${attempt}`));
    for (const key of [...this.#out].filter((lent) => !held.has(lent))) {
      const [unit = "", attempt] = key.split("/");
      this.#giveBack(unit, Number(attempt));
    }
    const times = { leaseMs: BigInt(leaseMs), heartbeatMs: BigInt(heartbeatMs), ioTimeoutMs: BigInt(ioTimeoutMs) };
    const value = { protocolVersion, softwareVersion: "0.0.0-test", epoch: 1n, ...times, dropped: [] };
    call.write({ message: { $case: "welcome", value } });
    call.write({ message: { $case: "job", value: this.#description() } });
    this.#more();
  }

  #more(): void {
    if (this.done.size === this.plan.slices.length || this.failures.length > FAILURES_MAX) this.#allDone();
    while (!this.paused && this.session !== undefined && this.#out.size < (this.#options.slots ?? 4)) {
      const slice = this.#waiting.shift();
      if (slice === undefined) return;
      const attempt = this.#attempt++;
      this.#out.add(`${slice.id}/${attempt}`);
      this.send({
        $case: "assignment",
        value: {
          id: { jobId: JOB, unitId: slice.id, attempt: BigInt(attempt) },
          leaseMs: BigInt(this.#options.leaseMs ?? 30_000),
          work: { $case: "slice", value: { sliceId: slice.id, verdicts: [], audit: false } },
        },
      });
    }
  }

  #giveBack(unit: string, attempt: number): void {
    if (!this.#out.delete(`${unit}/${attempt}`)) return;
    this.#waiting.push(...this.plan.slices.filter(({ id }) => id === unit));
  }

  #description(): JobDescription {
    const {
      models,
      out,
      input = InputAccess.INPUT_ACCESS_ROOTS,
      output = OutputAccess.OUTPUT_ACCESS_ROOTS,
    } = this.#options;
    return {
      jobId: JOB,
      planSha256: bytesOfHex(this.#digest),
      inputs: this.#inputs.map(({ label, files }, k) => ({
        label,
        files: files.map(({ path, sizeBytes, version }, f) => ({
          place: { root: "models", path: relative(models, path) },
          sizeBytes: BigInt(sizeBytes),
          version,
          headerSha256: bytesOfHex(this.plan.inputs[k]!.files[f]!.headerSha256),
          address: "",
        })),
      })),
      shards: this.plan.shards.map(({ name }) => ({ root: "out", path: relative(out, join(this.stage, name)) })),
      inputAccess: input,
      outputAccess: output,
      shardAddresses: [],
    };
  }

  #receive(
    call: ServerReadableStream<SendResultRequest, SendResultResponse>,
    answer: sendUnaryData<SendResultResponse>,
  ) {
    let slice: Slice | undefined;
    let at = 0;
    let key = "";
    call.on("error", () => {});
    call.on("data", ({ message }: SendResultRequest) => {
      if (message?.$case === "header") {
        const id = attemptOf(message.value.id);
        slice = this.plan.slices.find(({ id: known }) => known === (id.unit as string));
        at = Number(message.value.offsetBytes);
        key = textOfAttempt(id);
      } else if (message?.$case === "chunk") {
        this.#write(slice!, at, message.value);
        at += message.value.length;
        this.#received.set(key, at);
      } else if (message?.$case === "sha256") {
        const bytes = this.#bytesOf(slice!);
        const found = createHash("sha256").update(bytes).digest();
        if (found.equals(message.value)) answer(null, { receivedBytes: BigInt(at) });
        else answer({ code: status.UNAVAILABLE, details: "other bytes arrived" });
      }
    });
  }

  readonly #fetches = new Map<string, Promise<void>>();

  #fetch(unit: string, attempt: number): Promise<void> {
    const client = new Client(this.session!.hello.listenAddress, credentials.createInsecure());
    const slice = this.plan.slices.find(({ id }) => id === unit)!;
    const fetched = new Promise<void>((resolve, reject) => {
      const { path, requestSerialize, responseDeserialize } = fetchResultMethod;
      const id = messageOfAttempt({ job: JOB, unit: unit as never, attempt });
      const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, { id, offsetBytes: 0n });
      let at = 0;
      call.on("data", ({ chunk }) => {
        this.#write(slice, at, chunk);
        at += chunk.length;
      });
      call.on("error", reject);
      call.on("end", resolve);
    });
    this.#fetches.set(`${unit}/${attempt}`, fetched);
    return fetched.finally(() => client.close());
  }

  #write(slice: Slice, at: number, bytes: Uint8Array): void {
    writeSync(openSync(this.#shard(slice), "r+"), bytes, 0, bytes.length, slice.offsetBytes + at);
  }

  #bytesOf(slice: Slice): Buffer {
    return readFileSync(this.#shard(slice)).subarray(slice.offsetBytes, slice.offsetBytes + slice.sizeBytes);
  }

  #shard(slice: Slice): string {
    return join(this.stage, this.plan.shards[slice.shard]!.name);
  }
}
