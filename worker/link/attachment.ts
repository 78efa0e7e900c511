import { type Client, type ClientDuplexStream, type ServiceError, status } from "@grpc/grpc-js";
import { failureFrom } from "../../merge/work/index.ts";
import {
  type AttachRequest,
  type AttachResponse,
  type AttemptProgress,
  CoordinatorService,
  type Hello,
  type Welcome,
} from "../../proto/index.ts";
import type { Store } from "../../storage/index.ts";
import {
  type AttemptKey,
  attemptOf,
  checkVersions,
  delay,
  failuresOfCall,
  numberOf,
  StreamWriter,
  systemTimers,
  type Timers,
} from "../../wire/index.ts";
import { type ConnectionOptions, WorkerError } from "../index.ts";
import { type BackoffOptions, backoffMs, type Connection, isServiceError, openConnection } from "../transfer/index.ts";
import type { WorkerLog } from "./worker-log.ts";

type Sent = NonNullable<AttachRequest["message"]>;
type Received = NonNullable<AttachResponse["message"]>;

/** What hears of the connection, and is asked what to say on it. */
export interface AttachListener {
  hello(): Hello;
  attached(welcome: Welcome): void;
  /** What is held, and whether it lives. */
  heartbeat(): { readonly held: readonly AttemptProgress[]; readonly memoryUsedBytes: number };
  /** A heartbeat that was sent at `sentMs` and named these as alive is answered: all but the dropped ones are renewed. */
  answered(named: readonly AttemptKey[], sentMs: number, dropped: readonly AttemptKey[]): void;
  /** The session is over; another follows. */
  detached(): void;
  /** Everything else that the coordinator says. */
  received(message: Received): void;
}

export interface AttachmentOptions {
  readonly connection: ConnectionOptions;
  readonly store: Store;
  readonly listener: AttachListener;
  readonly log: WorkerLog;
  readonly seams?: AttachmentSeams;
}

/** Where a simulation sets itself between the session and the network. */
export interface AttachmentSeams {
  readonly timers?: Timers;
  readonly connect?: typeof openConnection;
  readonly backoff?: BackoffOptions;
  readonly welcomeMs?: number;
}

const BACKOFF: BackoffOptions = { firstMs: 250, mostMs: 15_000 };
/** A coordinator that takes a connection and says nothing. */
const WELCOME_MS = 20_000;
/** For the other end's last word, when everything has been said. */
const LEAVE_MS = 2_000;
/** After so many heartbeats without an answer the connection is taken for half open, and another one is made. */
const UNANSWERED_MAX = 4;

/** Why a session ended: the certificate that it began with runs out some time, and the next one is there. */
const RENEWED = Symbol("renewed");

/** With these the coordinator says that it does not want this worker as it is; trying again changes nothing. */
const REFUSALS: ReadonlySet<number> = new Set([
  status.FAILED_PRECONDITION,
  status.UNAUTHENTICATED,
  status.PERMISSION_DENIED,
  status.INVALID_ARGUMENT,
  status.UNIMPLEMENTED,
]);

interface Beat {
  readonly sentMs: number;
  readonly named: readonly AttemptKey[];
}

/** The worker's session with the coordinator, over as many connections as it takes. */
export class Attachment {
  readonly #options: AttachmentOptions;
  readonly #timers: Timers;
  #connection: Connection | undefined;
  #writer: StreamWriter<AttachRequest> | undefined;
  #lastWrite: Promise<void> = Promise.resolve();
  #attached = false;
  #session: Promise<unknown> = Promise.resolve();
  #closed = false;
  #beatNow: () => void = () => {};
  #onAnswer: () => void = () => {};

  constructor(options: AttachmentOptions) {
    this.#options = options;
    this.#timers = options.seams?.timers ?? systemTimers;
  }

  /** Of the connection of now. */
  get client(): Client {
    if (this.#connection === undefined) throw new Error("there is no connection yet");
    return this.#connection.client;
  }

  /** Lost where there is no session: what must arrive is said again in the next hello. */
  send(message: Sent): void {
    if (this.#writer === undefined) return;
    this.#lastWrite = this.#writer.write({ message }).catch(() => undefined);
  }

  /**
   * Ends the session once both ends have heard everything that was said in it: what was lent meanwhile must be handed back. Does not
   * wait long for an end that is silent.
   */
  async leave(): Promise<void> {
    this.#closed = true;
    let over: () => void = () => {};
    const waited = new Promise<void>((resolve) => {
      over = this.#timers.after(LEAVE_MS, resolve);
    });
    if (this.#writer !== undefined) {
      const answered = new Promise<void>((resolve) => {
        this.#onAnswer = resolve;
      });
      this.#beatNow();
      await Promise.race([answered, this.#session, waited]);
    }
    await this.#lastWrite;
    await this.#writer?.end();
    await Promise.race([this.#session, waited]);
    over();
  }

  /** Attaches, and attaches again, until it is closed. @throws WorkerError `worker/refused`; WireError `wire/other-version` */
  async run(): Promise<void> {
    const { log, connection } = this.#options;
    for (let failures = 1; !this.#closed; failures++) {
      const session = this.#converseOnce(() => {
        failures = 0;
      });
      this.#session = session;
      const ended = await session;
      if (this.#closed) return;
      if (ended === RENEWED) {
        log("info", "attaches anew: the certificate was renewed", {});
        continue;
      }
      const failure = isServiceError(ended) ? failuresOfCall(ended, connection.address)[0] : failureFrom(ended);
      if (isServiceError(ended) && REFUSALS.has(ended.code)) {
        throw new WorkerError("worker/refused", failure.message, { hint: failure.hint, cause: ended });
      }
      if (!isServiceError(ended) && !failure.retryable) throw ended;
      const waitMs = backoffMs(Math.max(1, failures), this.#timers.chance(), this.#options.seams?.backoff ?? BACKOFF);
      log("warn", "not attached", { code: failure.code, message: failure.message, againInMs: Math.round(waitMs) });
      await delay(this.#timers, waitMs);
    }
  }

  close(): void {
    this.#closed = true;
    this.#connection?.close();
  }

  /** One connection, from hello to its end. Resolves with why it ended. */
  async #converseOnce(welcomed: () => void): Promise<unknown> {
    const { store, connection, listener, seams } = this.#options;
    try {
      // A fresh channel: the old one may be half open, and would take the new call along.
      this.#connection = await (seams?.connect ?? openConnection)(store, connection);
      const { path, requestSerialize, responseDeserialize } = CoordinatorService.attach;
      const call = this.#connection.client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
      return await this.#converse(call, this.#connection.renewed, welcomed);
    } catch (error) {
      return error;
    } finally {
      this.#writer = undefined;
      this.#beatNow = () => {};
      if (this.#attached) listener.detached();
      this.#attached = false;
      this.#connection?.close();
    }
  }

  #converse(
    call: ClientDuplexStream<AttachRequest, AttachResponse>,
    renewed: Promise<void>,
    welcomed: () => void,
  ): Promise<unknown> {
    const { listener, seams } = this.#options;
    const timers = this.#timers;
    const welcomeMs = seams?.welcomeMs ?? WELCOME_MS;
    const writer = new StreamWriter<AttachRequest>(call);
    return new Promise((resolve) => {
      const beats = new Map<bigint, Beat>();
      let stopTimer = timers.after(welcomeMs, () => end(silent(welcomeMs)));
      let over = false;
      const end = (why: unknown) => {
        over = true;
        stopTimer();
        call.cancel();
        resolve(why);
      };
      void renewed.then(() => end(RENEWED));
      let lastSequence = 0n;
      const beat = (everyMs: number) => {
        stopTimer();
        const sequence = ++lastSequence;
        const oldest = beats.values().next().value;
        if (beats.size >= UNANSWERED_MAX && oldest !== undefined) return end(silent(timers.nowMs() - oldest.sentMs));
        const { held, memoryUsedBytes } = listener.heartbeat();
        const named = held.filter(({ alive }) => alive).map(({ id }) => attemptOf(id));
        beats.set(sequence, { sentMs: timers.nowMs(), named });
        this.send({
          $case: "heartbeat",
          value: { sequence, held: [...held], memoryUsedBytes: BigInt(memoryUsedBytes) },
        });
        stopTimer = timers.after(everyMs, () => beat(everyMs));
      };
      const take = (message: Received | undefined) => {
        if (message?.$case === "welcome") {
          stopTimer();
          checkWelcome(listener.hello(), message.value);
          welcomed();
          this.#writer = writer;
          this.#attached = true;
          listener.attached(message.value);
          const everyMs = numberOf(message.value.heartbeatMs, "ms between heartbeats");
          this.#beatNow = () => beat(everyMs);
          beat(everyMs);
        } else if (message?.$case === "heartbeat") {
          const { sequence, dropped } = message.value;
          const answered = beats.get(sequence);
          // Later ones answer earlier ones too: they stand in one stream.
          for (const known of [...beats.keys()]) if (known <= sequence) beats.delete(known);
          const { named = [], sentMs = 0 } = answered ?? {};
          listener.answered(named, sentMs, dropped.map(attemptOf));
          if (sequence === lastSequence) this.#onAnswer();
        } else if (message !== undefined) {
          listener.received(message);
        }
      };
      call.on("data", ({ message }) => {
        try {
          if (!over) take(message);
        } catch (error) {
          end(error);
        }
      });
      call.on("error", (error: ServiceError) => end(error));
      call.on("end", () => end(silent(0)));
      writer.write({ message: { $case: "hello", value: listener.hello() } }).catch(() => undefined);
    });
  }
}

/** @throws WireError `wire/other-version` */
function checkWelcome(hello: Hello, { protocolVersion, softwareVersion }: Welcome): void {
  const own = { role: "worker", protocolVersion: hello.protocolVersion, softwareVersion: hello.softwareVersion };
  checkVersions(own, { role: "coordinator", protocolVersion, softwareVersion });
}

function silent(ms: number): WorkerError {
  const message =
    ms === 0 ? "the coordinator ended the connection" : `the coordinator was silent for ${Math.round(ms)} ms`;
  return new WorkerError("worker/unreachable", message, {
    hint: "The worker goes on attaching; look whether the coordinator runs, and at the network in between.",
    retryable: true,
  });
}
