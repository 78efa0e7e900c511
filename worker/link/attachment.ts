import { type Client, type ClientDuplexStream, type ServiceError, status } from "@grpc/grpc-js";
import { type AttemptKey, failureFrom } from "../../merge/work/index.ts";
import type { AttachRequest, AttachResponse, AttemptProgress, Hello, Welcome } from "../../proto/index.ts";
import type { Source } from "../../storage/index.ts";
import {
  attachMethod,
  attemptOf,
  BatchWriter,
  checkVersions,
  delay,
  encodedRequest,
  every,
  failuresOfCall,
  GATHER_MS,
  ioTimeoutMax,
  leaseMin,
  numberOf,
  responsesIn,
  type Sink,
  severalRequests,
  systemTimers,
  type Timers,
} from "../../wire/index.ts";
import { type ConnectionOptions, WorkerError } from "../index.ts";
import {
  ATTEMPT_MS,
  type BackoffOptions,
  backoffMs,
  type Connection,
  dial,
  isServiceError,
  openConnection,
} from "../transfer/index.ts";
import type { WorkerLog } from "./worker-log.ts";

type Sent = NonNullable<AttachRequest["message"]>;
type Received = NonNullable<AttachResponse["message"]>;

/** What hears of the connection, and is asked what to say on it. */
export interface AttachListener {
  hello(): Hello;
  attached(welcome: Welcome): void;
  /** What is held, and whether it lives. */
  heartbeat(): { readonly held: readonly AttemptProgress[]; readonly memoryUsedBytes: number };
  /** A heartbeat that was sent at `sentMs` is answered: of those that it named these are renewed, and those dropped. */
  answered(renewed: readonly AttemptKey[], sentMs: number, dropped: readonly AttemptKey[]): void;
  /** The session is over; another follows. */
  detached(): void;
  /** Everything else that the coordinator says. */
  received(message: Received): void;
}

export interface AttachmentOptions {
  readonly connection: ConnectionOptions;
  readonly store: Source;
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

/** Between attempts that are refused. From the moment on that the coordinator listens, a worker is back after this and a connection. */
const BACKOFF: BackoffOptions = { firstMs: 250, mostMs: 2_000 };
/** A coordinator that takes a connection and says nothing, for another may listen there by now. */
const WELCOME_MS = 3_000;
/** Without a word from the other end for so long it is asked for one; where none comes for the time of an attempt, another connection is tried. */
const QUIET_MS = 2_000;
/** What streams of bulk bytes have left, where a connection that stands took the place of one that was silent: it may only be slow. */
const STREAMS_MS = 20_000;
/** While there is no session, a line in the log so often. */
const SAY_MS = 10_000;
/** For the other end's last word, when everything has been said. */
const LEAVE_MS = 2_000;
/** After the time of so many heartbeats without an answer the connection is taken for half open. */
const UNANSWERED_MAX = 4;
/** How often a session looks whether it is silent. */
const WATCH_MS = 500;

/** Why a session ended: it was silent, and another connection stands. */
class Replaced {
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }
}

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

/** The worker's session with the coordinator, over as many connections as it takes. */
export class Attachment {
  readonly #options: AttachmentOptions;
  readonly #timers: Timers;
  #connection: Connection | undefined;
  #writer: BatchWriter | undefined;
  #attached = false;
  #session: Promise<unknown> = Promise.resolve();
  #closed = false;
  #beatNow: () => void = () => {};
  #onAnswer: () => void = () => {};
  /** When the other end was heard of last. */
  #heardMs = 0;

  constructor(options: AttachmentOptions) {
    this.#options = options;
    this.#timers = options.seams?.timers ?? systemTimers;
  }

  /** Of the connection of now. */
  get client(): Client {
    if (this.#connection === undefined) throw new Error("there is no connection yet");
    return this.#connection.client;
  }

  /** At once. Lost where there is no session: what must arrive is said again in the next hello. */
  send(message: Sent): void {
    this.#writer?.sendNow(encodedRequest(message));
  }

  /** An encoded message, in some milliseconds and with others, or sooner. False: there is no session, and it is lost. */
  gather(message: Uint8Array): boolean {
    this.#writer?.send(message);
    return this.#writer !== undefined;
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
    await Promise.race([this.#writer?.end(), waited]);
    await Promise.race([this.#session, waited]);
    over();
  }

  /** Attaches, and attaches again, until it is closed. @throws WorkerError `worker/refused`; WireError `wire/other-version` */
  async run(): Promise<void> {
    const { log, connection } = this.#options;
    const timers = this.#timers;
    let failures = 0;
    let lostMs: number | undefined;
    let saidMs = Number.NEGATIVE_INFINITY;
    let next: Connection | undefined;
    while (!this.#closed) {
      const session = this.#converseOnce(next, () => {
        failures = 0;
        lostMs = undefined;
        saidMs = Number.NEGATIVE_INFINITY;
      });
      this.#session = session;
      const ended = await session;
      next = ended instanceof Replaced ? ended.connection : undefined;
      if (this.#closed) return next?.close();
      if (ended === RENEWED) {
        log("info", "attaches anew: the certificate was renewed", {});
        continue;
      }
      lostMs ??= timers.nowMs();
      const why = ended instanceof Replaced ? silent(timers.nowMs() - this.#heardMs) : ended;
      const failure = isServiceError(why) ? failuresOfCall(why, connection.address)[0] : failureFrom(why);
      if (isServiceError(why) && REFUSALS.has(why.code)) {
        throw new WorkerError("worker/refused", failure.message, { hint: failure.hint, cause: why });
      }
      if (!isServiceError(why) && !failure.retryable) throw why;
      failures++;
      const isNew = timers.nowMs() - saidMs >= SAY_MS;
      if (isNew) saidMs = timers.nowMs();
      const facts = { code: failure.code, message: failure.message, attempts: failures };
      log(isNew ? "warn" : "debug", "not attached", { ...facts, forMs: Math.round(timers.nowMs() - lostMs) });
      if (next !== undefined) continue;
      await delay(timers, backoffMs(failures, timers.chance(), this.#options.seams?.backoff ?? BACKOFF));
    }
  }

  close(): void {
    this.#closed = true;
    this.#connection?.close();
  }

  /** A channel of its own: an old one may be half open, and would take a new call along. */
  #dial(): Promise<Connection> {
    const { store, connection, seams } = this.#options;
    return dial(() => (seams?.connect ?? openConnection)(store, connection), this.#timers, connection.address);
  }

  /** One connection, from hello to its end. Resolves with why it ended. `next`: one that stands. */
  async #converseOnce(next: Connection | undefined, welcomed: () => void): Promise<unknown> {
    const { listener } = this.#options;
    let streamsMs: number | undefined;
    try {
      this.#connection = next ?? (await this.#dial());
      if (this.#closed) return undefined;
      this.#heardMs = this.#timers.nowMs();
      const { path, requestSerialize, responseDeserialize } = attachMethod;
      const call = this.#connection.client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
      const ended = await this.#converse(call, this.#connection.renewed, welcomed);
      if (ended instanceof Replaced) streamsMs = STREAMS_MS;
      return ended;
    } catch (error) {
      return error;
    } finally {
      this.#writer = undefined;
      this.#beatNow = () => {};
      if (this.#attached) listener.detached();
      this.#attached = false;
      this.#connection?.close(streamsMs);
    }
  }

  #converse(
    call: ClientDuplexStream<Uint8Array, AttachResponse>,
    renewed: Promise<void>,
    welcomed: () => void,
  ): Promise<unknown> {
    const { listener, seams } = this.#options;
    const timers = this.#timers;
    const welcomeMs = seams?.welcomeMs ?? WELCOME_MS;
    const writer = new BatchWriter(call as Sink<Uint8Array>, {
      join: severalRequests,
      soon: (act) => void timers.after(GATHER_MS, act),
    });
    return new Promise((resolve) => {
      // When those that were not answered yet were sent.
      const beats = new Map<bigint, number>();
      let stopTimer = timers.after(welcomeMs, () => end(silent(welcomeMs)));
      let over = false;
      const end = (why: unknown) => {
        if (over) return;
        over = true;
        stopTimer();
        stopWatch();
        call.cancel();
        resolve(why);
      };
      renewed.then(() => end(RENEWED), end);
      let lastSequence = 0n;
      // A connection that is silent may be one of a coordinator that is gone: its next one is looked for before this one is given up.
      let dialing = false;
      const stopWatch = every(timers, WATCH_MS, () => {
        const oldest = beats.values().next().value;
        if (!this.#attached || over) return;
        if (oldest === undefined && timers.nowMs() - this.#heardMs >= QUIET_MS) ask([]);
        if (dialing || oldest === undefined || timers.nowMs() - oldest < ATTEMPT_MS) return;
        dialing = true;
        const heardMs = this.#heardMs;
        this.#dial()
          .then((another) => {
            if (over || this.#heardMs !== heardMs || another.isReady?.() === false) another.close();
            else end(new Replaced(another));
          })
          .catch(() => undefined)
          .finally(() => {
            dialing = false;
          });
      });
      const ask = (held: readonly AttemptProgress[], memoryUsedBytes = 0) => {
        const sequence = ++lastSequence;
        beats.set(sequence, timers.nowMs());
        this.send({
          $case: "heartbeat",
          value: { sequence, held: [...held], memoryUsedBytes: BigInt(memoryUsedBytes) },
        });
      };
      const beat = (everyMs: number) => {
        stopTimer();
        const oldest = beats.values().next().value;
        const waitedMs = oldest === undefined ? 0 : timers.nowMs() - oldest;
        if (waitedMs >= UNANSWERED_MAX * everyMs) return end(silent(waitedMs));
        const { held, memoryUsedBytes } = listener.heartbeat();
        ask(held, memoryUsedBytes);
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
          const { sequence, renewed, dropped } = message.value;
          const sentMs = beats.get(sequence);
          // Later ones answer earlier ones too: they stand in one stream.
          for (const known of [...beats.keys()]) if (known <= sequence) beats.delete(known);
          listener.answered(sentMs === undefined ? [] : renewed.map(attemptOf), sentMs ?? 0, dropped.map(attemptOf));
          if (sequence === lastSequence) this.#onAnswer();
        } else if (message !== undefined) {
          listener.received(message);
        }
      };
      call.on("data", (response) => {
        this.#heardMs = timers.nowMs();
        try {
          for (const message of responsesIn(response)) if (!over) take(message);
        } catch (error) {
          end(error);
        }
      });
      call.on("error", (error: ServiceError) => end(error));
      call.on("end", () => end(silent(0)));
      writer.sendNow(encodedRequest({ $case: "hello", value: listener.hello() }));
    });
  }
}

/** @throws WireError `wire/other-version`; WorkerError `worker/refused` where this end could never write with the other's times */
function checkWelcome(hello: Hello, welcome: Welcome): void {
  const { protocolVersion, softwareVersion } = welcome;
  const own = { role: "worker", protocolVersion: hello.protocolVersion, softwareVersion: hello.softwareVersion };
  checkVersions(own, { role: "coordinator", protocolVersion, softwareVersion });
  const leaseMs = numberOf(welcome.leaseMs, "a lease of ms");
  const heartbeatMs = numberOf(welcome.heartbeatMs, "ms between heartbeats");
  const ioTimeoutMs = numberOf(welcome.ioTimeoutMs, "a timeout of ms");
  if (ioTimeoutMs <= ioTimeoutMax({ leaseMs, heartbeatMs })) return;
  throw new WorkerError(
    "worker/refused",
    `the coordinator lends for ${leaseMs} ms with a heartbeat each ${heartbeatMs} ms, and its I/O timeout is ${ioTimeoutMs} ms: ` +
      "a worker begins no call that could end after its lease, so that it would never write",
    { hint: `Start the coordinator with --lease ${leaseMin(ioTimeoutMs)}ms or more, or with a shorter --io-timeout.` },
  );
}

function silent(ms: number): WorkerError {
  const message =
    ms === 0 ? "the coordinator ended the connection" : `the coordinator was silent for ${Math.round(ms)} ms`;
  return new WorkerError("worker/unreachable", message, {
    hint: "The worker goes on attaching; look whether the coordinator runs, and at the network in between.",
    retryable: true,
  });
}
