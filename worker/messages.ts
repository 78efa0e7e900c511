import type { Assignment, AttemptKey, JobDescription, Report } from "../merge/work/index.ts";
import type { Computed, WorkerBudget } from "../runtime/index.ts";
import type { Place } from "../storage/index.ts";

/**
 * Where a slice's bytes go. "stream": to their place while they are computed, after a grant. "hold": into `buffer`, which
 * comes back filled; whoever gets it asks for the grant and writes. "hash": nowhere, only their hash is wanted.
 */
export type OutputMode = "stream" | "hold" | "hash";

/** A job as a thread is told of it. */
export interface JobToBegin {
  readonly job: string;
  readonly description: JobDescription;
  /** Where the inputs are on no disk of this machine: the coordinator reads them. */
  readonly remoteInputs?: RemoteInputs;
  /** What is read from its store, by addresses that the coordinator signs. */
  readonly signedReads?: SignedReads;
}

export interface RemoteInputs {
  readonly connection: ConnectionOptions;
  /** Memory of one thread for what is read ahead and kept. */
  readonly cacheBytes: number;
}

/** By which number in the job each place is asked for. */
export interface SignedReads {
  readonly connection: ConnectionOptions;
  readonly inputs: readonly { readonly place: Place; readonly input: number; readonly file: number }[];
  readonly shards: readonly Place[];
}

/** How the coordinator is reached. Threads read the certificates themselves: no key is in a message. */
export interface ConnectionOptions {
  /** HOST:PORT */
  readonly address: string;
  /** Said in every call; with TLS it is the name in the certificate. */
  readonly workerName: string;
  /** Paths of PEM files. Without them the connection is in the clear. */
  readonly trust?: { readonly certificate: Place; readonly key: Place; readonly authority: Place };
}

/** What goes from the process to one of its threads. Plain data. */
export type ToWorker =
  | {
      readonly type: "start";
      readonly budget: WorkerBudget;
      readonly engine: EngineChoice;
      /** Shared memory in which the thread shows that it lives; see signs-of-life.ts. */
      readonly signs?: SharedArrayBuffer;
    }
  | ({ readonly type: "begin" } & JobToBegin)
  | {
      readonly type: "assign";
      readonly job: string;
      readonly assignment: Assignment;
      readonly output: OutputMode;
      /** For "hold": at least as long as the slice. Belongs to the thread until it comes back. */
      readonly buffer?: ArrayBuffer;
    }
  | ({ readonly type: "granted" | "refused" } & AttemptKey)
  /** Stop working on it, or do not begin. Answered by "dropped", as a refused grant is, unless it is finished by then. */
  | ({ readonly type: "drop" } & AttemptKey)
  /** Its files are closed and it is forgotten, once nothing of it is being computed. */
  | { readonly type: "finish"; readonly job: string }
  | { readonly type: "end" };

export type FromWorker =
  | { readonly type: "ready" }
  | ({ readonly type: "grant-request" } & AttemptKey)
  /** `buffer`: lent to an attempt that failed. */
  | { readonly type: "report"; readonly job: string; readonly report: Report; readonly buffer?: ArrayBuffer }
  /** Of a slice that is streamed: its bytes are at their place; a report follows once they are durable. */
  | ({ readonly type: "written" } & AttemptKey)
  /** Of a slice that was not streamed. */
  | ({ readonly type: "computed" } & AttemptKey & Computed)
  | ({ readonly type: "dropped"; readonly buffer?: ArrayBuffer } & AttemptKey)
  | { readonly type: "finished"; readonly job: string }
  /** Of a thread that computes several merges in step, at its end: bytes that came from files. */
  | { readonly type: "gathered"; readonly bytesRead: number }
  | { readonly type: "ended" };

export interface EngineChoice {
  /** In the registry of engines. */
  readonly name: string;
  /** Of all arenas of one device. */
  readonly maximumBytes: number;
  /** How many slices one device works on at once. */
  readonly arenas: number;
}
