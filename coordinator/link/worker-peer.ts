import { type AttemptKey, type Failure, failureFrom, textOfAttempt, type WorkerId } from "../../merge/work/index.ts";
import type { AttachResponse } from "../../proto/index.ts";
import { type BatchWriter, encodedResponse } from "../../wire/index.ts";
import type { JobLink } from "./job-link.ts";
import type { WorkerReach } from "./remote-job.ts";

/** What a worker said of itself in its hello. */
export interface WorkerFacts extends WorkerReach {
  readonly incarnation: string;
  readonly softwareVersion: string;
  readonly engine: string;
  /** SHA-256 of its kernels, hex: tells builds apart. */
  readonly kernels: string;
  readonly host: string;
  readonly threads: number;
  readonly memoryBytes: number;
}

type Message = NonNullable<AttachResponse["message"]>;

/** One run of a worker's process on another machine, from its first hello on; connections come and go. */
export class WorkerPeer {
  readonly id: WorkerId;
  readonly facts: WorkerFacts;
  readonly links = new Map<string, JobLink>();
  draining = false;
  /** Why a job wants nothing more of it; a worker that is started anew is tried again. */
  setAside: Failure | undefined;
  /** When it was last heard of, by this machine's monotonic clock. */
  heardMs: number;
  #writing: Map<string, AttemptKey> | undefined;
  #writer: BatchWriter | undefined;
  /** Until the welcome is sent nothing else may be: what comes up meanwhile waits. */
  #held: Message[] | undefined;

  constructor(id: WorkerId, facts: WorkerFacts, nowMs: number) {
    this.id = id;
    this.facts = facts;
    this.heardMs = nowMs;
  }

  get attached(): boolean {
    return this.#writer !== undefined;
  }

  isOn(writer: BatchWriter): boolean {
    return this.#writer === writer;
  }

  begin(writer: BatchWriter): void {
    this.#writer = writer;
    this.#held = [];
  }

  welcome(message: Message & { readonly $case: "welcome" }): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const one of [message, ...held]) this.send(one);
  }

  /** Does not wait: what a worker can be sent is bounded by its slots. Lost with the connection; leases settle that. */
  send(message: Message): void {
    if (this.#held !== undefined) this.#held.push(message);
    else this.#writer?.send(encodedResponse(message));
  }

  detach(): void {
    this.#writer = undefined;
    this.#held = undefined;
  }

  /** As its hello says: until then whatever it said before, or was granted, may be. */
  saysWriting(keys: readonly AttemptKey[] | undefined): void {
    this.#writing = keys && new Map(keys.map((key) => [textOfAttempt(key), key]));
  }

  granted(key: AttemptKey): void {
    this.#writing?.set(textOfAttempt(key), key);
  }

  /** It reported the attempt, or handed it back. */
  wroteAll(key: AttemptKey): void {
    this.#writing?.delete(textOfAttempt(key));
  }

  /** All that it may be writing; undefined: it does not say. */
  get writing(): readonly AttemptKey[] | undefined {
    return this.#writing && [...this.#writing.values()];
  }

  failureOf(error: unknown): Failure {
    return { ...failureFrom(error), retryable: true };
  }
}
