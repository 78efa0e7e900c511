import { setImmediate } from "node:timers/promises";
import { type Arena, openDevice } from "../merge/engines/index.ts";
import { type Assignment, type AttemptKey, failureFrom, type SliceWork, textOfAttempt } from "../merge/work/index.ts";
import { SliceWorker, type WorkerBudget } from "../runtime/index.ts";
import type { Files } from "../storage/index.ts";
import { endThread } from "./end-thread.ts";
import type { FromWorker, JobToBegin, ToWorker } from "./messages.ts";
import { SignsOfLife } from "./signs-of-life.ts";

/** Computing goes on this long before messages are let in: long enough to cost nothing, short enough to be stopped at once. */
const TURN_MS = 5;

type Order = ToWorker & { readonly type: "assign" };

export interface SessionStore extends Pick<Files, "open" | "openForWriting"> {
  /** Called when the job has finished. */
  close?(): void;
}

/** What the session runs on. */
export interface SessionPorts {
  /** Reads the inputs of a job and, where slices are streamed, writes its shards. Called once for each job. */
  storeFor(job: JobToBegin): SessionStore;
  /** `transfer`: buffers that go over to the receiver. */
  send(message: FromWorker, transfer?: readonly ArrayBuffer[]): void;
}

/** Ends the assignment that is being computed; nobody wants it any more. */
class Dropped extends Error {}

/**
 * A thread's side of the conversation: takes messages in any order they come, executes the assignments of all its jobs one after
 * another on one engine, and reports a streamed slice once it is durable, by when the next one is already being computed.
 */
export class WorkerSession {
  readonly #ports: SessionPorts;
  readonly #queue: Order[] = [];
  readonly #grants = new Map<string, (granted: boolean) => void>();
  readonly #unsettled = new Set<Promise<void>>();
  readonly #jobs = new Map<string, { readonly worker: SliceWorker; readonly store: SessionStore }>();
  readonly #finishing = new Set<string>();
  /** Among how many jobs open files are shared. */
  #shares = 1;
  #started: { readonly arena: Arena; readonly budget: WorkerBudget; readonly signs?: SignsOfLife } | undefined;
  #current: Order | undefined;
  #dropped = false;
  #turnEndsMs = 0;
  #running = false;
  #ending = false;

  constructor(ports: SessionPorts) {
    this.#ports = ports;
  }

  async receive(message: ToWorker): Promise<void> {
    switch (message.type) {
      case "start": {
        const device = await openDevice(message.engine.name);
        const arena = device.open(message.engine.maximumBytes);
        const signs = message.signs === undefined ? {} : { signs: new SignsOfLife(message.signs) };
        this.#started = { arena, budget: message.budget, ...signs };
        return this.#ports.send({ type: "ready" });
      }
      case "begin":
        this.#begin(message);
        if (!this.#running) await this.#settle();
        return;
      case "assign":
        this.#queue.push(message);
        return this.#run();
      case "granted":
      case "refused": {
        const key = textOfAttempt(message);
        this.#grants.get(key)?.(message.type === "granted");
        this.#grants.delete(key);
        return;
      }
      case "drop":
        return this.#drop(message);
      case "finish":
        this.#finishing.add(message.job);
        if (!this.#running) await this.#settle();
        return;
      case "end":
        this.#ending = true;
        if (!this.#running) await this.#settle();
    }
  }

  #begin(begun: JobToBegin): void {
    const { job, description } = begun;
    if (this.#started === undefined) throw new Error(`job ${job} began before its thread`);
    const { arena, budget } = this.#started;
    const store = this.#ports.storeFor(begun);
    const worker = new SliceWorker(arena, store, description, budget, {
      grant: (unit, attempt) => this.#askForGrant({ job, unit, attempt }),
      pause: () => this.#breathe(),
      moved: () => this.#moved(),
    });
    this.#jobs.set(job, { worker, store });
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (;;) {
      const order = this.#queue.shift();
      if (order === undefined || this.#ending) break;
      this.#current = order;
      this.#dropped = false;
      await this.#execute(order);
      this.#current = undefined;
      await this.#settle();
    }
    this.#running = false;
    await this.#settle();
  }

  async #execute(order: Order): Promise<void> {
    const { job, assignment, output, buffer } = order;
    try {
      const worker = this.#jobs.get(job)?.worker;
      if (worker === undefined) throw new Error(`job ${job} is unknown to this thread`);
      if (assignment.kind === "slice" && output !== "stream") return await this.#compute(worker, order, assignment);
      const written = await worker.execute(assignment);
      if (written === undefined) return this.#sayDropped(order);
      const { unit, attempt } = assignment;
      if (assignment.kind === "slice") this.#ports.send({ type: "written", job, unit, attempt });
      const settled = written.durable
        .then(
          () => this.#ports.send({ type: "report", job, report: written.report }),
          (error: unknown) => this.#fail(order, error),
        )
        .catch(endThread)
        .finally(() => this.#unsettled.delete(settled));
      this.#unsettled.add(settled);
    } catch (error) {
      if (error instanceof Dropped) this.#sayDropped(order);
      else this.#fail({ job, assignment, ...(buffer === undefined ? {} : { buffer }) }, error);
    }
  }

  async #compute(worker: SliceWorker, order: Order, work: Assignment & SliceWork): Promise<void> {
    const { job, buffer } = order;
    const { unit, attempt } = work;
    const computed = await worker.compute(work, order.output === "hold" ? buffer : undefined);
    this.#ports.send(
      { type: "computed", job, unit, attempt, ...computed, ...(buffer === undefined ? {} : { buffer }) },
      buffer === undefined ? [] : [buffer],
    );
  }

  #fail({ job, assignment, buffer }: Pick<Order, "job" | "assignment" | "buffer">, error: unknown): void {
    const { unit, attempt } = assignment;
    this.#ports.send(
      {
        type: "report",
        job,
        report: { unit, attempt, kind: "failed", failure: failureFrom(error) },
        ...(buffer === undefined ? {} : { buffer }),
      },
      buffer === undefined ? [] : [buffer],
    );
  }

  #drop(unit: AttemptKey): void {
    const key = textOfAttempt(unit);
    const waiting = this.#queue.findIndex((order) => textOfAttempt({ job: order.job, ...order.assignment }) === key);
    const [order] = waiting < 0 ? [] : this.#queue.splice(waiting, 1);
    if (order !== undefined) this.#sayDropped(order);
    const current = this.#current;
    if (current === undefined || textOfAttempt({ job: current.job, ...current.assignment }) !== key) return;
    this.#dropped = true;
    this.#grants.get(key)?.(false);
    this.#grants.delete(key);
  }

  #sayDropped({ job, assignment: { unit, attempt }, buffer }: Order): void {
    this.#ports.send(
      { type: "dropped", job, unit, attempt, ...(buffer === undefined ? {} : { buffer }) },
      buffer === undefined ? [] : [buffer],
    );
  }

  #askForGrant(unit: AttemptKey): Promise<boolean> {
    return new Promise((resolve) => {
      this.#grants.set(textOfAttempt(unit), resolve);
      this.#ports.send({ type: "grant-request", ...unit });
    });
  }

  #moved(): Promise<void> | undefined {
    this.#started?.signs?.step();
    return performance.now() < this.#turnEndsMs ? undefined : this.#breathe();
  }

  async #breathe(): Promise<void> {
    this.#started?.signs?.step();
    await setImmediate();
    this.#turnEndsMs = performance.now() + TURN_MS;
    if (this.#dropped) throw new Dropped("nobody wants this attempt any more");
  }

  /** What must not be done while something is computed: files of jobs that are over or share are closed; the end. */
  async #settle(): Promise<void> {
    for (const job of [...this.#finishing]) {
      if (this.#queue.some((order) => order.job === job)) continue;
      this.#finishing.delete(job);
      await Promise.all(this.#unsettled);
      await this.#jobs.get(job)?.worker.close();
      this.#jobs.get(job)?.store.close?.();
      this.#jobs.delete(job);
      this.#ports.send({ type: "finished", job });
    }
    await this.#shareOpenFiles();
    if (!this.#ending || this.#running) return;
    this.#ending = false; // once
    await Promise.all(this.#unsettled);
    for (const { worker, store } of this.#jobs.values()) {
      await worker.close();
      store.close?.();
    }
    this.#ports.send({ type: "ended" });
  }

  /** Descriptors are the process's: with several jobs each gets its part of them. */
  async #shareOpenFiles(): Promise<void> {
    const shares = Math.max(1, this.#jobs.size);
    if (this.#started === undefined || shares === this.#shares) return;
    this.#shares = shares;
    const share = Math.max(1, Math.floor(this.#started.budget.openFilesMax / shares));
    for (const { worker } of this.#jobs.values()) await worker.limitOpenFiles(share);
  }
}
