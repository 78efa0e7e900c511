import type { Files } from "../../storage/index.ts";
import { endThread } from "../end-thread.ts";
import type { FromWorker, ToWorker } from "../messages.ts";
import { type SessionPorts, WorkerSession } from "../session.ts";
import { GatheredReads } from "./gathered-reads.ts";
import { GatheringStore } from "./gathering-store.ts";

/**
 * Several merges of the same models at once in one thread: a session with an engine of its own for each job, all behind the one
 * conversation of a thread, and every byte that they read read once.
 */
export class LockstepSessions {
  readonly #sessions = new Map<string, WorkerSession>();
  /** Settles once the session has its engine; what comes before waits. */
  readonly #begun = new Map<string, Promise<void>>();
  readonly #reads = new GatheredReads();
  readonly #store: Files;
  readonly #send: SessionPorts["send"];
  #start: (ToWorker & { readonly type: "start" }) | undefined;
  #open = 0;
  #ending = false;

  constructor(store: Files, send: SessionPorts["send"]) {
    this.#store = store;
    this.#send = send;
  }

  async receive(message: ToWorker): Promise<void> {
    switch (message.type) {
      case "start":
        this.#start = message;
        return this.#send({ type: "ready" });
      case "begin": {
        const begun = this.#begin(message);
        this.#begun.set(message.job, begun);
        return begun;
      }
      case "end":
        this.#ending = true;
        if (this.#open === 0) return this.#end();
        for (const session of this.#sessions.values()) await session.receive(message);
        return;
      default:
        // All begin together, or they would read apart for as long as they last.
        await Promise.all(this.#begun.values());
        return this.#sessions.get(message.job)?.receive(message);
    }
  }

  async #begin(message: ToWorker & { readonly type: "begin" }): Promise<void> {
    if (this.#start === undefined) throw new Error(`job ${message.job} began before its thread`);
    const { job } = message;
    const session = new WorkerSession({
      storeFor: ({ description }) =>
        new GatheringStore(
          this.#store,
          this.#reads,
          description.inputs.flatMap(({ files }) => files.map(({ path }) => path)),
        ),
      send: (sent, transfer) => this.#pass(job, sent, transfer),
    });
    this.#sessions.set(job, session);
    this.#open++;
    await session.receive(this.#start);
    await session.receive(message);
  }

  #pass(job: string, message: FromWorker, transfer?: readonly ArrayBuffer[]): void {
    if (message.type === "ready") return;
    if (message.type === "ended") {
      this.#open--;
      if (this.#ending && this.#open === 0) this.#end();
      return;
    }
    this.#send(message, transfer);
    // A job that is over has no use for its engine's memory.
    if (message.type !== "finished") return;
    this.#sessions.get(job)?.receive({ type: "end" }).catch(endThread);
    this.#sessions.delete(job);
    this.#begun.delete(job);
  }

  #end(): void {
    this.#send({ type: "gathered", bytesRead: this.#reads.bytesRead });
    this.#send({ type: "ended" });
  }
}
