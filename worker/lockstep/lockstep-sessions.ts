import { type Device, openDevice } from "../../merge/engines/index.ts";
import type { Files } from "../../storage/index.ts";
import { endThread } from "../end-thread.ts";
import type { FromWorker, ToWorker } from "../messages.ts";
import { type SessionPorts, type ThreadMeans, threadMeans, WorkerSession } from "../session.ts";
import { GatheredReads } from "./gathered-reads.ts";
import { GatheringStore } from "./gathering-store.ts";

/**
 * Several merges of the same models at once in one thread: a session with arenas of its own for each job, on the thread's one device, all
 * behind the one conversation of a thread, and every byte that they read read once.
 */
export class LockstepSessions {
  readonly #sessions = new Map<string, WorkerSession>();
  /** Settles once the session has its arenas; what comes before waits. */
  readonly #begun = new Map<string, Promise<void>>();
  readonly #reads = new GatheredReads();
  readonly #storeFor: (thread: ThreadMeans) => Files;
  readonly #send: SessionPorts["send"];
  readonly #openDevice: (engine: string) => Promise<Device>;
  #device: Device | undefined;
  #store: Files | undefined;
  #start: (ToWorker & { readonly type: "start" }) | undefined;
  #open = 0;
  #ending = false;

  /** `storeFor`: called once, when it is known what is computed on. `open`: for tests, in place of the registry of engines. */
  constructor(
    storeFor: (thread: ThreadMeans) => Files,
    send: SessionPorts["send"],
    open: (engine: string) => Promise<Device> = openDevice,
  ) {
    this.#storeFor = storeFor;
    this.#send = send;
    this.#openDevice = open;
  }

  async receive(message: ToWorker): Promise<void> {
    switch (message.type) {
      case "start":
        return this.#prepare(message);
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

  async #prepare(message: ToWorker & { readonly type: "start" }): Promise<void> {
    const { engine, budget } = message;
    this.#start = message;
    this.#device = await this.#openDevice(engine.name);
    this.#store = this.#storeFor(threadMeans(this.#device.limits, budget));
    this.#send({ type: "ready" });
  }

  async #begin(message: ToWorker & { readonly type: "begin" }): Promise<void> {
    const [start, device, store] = [this.#start, this.#device, this.#store];
    if (start === undefined || device === undefined || store === undefined)
      throw new Error(`job ${message.job} began before its thread`);
    const { job } = message;
    const session = new WorkerSession({
      openDevice: async () => ({
        ...{ name: device.name, kernelId: device.kernelId, limits: device.limits },
        runs: (task) => device.runs(task),
        open: (maximumBytes) => device.open(maximumBytes),
        close: () => {}, // it is the thread's
      }),
      storeFor: ({ description }) =>
        new GatheringStore(
          store,
          this.#reads,
          description.inputs.flatMap(({ files }) => files.map(({ path }) => path)),
        ),
      send: (sent, transfer) => this.#pass(job, sent, transfer),
    });
    this.#sessions.set(job, session);
    this.#open++;
    await session.receive(start);
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
    // A job that is over has no use for its arenas.
    if (message.type !== "finished") return;
    this.#sessions.get(job)?.receive({ type: "end" }).catch(endThread);
    this.#sessions.delete(job);
    this.#begun.delete(job);
  }

  #end(): void {
    this.#device?.close();
    this.#send({ type: "gathered", bytesRead: this.#reads.bytesRead });
    this.#send({ type: "ended" });
  }
}
