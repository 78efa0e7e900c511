import { setImmediate } from "node:timers/promises";
import { type Arena, type Device, type DeviceLimits, openDevice } from "../merge/engines/index.ts";
import {
  type Assignment,
  type AttemptKey,
  failureFrom,
  type SliceWork,
  type TensorTask,
  textOfAttempt,
} from "../merge/work/index.ts";
import { SliceWorker, type WorkerBudget, type WorkerStore } from "../runtime/index.ts";
import { endThread } from "./end-thread.ts";
import type { FromWorker, JobToBegin, ToWorker } from "./messages.ts";
import { SignsOfLife } from "./signs-of-life.ts";

/** Computing goes on this long before messages are let in: long enough to cost nothing, short enough to be stopped at once. */
const TURN_MS = 5;

type Order = ToWorker & { readonly type: "assign" };

export interface SessionStore extends WorkerStore {
  /** Called when the job has finished. */
  close?(): void;
}

/** What a store is opened with in a thread. */
export interface ThreadMeans
  extends Pick<DeviceLimits, "asynchronous">,
    Pick<WorkerBudget, "connectionsMax" | "bandwidthBytes"> {}

export function threadMeans(
  { asynchronous }: DeviceLimits,
  { connectionsMax, bandwidthBytes }: WorkerBudget,
): ThreadMeans {
  return {
    asynchronous,
    ...(connectionsMax === undefined ? {} : { connectionsMax }),
    ...(bandwidthBytes === undefined ? {} : { bandwidthBytes }),
  };
}

/** What the session runs on. */
export interface SessionPorts {
  /** Reads the inputs of a job and, where slices are streamed, writes its shards. Called once for each job. */
  storeFor(job: JobToBegin, thread: ThreadMeans): SessionStore;
  /** `transfer`: buffers that go over to the receiver. */
  send(message: FromWorker, transfer?: readonly ArrayBuffer[]): void;
  /** For tests: in place of the registry of engines. */
  openDevice?(engine: string): Promise<Device>;
}

/** What one assignment at a time is computed on. */
interface Lane {
  readonly arena: Arena;
  /** On the processor, for tasks that the device does not run. */
  other: Arena | undefined;
  order: Order | undefined;
  /** Whether nobody wants that any more. */
  dropped: boolean;
}

interface Job {
  readonly begun: JobToBegin;
  readonly store: SessionStore;
  /** One for each arena that has worked for it. */
  readonly workers: Map<Arena, SliceWorker>;
}

/** Runs every task. */
const OTHER_ENGINE = "wasm";

/** Ends the assignment that is being computed; nobody wants it any more. */
class Dropped extends Error {}

/**
 * A thread's side of the conversation: takes messages in any order they come, executes the assignments of all its jobs on one device, as
 * many at once as that has arenas, and reports a streamed slice once it is durable, by when the next one is already being computed.
 */
export class WorkerSession {
  readonly #ports: SessionPorts;
  readonly #queue: Order[] = [];
  readonly #grants = new Map<string, (granted: boolean) => void>();
  readonly #unsettled = new Set<Promise<void>>();
  readonly #jobs = new Map<string, Job>();
  readonly #finishing = new Set<string>();
  /** Among how many jobs open files are shared. */
  #shares = 1;
  #lanes: readonly Lane[] = [];
  #device: Device | undefined;
  #start: (ToWorker & { readonly type: "start" }) | undefined;
  #signs: SignsOfLife | undefined;
  #turnEndsMs = 0;
  /** While open files are shared out anew nothing is begun. */
  #sharing = false;
  #ending = false;

  constructor(ports: SessionPorts) {
    this.#ports = ports;
  }

  async receive(message: ToWorker): Promise<void> {
    switch (message.type) {
      case "start":
        await this.#open(message);
        return this.#ports.send({ type: "ready" });
      case "begin":
        this.#begin(message);
        await this.#settle();
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
        await this.#settle();
        return;
      case "end":
        this.#ending = true;
        await this.#settle();
    }
  }

  async #open(start: ToWorker & { readonly type: "start" }): Promise<void> {
    const { name, maximumBytes } = start.engine;
    const device = await (this.#ports.openDevice ?? openDevice)(name);
    const { arenas } = device.limits;
    const share = Math.floor(maximumBytes / arenas);
    this.#lanes = Array.from({ length: arenas }, () => ({
      arena: device.open(share),
      ...{ other: undefined, order: undefined, dropped: false },
    }));
    this.#device = device;
    this.#start = start;
    this.#signs = start.signs === undefined ? undefined : new SignsOfLife(start.signs);
  }

  #begin(begun: JobToBegin): void {
    if (this.#device === undefined) throw new Error(`job ${begun.job} began before its thread`);
    const store = this.#ports.storeFor(begun, threadMeans(this.#device.limits, this.#started.budget));
    this.#jobs.set(begun.job, { begun, store, workers: new Map() });
  }

  /** Gives every lane that is free something to do. */
  #run(): void {
    for (const lane of this.#lanes) {
      if (lane.order !== undefined || this.#ending || this.#sharing) continue;
      const order = this.#queue.shift();
      if (order === undefined) return;
      lane.order = order;
      lane.dropped = false;
      this.#runLane(lane, order).catch(endThread);
    }
  }

  async #runLane(lane: Lane, order: Order): Promise<void> {
    await this.#execute(order, lane);
    lane.order = undefined;
    await this.#settle();
    this.#run();
  }

  async #execute(order: Order, lane: Lane): Promise<void> {
    const { job, assignment, output, buffer } = order;
    try {
      const worker = await this.#workerFor(job, assignment, lane);
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

  async #workerFor(id: string, assignment: Assignment, lane: Lane): Promise<SliceWorker> {
    const job = this.#jobs.get(id);
    if (job === undefined) throw new Error(`job ${id} is unknown to this thread`);
    const arena = await this.#arenaFor(assignment, lane);
    const known = job.workers.get(arena);
    if (known !== undefined) return known;
    const { description } = job.begun;
    const worker = new SliceWorker(arena, job.store, description, this.#budget, {
      grant: (unit, attempt) => this.#askForGrant({ job: id, unit, attempt }),
      pause: () => this.#breathe(lane),
      moved: () => this.#moved(lane),
    });
    job.workers.set(arena, worker);
    return worker;
  }

  async #arenaFor(assignment: Assignment, lane: Lane): Promise<Arena> {
    const device = this.#device;
    if (device === undefined || tasksOf(assignment).every((task) => device.runs(task))) return lane.arena;
    lane.other ??= (await openDevice(OTHER_ENGINE)).open(
      Math.floor(this.#started.engine.maximumBytes / this.#lanes.length),
    );
    return lane.other;
  }

  get #started(): ToWorker & { readonly type: "start" } {
    if (this.#start === undefined) throw new Error("the thread was not started");
    return this.#start;
  }

  /** Of each lane; files are shared among jobs besides. */
  get #budget(): WorkerBudget {
    const { rangeElements, spareBytes, keptBytes = 0, heldBytes, openFilesMax, ...others } = this.#started.budget;
    const lanes = this.#lanes.length;
    return {
      ...others,
      rangeElements: Math.max(1, Math.floor(rangeElements / lanes)),
      spareBytes: Math.floor(spareBytes / lanes),
      keptBytes: Math.floor(keptBytes / lanes),
      heldBytes: Math.floor(heldBytes / lanes),
      openFilesMax: Math.max(1, Math.floor(openFilesMax / lanes / this.#shares)),
    };
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
    const waiting = this.#queue.findIndex((order) => keyOf(order) === key);
    const [order] = waiting < 0 ? [] : this.#queue.splice(waiting, 1);
    if (order !== undefined) this.#sayDropped(order);
    const lane = this.#lanes.find(({ order: its }) => its !== undefined && keyOf(its) === key);
    if (lane === undefined) return;
    lane.dropped = true;
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

  #moved(lane: Lane): Promise<void> | undefined {
    this.#signs?.step();
    return performance.now() < this.#turnEndsMs ? undefined : this.#breathe(lane);
  }

  async #breathe(lane: Lane): Promise<void> {
    this.#signs?.step();
    await setImmediate();
    this.#turnEndsMs = performance.now() + TURN_MS;
    if (lane.dropped) throw new Dropped("nobody wants this attempt any more");
  }

  /** What must not be done while something of a job is computed: its files are closed when it is over, or shared out anew; the end. */
  async #settle(): Promise<void> {
    for (const id of [...this.#finishing]) {
      if (this.#queue.some((order) => order.job === id) || this.#isComputing(id)) continue;
      this.#finishing.delete(id);
      await Promise.all(this.#unsettled);
      await this.#close(id);
      this.#ports.send({ type: "finished", job: id });
    }
    await this.#shareOpenFiles();
    if (!this.#ending || this.#lanes.some(({ order }) => order !== undefined)) return;
    this.#ending = false; // once
    await Promise.all(this.#unsettled);
    for (const id of [...this.#jobs.keys()]) await this.#close(id);
    this.#device?.close();
    this.#ports.send({ type: "ended" });
  }

  async #close(id: string): Promise<void> {
    const job = this.#jobs.get(id);
    this.#jobs.delete(id);
    for (const worker of job?.workers.values() ?? []) await worker.close();
    job?.store.close?.();
  }

  #isComputing(id: string): boolean {
    return this.#lanes.some(({ order }) => order?.job === id);
  }

  /** Descriptors are the process's: with several jobs each gets its part of them. */
  async #shareOpenFiles(): Promise<void> {
    const shares = Math.max(1, this.#jobs.size);
    if (
      this.#start === undefined ||
      this.#sharing ||
      shares === this.#shares ||
      this.#lanes.some(({ order }) => order !== undefined)
    )
      return;
    this.#shares = shares;
    this.#sharing = true;
    const { openFilesMax } = this.#budget;
    for (const { workers } of [...this.#jobs.values()]) {
      for (const worker of workers.values()) await worker.limitOpenFiles(openFilesMax);
    }
    this.#sharing = false;
    this.#run();
  }
}

function keyOf({ job, assignment: { unit, attempt } }: Pick<Order, "job" | "assignment">): string {
  return textOfAttempt({ job, unit, attempt });
}

function tasksOf(assignment: Assignment): readonly TensorTask[] {
  if (assignment.kind === "slice") return assignment.tasks;
  return assignment.kind === "survey" ? [assignment.task] : [];
}
