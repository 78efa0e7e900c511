/**
 * Calls of gRPC between simulated processes, without gRPC: what is said is encoded and decoded, streams are in order until their
 * connection is cut, single calls get lost, come twice and overtake one another. Questions and answers on the stream of a session do so, too,
 * which is more than a connection does: their ends must not rest on its order. Both ends are the program's own.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { EventEmitter } from "node:events";
import { type Client, Metadata, status } from "@grpc/grpc-js";
import { AttachRequest, AttachResponse, type CoordinatorServer, type Question } from "../../proto/index.ts";
import {
  coordinatorDefinition,
  encodedRequest,
  encodedResponse,
  requestsIn,
  responsesIn,
  severalRequests,
  severalResponses,
  WORKER_KEY,
} from "../../wire/index.ts";
import type { Writer } from "./auditor.ts";
import type { Connection } from "./connection.ts";
import { times, type World } from "./world.ts";

type MethodName = keyof typeof coordinatorDefinition;
interface Method {
  readonly name: MethodName;
  readonly path: string;
  requestSerialize(value: unknown): Buffer;
  requestDeserialize(bytes: Buffer): unknown;
  responseSerialize(value: unknown): Buffer;
  responseDeserialize(bytes: Buffer): unknown;
}

const methods: ReadonlyMap<string, Method> = new Map(
  Object.entries(coordinatorDefinition).map(([name, method]) => [
    method.path,
    { ...method, name } as unknown as Method,
  ]),
);

function methodAt(path: string): Method {
  const method = methods.get(path);
  if (method === undefined) throw new Error(`there is no ${path}`);
  return method;
}

interface CallStatus {
  readonly code: number;
  readonly details: string;
  readonly metadata?: Metadata;
}

type Callback = (error: Error | null, response?: unknown) => void;

/** Whose bytes they are that a coordinator writes while it carries out a call. */
export const writerOfCall = new AsyncLocalStorage<{ writer?: Writer }>();

type Sent = NonNullable<AttachRequest["message"]>;
type Received = NonNullable<AttachResponse["message"]>;

/** What the worker's end may do to what it sends: what goes in the place of a message. */
export type Twist = (message: Sent) => Sent;

/** What hears of questions when they come in, and when they are answered. */
export interface QuestionWatch {
  asked(question: Question, connection: Connection): void;
  answered(number: number, connection: Connection): void;
  /** The coordinator has ended the stream: nothing more is answered, and the worker is told so. */
  ended(connection: Connection): void;
}

// ---- the coordinator's end

class ServerCall extends EventEmitter {
  readonly metadata = new Metadata();
  readonly request: unknown;
  cancelled = false;
  readonly #host: string;
  readonly #path: string;

  constructor(connection: Connection, path: string, request?: unknown) {
    super();
    this.#path = path;
    this.#host = connection.worker.name;
    this.metadata.set(WORKER_KEY, connection.worker.name);
    this.request = request;
    connection.onLost("coordinator", () => this.cancel());
  }

  getPath(): string {
    return this.#path;
  }

  getPeer(): string {
    return `${this.#host}:1`;
  }

  getAuthContext() {
    return {};
  }

  cancel(): void {
    if (this.cancelled) return;
    this.cancelled = true;
    this.emit("cancelled");
    this.emit("close");
  }

  isPaused(): boolean {
    return false;
  }
}

/** A stream to the worker. */
class ServerStream extends ServerCall {
  readonly #world: World;
  readonly #watch: QuestionWatch | undefined;
  readonly #connection: Connection;
  readonly #method: Method;
  readonly #client: () => ClientStream;
  #over = false;

  constructor(
    { world, watch, connection }: { world: World; watch?: QuestionWatch | undefined; connection: Connection },
    method: Method,
    client: () => ClientStream,
    request?: unknown,
  ) {
    super(connection, method.path, request);
    this.#world = world;
    this.#watch = watch;
    this.#connection = connection;
    this.#method = method;
    this.#client = client;
    this.on("error", (error: Error & CallStatus) => {
      if (this.#over) return;
      this.#ends();
      const { code, details, metadata } = error;
      connection.down(() => client().failed({ code: code ?? status.UNKNOWN, details, ...(metadata && { metadata }) }));
      queueMicrotask(() => this.emit("finish"));
    });
  }

  get isOver(): boolean {
    return this.#over;
  }

  #ends(): void {
    this.#over = true;
    this.#watch?.ended(this.#connection);
  }

  write(message: unknown, taken?: () => void): boolean {
    if (!this.#over) {
      const bytes = this.#method.responseSerialize(message);
      if (this.#method.name === "attach") this.#say(AttachResponse.decode(bytes));
      else this.#connection.down(() => this.#client().emit("data", this.#method.responseDeserialize(bytes)));
    }
    taken?.();
    return true;
  }

  #say(response: AttachResponse): void {
    const messages = responsesIn(response) as readonly Received[];
    for (const message of messages) {
      if (message.$case === "answer") this.#watch?.answered(message.value.number, this.#connection);
    }
    const arrive = (those: readonly Received[]) => {
      const bytes = severalResponses(those.map(encodedResponse));
      return () => this.#client().emit("data", this.#method.responseDeserialize(Buffer.from(bytes)));
    };
    const { inOrder, late } = fate(this.#world, messages, ({ $case }) => $case === "answer");
    if (inOrder.length > 0) this.#connection.down(arrive(inOrder));
    for (const one of late) this.#connection.lateDown(arrive([one]));
  }

  end(): void {
    if (this.#over) return;
    this.#ends();
    this.#connection.down(() => this.#client().emit("end"));
    queueMicrotask(() => this.emit("finish"));
  }
}

/** What a worker streams up, to be read by `for await`. */
class ServerReader extends ServerCall implements AsyncIterable<unknown> {
  readonly #arrived: unknown[] = [];
  #wake: () => void = () => {};
  #ended = false;

  arrive(message: unknown): void {
    this.#arrived.push(message);
    this.#wake();
  }

  finish(): void {
    this.#ended = true;
    this.#wake();
  }

  override cancel(): void {
    super.cancel();
    this.#wake();
  }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      if (this.#arrived.length > 0) yield this.#arrived.shift();
      else if (this.cancelled)
        throw Object.assign(new Error("the call was cancelled"), { code: "ERR_STREAM_PREMATURE_CLOSE" });
      else if (this.#ended) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}

/** Of what goes together: some may get lost, come twice, or come late. The rest keeps its order. */
function fate<Message>(world: World, messages: readonly Message[], isFree: (message: Message) => boolean) {
  const inOrder: Message[] = [];
  const late: Message[] = [];
  for (const message of messages) {
    if (!isFree(message)) {
      inOrder.push(message);
      continue;
    }
    if (!world.strikes("lost-message", 0.12)) (world.strikes("reordered-message", 0.15) ? late : inOrder).push(message);
    if (world.strikes("duplicate-message", 0.15))
      (world.strikes("reordered-message", 0.5) ? late : inOrder).push(message);
  }
  return { inOrder, late };
}

// ---- the worker's end

class ClientStream extends EventEmitter {
  readonly #send: (message: unknown) => void;
  readonly #end: () => void;
  readonly #cancel: () => void;

  constructor(send: (message: unknown) => void, end: () => void, cancel: () => void) {
    super();
    this.#send = send;
    this.#end = end;
    this.#cancel = cancel;
  }

  write(message: unknown, taken?: () => void): boolean {
    this.#send(message);
    taken?.();
    return true;
  }

  end(): void {
    this.#end();
  }

  cancel(): void {
    this.#cancel();
  }

  failed(reason: CallStatus): void {
    this.emit("error", errorOf(reason));
  }
}

function errorOf({ code, details, metadata = new Metadata() }: CallStatus): Error {
  return Object.assign(new Error(`${code}: ${details}`), { code, details, metadata });
}

const gone = { code: status.UNAVAILABLE, details: "the connection is gone (simulated)" } as const;
const late = { code: status.DEADLINE_EXCEEDED, details: "no answer in time (simulated)" } as const;

/** What of a client of grpc-js the program's own worker uses; nobody at the other end: every call fails. */
export function clientOf(
  world: World,
  connection: Connection | undefined,
  handlers: () => CoordinatorServer,
  { twist, watch }: { readonly twist?: Twist | undefined; readonly watch?: QuestionWatch | undefined },
): Client {
  /** Over is over: of answer, deadline and loss the first counts. */
  const once = (callback: Callback): Callback => {
    let over = false;
    return (error, response) => {
      if (over) return;
      over = true;
      callback(error, response);
    };
  };
  const soon = (worker: Connection | undefined, act: () => void) => {
    if (worker === undefined) world.scheduler.after(world.between(1, 20), act);
    else worker.worker.after(0, act);
  };
  const client = {
    makeUnaryRequest(path: string, _s: unknown, _d: unknown, request: unknown, _o: unknown, callback: Callback) {
      const method = methodAt(path);
      const answer = once(callback);
      if (connection === undefined) return soon(undefined, () => answer(errorOf(gone)));
      const bytes = method.requestSerialize(request);
      connection.onLost("worker", () => answer(errorOf(gone)));
      connection.worker.after(times.callMs, () => answer(errorOf(late)));
      world.network.call<{ readonly error?: CallStatus; readonly bytes?: Buffer }>(
        connection,
        (respond) => {
          const call = new ServerCall(connection, path, method.requestDeserialize(bytes));
          const handler = handlers()[method.name] as unknown as (
            call: ServerCall,
            callback: (error: CallStatus | null, response?: unknown) => void,
          ) => void;
          handler(call, (error, response) => {
            respond(error === null ? { bytes: method.responseSerialize(response) } : { error });
          });
        },
        ({ error, bytes: response }) => {
          if (error !== undefined) answer(errorOf(error));
          else if (response !== undefined) answer(null, method.responseDeserialize(response));
        },
      );
    },

    makeBidiStreamRequest(path: string) {
      const method = methodAt(path);
      if (connection === undefined) return deadStream();
      let server: ServerStream | undefined;
      const arrive = (messages: readonly Sent[]) => {
        const bytes = severalRequests(messages.map(encodedRequest));
        const [first] = messages;
        return () => {
          // A hello comes alone.
          const request = first?.$case === "hello" ? encodedRequest(first) : bytes;
          const questions = messages.flatMap((message) => (message.$case === "question" ? [message.value] : []));
          if (server?.isOver !== true) for (const question of questions) watch?.asked(question, connection);
          server?.emit("data", method.requestDeserialize(Buffer.from(request)));
          // Heard, and what comes of it no more.
          if (questions.length > 0 && world.strikes("cut-before-answer", 0.05)) connection.cut(20);
        };
      };
      const stream: ClientStream = new ClientStream(
        (message) => {
          const messages = requestsIn(AttachRequest.decode(method.requestSerialize(message))) as readonly Sent[];
          const said = messages.map((one) => twist?.(one) ?? one);
          const { inOrder, late } = fate(world, said, ({ $case }) => $case === "question");
          if (inOrder.length > 0) connection.up(arrive(inOrder));
          for (const one of late) connection.lateUp(arrive([one]));
        },
        () => connection.up(() => server?.emit("end")),
        () => connection.up(() => server?.cancel()),
      );
      connection.up(() => {
        server = new ServerStream({ world, watch, connection }, method, () => stream);
        (handlers()[method.name] as unknown as (call: ServerStream) => void)(server);
      });
      connection.onLost("worker", () => stream.failed(gone));
      return stream;
    },

    makeServerStreamRequest(path: string, _s: unknown, _d: unknown, request: unknown) {
      const method = methodAt(path);
      if (connection === undefined) return deadStream();
      const bytes = method.requestSerialize(request);
      let server: ServerStream | undefined;
      let over = false;
      const stream: ClientStream = new ClientStream(
        () => {},
        () => {},
        () => connection.up(() => server?.cancel()),
      );
      stream.on("end", () => {
        over = true;
      });
      connection.up(() => {
        server = new ServerStream({ world, connection }, method, () => stream, method.requestDeserialize(bytes));
        (handlers()[method.name] as unknown as (call: ServerStream) => void)(server);
      });
      const failed = (why: CallStatus) => {
        if (!over) stream.failed(why);
        over = true;
      };
      connection.onLost("worker", () => failed(gone));
      connection.worker.after(times.callMs, () => failed(late));
      return stream;
    },

    makeClientStreamRequest(path: string, _s: unknown, _d: unknown, _o: unknown, callback: Callback) {
      const method = methodAt(path);
      let over = false;
      const answer = once((error, response) => {
        over = true;
        callback(error, response);
        if (error !== null) stream.emit("close");
      });
      const server = connection === undefined ? undefined : new ServerReader(connection, path);
      const context: { writer?: Writer } = {};
      const stream: ClientStream = new ClientStream(
        (message) => {
          const bytes = method.requestSerialize(message);
          connection?.up(() => {
            const arrived = method.requestDeserialize(bytes) as {
              message?: { $case: string; value: { id?: { unitId: string; attempt: bigint } } };
            };
            const id = arrived.message?.$case === "header" ? arrived.message.value.id : undefined;
            if (id !== undefined) {
              const { unitId: unit, attempt } = id;
              context.writer = { worker: connection.worker.name, unit, attempt: Number(attempt) } as Writer;
            }
            server?.arrive(arrived);
          });
        },
        () => connection?.up(() => server?.finish()),
        () => {
          connection?.up(() => server?.cancel());
          answer(errorOf({ code: status.CANCELLED, details: "cancelled" }));
        },
      );
      if (connection === undefined) {
        soon(undefined, () => answer(errorOf(gone)));
        return stream;
      }
      connection.onLost("worker", () => answer(errorOf(gone)));
      connection.worker.after(4 * times.callMs, () => {
        if (!over) connection.up(() => server?.cancel());
        answer(errorOf(late));
      });
      connection.up(() => {
        const handler = handlers()[method.name] as unknown as (
          call: unknown,
          callback: (error: CallStatus | null, response?: unknown) => void,
        ) => void;
        writerOfCall.run(context, () =>
          handler(server, (error, response) => {
            const bytes = error === null ? method.responseSerialize(response) : undefined;
            connection.down(() => {
              if (bytes !== undefined) answer(null, method.responseDeserialize(bytes));
              else if (error !== null) answer(errorOf(error));
            });
          }),
        );
      });
      return stream;
    },
  };
  const deadStream = () => {
    const stream = new ClientStream(
      () => {},
      () => {},
      () => {},
    );
    soon(undefined, () => stream.failed(gone));
    return stream;
  };
  return client as unknown as Client;
}
