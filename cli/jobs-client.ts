import { setTimeout as delay } from "node:timers/promises";
import { type CallOptions, connectivityState, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { openDial, type TrustSettings } from "../app/index.ts";
import { FailuresError, failureFrom } from "../merge/work/index.ts";
import { JobsClient } from "../proto/index.ts";
import type { Source } from "../storage/index.ts";
import { TrustError } from "../trust/index.ts";
import { failuresOfCall, systemTimers } from "../wire/index.ts";
import { dial, isServiceError, tried } from "../worker/transfer/index.ts";

/** Of every command that asks a coordinator. */
export interface ClientOptions extends TrustSettings {
  readonly coordinator?: string | undefined;
  /** Milliseconds for which a coordinator that does not answer is asked again; 0: it is asked once. */
  readonly connectTimeout: number;
  readonly json: boolean;
}

/** What the coordinator has against a call; or nobody answered. */
export class CallFailure extends FailuresError {
  /** `tried`: what was done about it, for the message. */
  constructor(error: ServiceError, peer: string, tried = "") {
    const [first, ...others] = failuresOfCall(error, peer);
    super([{ ...first, message: `${first.message}${tried}` }, ...others], error);
  }
}

const DEADLINE_MS = 60_000;
/** Planning of hundreds of models reads their headers. */
export const SUBMIT_DEADLINE_MS = 600_000;
const MESSAGE_MAX_BYTES = 64 * 1024 * 1024;
/** Between two tries: growing, so that a coordinator that starts is found at once, and one that is away is left alone. */
const FIRST_WAIT_MS = 100;
const WAIT_MAX_MS = 2000;
/** A call that lasted so long had somebody at the other end: what follows is another outage. */
const CONNECTED_MS = 5000;
/** They will not let us in however long we wait. */
const HOPELESS = /certificate|handshake|\balert\b|\bSSL\b|\bTLS\b|wrong version number/i;

type Unary<Request, Response> = (
  client: JobsClient,
) => (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => unknown;

/** A connection to the coordinator's jobs service. */
export class JobsConnection {
  readonly address: string;
  readonly #open: () => JobsClient;
  readonly #patienceMs: number;
  readonly #close: () => void;
  #client: JobsClient | undefined;

  private constructor(open: () => JobsClient, address: string, patienceMs: number, close: () => void) {
    this.#open = open;
    this.address = address;
    this.#patienceMs = patienceMs;
    this.#close = close;
  }

  /** @throws TrustError */
  static async open(store: Source, options: ClientOptions): Promise<JobsConnection> {
    const { coordinator } = options;
    if (coordinator === undefined) {
      throw new TrustError("trust/option", "the coordinator's address is missing", {
        hint: "Give it with --coordinator HOST:PORT, or in DELTAWORKS_COORDINATOR.",
      });
    }
    const dialed = await openDial(store, coordinator, ["submitter", "admin"], options);
    const client = () =>
      new JobsClient(coordinator, dialed.credentials, {
        ...dialed.options,
        "grpc.max_receive_message_length": MESSAGE_MAX_BYTES,
        // Each attempt to connect is a channel's own.
        "grpc.use_local_subchannel_pool": 1,
        "grpc.initial_reconnect_backoff_ms": FIRST_WAIT_MS,
        "grpc.max_reconnect_backoff_ms": WAIT_MAX_MS,
      });
    return new JobsConnection(client, coordinator, options.connectTimeout, () => dialed.close());
  }

  /**
   * The client of a channel whose other end is known to take it, or to refuse it. What a firewall or a full queue swallows is tried again
   * after seconds (worker/transfer/dial.ts): gRPC itself would wait for 20 s. @throws ServiceError where nothing answers
   */
  async client(): Promise<JobsClient> {
    const ready = this.#client?.getChannel().getConnectivityState(false) === connectivityState.READY;
    if (this.#client !== undefined && ready) return this.#client;
    this.#client?.close();
    this.#client = undefined;
    const open = async () => {
      const client = this.#open();
      return { client, tried: () => tried(client.getChannel()), close: () => client.close() };
    };
    try {
      this.#client = (await dial(open, systemTimers, this.address)).client;
      return this.#client;
    } catch (cause) {
      const details = failureFrom(cause).message;
      throw Object.assign(new Error(details, { cause }), {
        code: status.UNAVAILABLE,
        details,
        metadata: new Metadata(),
      });
    }
  }

  /**
   * Calls, and calls again where nobody answers, or what is wrong may pass, until the connection's patience is over. So the call must
   * be safe to repeat. `waits` is told why. @throws CallFailure
   */
  async call<Request, Response>(
    method: Unary<Request, Response>,
    request: Request,
    { deadlineMs = DEADLINE_MS, waits = () => {} }: { deadlineMs?: number; waits?: (why: string) => void } = {},
  ): Promise<Response> {
    let outage: { readonly sinceMs: number; tries: number } | undefined;
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, WAIT_MAX_MS)) {
      const begunMs = performance.now();
      const outcome = await this.#once(method, request, deadlineMs);
      if ("response" in outcome) return outcome.response;
      const nowMs = performance.now();
      if (outage === undefined || nowMs - begunMs > CONNECTED_MS) outage = { sinceMs: nowMs, tries: 0 };
      outage.tries++;
      const failure = new CallFailure(outcome.error, this.address, triedText(outage.tries, nowMs - outage.sinceMs));
      const leftMs = this.#patienceMs - (nowMs - outage.sinceMs);
      if (!failure.retryable || leftMs <= 0 || HOPELESS.test(failure.message)) throw failure;
      waits(new CallFailure(outcome.error, this.address).message);
      await delay(Math.min(waitMs, leftMs));
    }
  }

  async #once<Request, Response>(
    method: Unary<Request, Response>,
    request: Request,
    deadlineMs: number,
  ): Promise<{ readonly response: Response } | { readonly error: ServiceError }> {
    let client: JobsClient;
    try {
      client = await this.client();
    } catch (error) {
      if (isServiceError(error)) return { error };
      throw error;
    }
    return new Promise((resolve) => {
      const options = { deadline: Date.now() + deadlineMs };
      method(client).call(client, request, new Metadata(), options, (error, response) =>
        resolve(error === null ? { response } : { error }),
      );
    });
  }

  close(): void {
    this.#client?.close();
    this.#close();
  }
}

function triedText(tries: number, lastedMs: number): string {
  if (tries === 1) return "";
  return `; tried ${tries} times in ${Math.max(1, Math.round(lastedMs / 1000))} s (--connect-timeout)`;
}
