import type { ChannelCredentials, ChannelOptions, ServiceError } from "@grpc/grpc-js";
import { CodedError } from "../../errors/index.ts";
import type { AttemptRef } from "../../merge/work/index.ts";
import { type FetchResultResponse, WorkerClient } from "../../proto/index.ts";
import {
  CHUNK_MESSAGE_MAX_BYTES,
  FLOW_CONTROL_WINDOW_BYTES,
  failuresOfCall,
  fetchResultMethod,
  hexOf,
  malformed,
  messageOfAttempt,
} from "../../wire/index.ts";
import { LinkError } from "./errors.ts";
import { Limiter } from "./limiter.ts";
import type { RemoteJob } from "./remote-job.ts";
import type { ResultIntake, ResultStream } from "./result-intake.ts";
import type { WorkerPeer } from "./worker-peer.ts";

/** How a worker that listens is dialed. */
export type DialWorker = (
  address: string,
  workerName: string,
) => { readonly credentials: ChannelCredentials; readonly options: ChannelOptions };

/** Results that are fetched at once: each holds a window of memory. */
const FETCHES_MAX = 8;
/** Tries of one result, each from where the one before ended. */
const TRIES = 4;
/** Nothing came for so long: the connection is dead. */
const IDLE_MS = 20_000;

/** Fetches results from workers that offer them. Faster than having them sent: a receiver that is the client has the larger window. */
export class ResultFetcher {
  readonly #dial: DialWorker;
  /** By the worker's name. */
  readonly #clients = new Map<string, { readonly address: string; readonly client: WorkerClient }>();
  readonly #limiter = new Limiter({ count: FETCHES_MAX });

  constructor(dial: DialWorker) {
    this.#dial = dial;
  }

  /** Resolves when the bytes are in storage, synced. */
  fetch(worker: WorkerPeer, job: RemoteJob, intake: ResultIntake, ref: AttemptRef): Promise<void> {
    return this.#limiter.run(0, async () => {
      for (let tries = 1; ; tries++) {
        try {
          return await this.#try(worker, job, intake, ref);
        } catch (error) {
          const passing = error instanceof CodedError && error.retryable;
          if (!passing || tries === TRIES) throw error;
        }
      }
    });
  }

  /** Workers that connections are kept to. */
  get connections(): number {
    return this.#clients.size;
  }

  /** The worker is gone for good. */
  forget(workerName: string): void {
    this.#clients.get(workerName)?.client.close();
    this.#clients.delete(workerName);
  }

  close(): void {
    for (const name of [...this.#clients.keys()]) this.forget(name);
  }

  async #try(worker: WorkerPeer, job: RemoteJob, intake: ResultIntake, ref: AttemptRef): Promise<void> {
    const sizeBytes = intake.sizeOf(ref.unit) ?? 0;
    const offsetBytes = intake.receivedBytes(ref);
    const result = intake.begin(ref, offsetBytes, sizeBytes);
    const address = worker.facts.listenAddress;
    const id = messageOfAttempt({ job: job.id, ...ref });
    const { path, requestSerialize, responseDeserialize } = fetchResultMethod;
    const request = { id, offsetBytes: BigInt(offsetBytes) };
    const client = this.#client(address, worker.id);
    const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
    let idle: NodeJS.Timeout | undefined;
    const heard = () => {
      clearTimeout(idle);
      idle = setTimeout(() => call.cancel(), IDLE_MS);
    };
    try {
      heard();
      await take(call as AsyncIterable<FetchResultResponse>, result, heard);
    } catch (error) {
      throw isServiceError(error)
        ? unreachable(failuresOfCall(error, `worker ${worker.id} at ${address}`)[0].message)
        : error;
    } finally {
      clearTimeout(idle);
      call.cancel();
      await result.close();
    }
  }

  #client(address: string, workerName: string): WorkerClient {
    const known = this.#clients.get(workerName);
    if (known?.address === address) return known.client;
    this.forget(workerName); // started anew, it listens elsewhere
    const { credentials, options } = this.#dial(address, workerName);
    const client = new WorkerClient(address, credentials, {
      ...options,
      "grpc-node.flow_control_window": FLOW_CONTROL_WINDOW_BYTES,
      "grpc.max_receive_message_length": CHUNK_MESSAGE_MAX_BYTES,
      "grpc.use_local_subchannel_pool": 1,
    });
    this.#clients.set(workerName, { address, client });
    return client;
  }
}

async function take(messages: AsyncIterable<FetchResultResponse>, result: ResultStream, heard: () => void) {
  for await (const { chunk, sha256 } of messages) {
    heard();
    if (chunk.length > 0) await result.write(chunk);
    if (sha256.length > 0) return result.finish(hexOf(sha256, "a SHA-256"));
  }
  throw malformed("a result without its end");
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "metadata" in error && "details" in error;
}

function unreachable(message: string): LinkError {
  return new LinkError("link/unreachable", message, {
    hint: "Can the coordinator reach the address that the worker gave with --listen? Without --listen it sends its results itself.",
    retryable: true,
  });
}
