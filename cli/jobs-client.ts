import { type CallOptions, Metadata, type ServiceError } from "@grpc/grpc-js";
import type { Failure } from "../merge/work/index.ts";
import { JobsClient } from "../proto/index.ts";
import type { Store } from "../storage/index.ts";
import { TrustError } from "../trust/index.ts";
import { failuresOfCall } from "../wire/index.ts";
import { openDial } from "./open-peer.ts";
import type { TrustOptions } from "./trust-options.ts";

/** Of every command that asks a coordinator. */
export interface ClientOptions extends TrustOptions {
  readonly coordinator?: string | undefined;
  readonly json: boolean;
}

/** What the coordinator has against a call; or nobody answered. */
export class CallFailure extends Error {
  override readonly name = "CallFailure";
  readonly code: string;
  readonly hint: string;
  readonly retryable: boolean;
  readonly failures: readonly Failure[];

  constructor(error: ServiceError, peer: string) {
    const failures = failuresOfCall(error, peer);
    super(failures.map(({ message }) => message).join("\n"), { cause: error });
    this.failures = failures;
    ({ code: this.code, hint: this.hint } = failures[0]);
    this.retryable = failures.every(({ retryable }) => retryable);
  }
}

const DEADLINE_MS = 60_000;
/** Planning of hundreds of models reads their headers. */
export const SUBMIT_DEADLINE_MS = 600_000;
const MESSAGE_MAX_BYTES = 64 * 1024 * 1024;

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
  readonly client: JobsClient;
  readonly address: string;
  readonly #close: () => void;

  private constructor(client: JobsClient, address: string, close: () => void) {
    this.client = client;
    this.address = address;
    this.#close = close;
  }

  /** @throws TrustError */
  static async open(store: Store, options: ClientOptions): Promise<JobsConnection> {
    const { coordinator } = options;
    if (coordinator === undefined) {
      throw new TrustError("trust/option", "the coordinator's address is missing", {
        hint: "Give it with --coordinator HOST:PORT, or in DELTAWORKS_COORDINATOR.",
      });
    }
    const dialed = await openDial(store, coordinator, ["submitter", "admin"], options);
    const client = new JobsClient(coordinator, dialed.credentials, {
      ...dialed.options,
      "grpc.max_receive_message_length": MESSAGE_MAX_BYTES,
    });
    return new JobsConnection(client, coordinator, () => dialed.close());
  }

  /** @throws CallFailure */
  call<Request, Response>(
    method: Unary<Request, Response>,
    request: Request,
    deadlineMs = DEADLINE_MS,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + deadlineMs };
      method(this.client).call(this.client, request, new Metadata(), options, (error, response) =>
        error === null ? resolve(response) : reject(new CallFailure(error, this.address)),
      );
    });
  }

  close(): void {
    this.client.close();
    this.#close();
  }
}
