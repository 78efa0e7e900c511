import type { Failure, WorkerId } from "../../merge/work/index.ts";
import { PROTOCOL_VERSION, type Timers } from "../../wire/index.ts";
import { MountedRoots, RemoteWorker } from "../../worker/link/index.ts";
import type { Writer } from "./auditor.ts";
import type { Bug } from "./bugs.ts";
import type { Cluster } from "./cluster.ts";
import { Liar } from "./liar.ts";
import { SimulatedPool, THREADS } from "./pool.ts";
import { Process } from "./process.ts";
import { ProcessStore } from "./process-store.ts";
import { clientOf } from "./rpc.ts";
import { times } from "./world.ts";

/** How a worker's results come into storage: it sees the output; it sends them; they are fetched from it. */
export type Reach = "roots" | "send" | "fetch";

/** A worker of a simulated cluster: the program's own link, leases and writing; made-up slices, a share of the disk, calls that get lost. */
export class SimulatedWorker {
  readonly name: WorkerId;
  readonly reach: Reach;
  process!: Process;
  readonly #cluster: Cluster;
  #remote: RemoteWorker | undefined;
  #incarnation = 0;
  isLiar = false;

  constructor(cluster: Cluster, name: string, reach: Reach) {
    this.#cluster = cluster;
    this.name = name as WorkerId;
    this.reach = reach;
  }

  start(): void {
    const { world } = this.#cluster;
    this.#incarnation++;
    const drift = world.faults.has("clock-drift") ? world.between(-0.02, 0.02) : 0;
    if (drift !== 0) world.struck("clock-drift");
    const process = new Process(this.name, world.scheduler, { startMs: world.between(0, 1e6), rate: 1 + drift });
    this.process = process;
    const owners = new WeakMap<ArrayBufferLike, Writer>();
    const store = new ProcessStore(world, process, {
      writerOf: (bytes) => owners.get(bytes.buffer),
      syncing: (sync) => synchronise(sync, this.#cluster.bug),
    });
    const timers: Timers = {
      nowMs: () => process.nowMs(),
      after: (delayMs, act) => process.after(delayMs, act),
      chance: () => world.random(),
    };
    world.log(this.name, `starts, incarnation ${this.#incarnation}`);
    const remote = new RemoteWorker({
      connection: { address: "simulated:1", workerName: this.name },
      hello: {
        protocolVersion: PROTOCOL_VERSION,
        softwareVersion: "0.0.0-simulated",
        workerName: this.name,
        engine: "reference",
        kernelId: Buffer.alloc(32),
        threads: THREADS,
        memoryBytes: BigInt(1e9),
        roots: this.reach === "roots" ? [{ name: "out", writable: true }] : [],
        listenAddress: this.reach === "fetch" ? `${this.name}:1` : "",
        takesSigned: false,
        incarnation: `${this.name}-${this.#incarnation}`,
        host: `host-${this.name}`,
      },
      pool: {} as never,
      inputCacheBytes: 0,
      store,
      roots: new MountedRoots(store, [{ name: "out", path: this.#cluster.out, writable: true }]),
      log: (_level, event, facts) => {
        if (world.trace !== undefined) world.log(this.name, `${event} ${JSON.stringify(facts, bigintsAsText)}`);
      },
      fatal: (failure) => this.#died(process, failure),
      seams: {
        timers,
        backoff: { firstMs: 20, mostMs: 100 },
        welcomeMs: 200,
        tickMs: times.tickMs,
        answerMs: times.answerMs,
        laterMs: times.laterMs,
        sendMs: 5 * times.callMs,
        questionMs: times.callMs,
        memoryUsedBytes: () => 0,
        startPool: async (_, listener) =>
          new SimulatedPool(this.#cluster, { process, store, isLiar: this.isLiar, owners }, listener),
        connect: async () => {
          const coordinator = this.#cluster.someCoordinator();
          const isThere = coordinator !== undefined && !world.network.isCutOff(this.name);
          const own = isThere ? world.network.connect(process, coordinator) : undefined;
          const liar = this.isLiar ? new Liar(this.#cluster, this.name) : undefined;
          return {
            client: clientOf(world, own, () => own!.coordinator.handlers, {
              twist: liar && ((message) => liar.twist(message)),
              watch: this.#cluster.questions,
            }),
            renewed: new Promise(() => {}),
            close: () => own?.cut(20),
          };
        },
      },
    });
    this.#remote = remote;
    remote.run().then(
      () => this.#over(process, "drained"),
      (error: unknown) => {
        world.auditor.violated(`${this.name} ended: ${error instanceof Error ? error.stack : String(error)}`);
        this.#over(process, "failed");
      },
    );
  }

  /** The process ends, and is started again by whoever watches over it. */
  end(why: string): void {
    this.#over(this.process, why);
  }

  /** Some slice of it has a grant. */
  get isWriting(): boolean {
    return this.#remote !== undefined && (this.#remote.hello().writing?.ids.length ?? 0) > 0;
  }

  drain(): void {
    this.#remote?.drain(150);
  }

  /** What a coordinator finds that comes for a result. */
  resultOf(unit: string, attempt: number): Uint8Array | undefined {
    return this.#remote?.resultOf({ job: "job", unit: unit as never, attempt })?.bytes;
  }

  #died(process: Process, { code, message }: Failure): void {
    if (code !== "worker/lease-outlived") this.#cluster.world.auditor.violated(`${this.name}: ${code} ${message}`);
    this.#over(process, message);
  }

  #over(process: Process, why: string): void {
    if (!process.alive) return;
    const { world } = this.#cluster;
    world.log(this.name, `ends: ${why}`);
    process.kill();
    world.network.cutOffProcess(process, 100);
    world.scheduler.after(world.between(50, 400), () => this.start());
  }
}

/** Two planted faults are in the way of writing: not to sync, and to sync again after an error. */
async function synchronise(sync: () => Promise<void>, bug: Bug | undefined): Promise<void> {
  if (bug === "done-before-fsync") return;
  try {
    await sync();
  } catch (error) {
    if (bug !== "fsync-retried") throw error;
    await sync();
  }
}

function bigintsAsText(_name: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
