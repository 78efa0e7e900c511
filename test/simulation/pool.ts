import { createHash } from "node:crypto";
import { type Assignment, failureFrom, type Report, type UnitId, type WorkerId } from "../../merge/work/index.ts";
import type { Files } from "../../storage/index.ts";
import type { JobToBegin } from "../../worker/index.ts";
import type { WorkerPool } from "../../worker/link/index.ts";
import type { ThreadPoolListener } from "../../worker/pool/index.ts";
import type { Writer } from "./auditor.ts";
import type { Cluster } from "./cluster.ts";
import { sliceBytes, survey } from "./made-up-merge.ts";
import type { Process } from "./process.ts";

export const THREADS = 2;

type SliceAssignment = Extract<Assignment, { kind: "slice" }>;

interface Order {
  readonly job: string;
  readonly assignment: Assignment;
}

/** Threads of a simulated worker: made-up slices, which take their time. Everything else of the worker is the program's own. */
export class SimulatedPool implements WorkerPool {
  readonly #cluster: Cluster;
  readonly #process: Process;
  readonly #store: Files;
  readonly #listener: ThreadPoolListener;
  readonly #owners: WeakMap<ArrayBufferLike, Writer>;
  readonly isLiar: boolean;
  #waiting: Order[] = [];
  #running: Order[] = [];

  /** `owners`: whose each result's memory is, so that whoever writes it can be told. */
  constructor(
    cluster: Cluster,
    worker: {
      readonly process: Process;
      readonly store: Files;
      readonly isLiar: boolean;
      readonly owners: WeakMap<ArrayBufferLike, Writer>;
    },
    listener: ThreadPoolListener,
  ) {
    this.#cluster = cluster;
    this.#process = worker.process;
    this.#store = worker.store;
    this.#owners = worker.owners;
    this.isLiar = worker.isLiar;
    this.#listener = listener;
  }

  begin(_job: JobToBegin): void {}
  finish(_job: string): void {}
  release(_buffer: ArrayBuffer): void {}
  async end(): Promise<void> {}

  assign(job: string, assignment: Assignment): void {
    this.#waiting.push({ job, assignment });
    this.#next();
  }

  drop({ unit, attempt }: { readonly unit: UnitId; readonly attempt: number }): void {
    const isOther = ({ assignment }: Order) => assignment.unit !== unit || assignment.attempt !== attempt;
    this.#waiting = this.#waiting.filter(isOther);
    this.#running = this.#running.filter(isOther);
    this.#next();
  }

  waiting() {
    return this.#waiting.map(({ job, assignment: { unit, attempt } }) => ({ job, unit, attempt }));
  }

  look() {
    return [...this.#waiting, ...this.#running].map(({ job, assignment: { unit, attempt } }) => {
      return { job, unit, attempt, alive: true };
    });
  }

  #next(): void {
    const { world } = this.#cluster;
    if (this.#running.length >= THREADS) return;
    const order = this.#waiting.shift();
    if (order === undefined) return;
    this.#running.push(order);
    const durationMs = world.between(8, 40) * (world.slow.has(this.#process) ? 20 : 1);
    this.#process.after(durationMs, () => {
      // A thread that has been told to drop it says so and takes the next; nobody hears more of it.
      if (!this.#running.includes(order)) return;
      void this.#execute(order).then(() => {
        this.#running = this.#running.filter((other) => other !== order);
        this.#next();
      });
    });
    this.#next();
  }

  async #execute({ job, assignment }: Order): Promise<void> {
    const { merge, world } = this.#cluster;
    const { unit, attempt } = assignment;
    const counts = { bytesRead: 1, bytesWritten: 1, tensorsCut: 0 };
    const report = (of: Report) => this.#listener.reported(job, of);
    const fault = this.#cluster.computeFault(unit);
    if (fault !== undefined) return report({ unit, attempt, kind: "failed", failure: fault });
    if (assignment.kind === "survey") {
      const lies = this.isLiar && world.strikes("lie-seal", 0.3);
      const summary = survey(merge.plan, lies ? assignment.parts.slice(1) : assignment.parts, assignment.request);
      return report({ unit, attempt, kind: "survey", summary, counts });
    }
    if (assignment.kind === "slice") {
      const { bytes, sha256 } = this.#compute(assignment);
      if (assignment.audit) return report({ unit, attempt, kind: "audit", sha256, counts });
      const buffer = new Uint8Array(bytes).buffer;
      this.#owners.set(buffer, { worker: this.#process.name as WorkerId, unit, attempt });
      return this.#listener.computed({ job, unit, attempt }, { sha256, warnings: [], counts, buffer });
    }
    const ranges =
      assignment.kind === "seal-slices" ? assignment.ranges : [{ offsetBytes: 0, sizeBytes: assignment.sizeBytes }];
    try {
      const file = await this.#store.open(assignment.path);
      const hashes: string[] = [];
      for (const { offsetBytes, sizeBytes } of ranges) {
        const bytes = new Uint8Array(sizeBytes);
        await file.read(offsetBytes, bytes);
        if (this.isLiar && world.strikes("lie-seal", 0.3)) bytes[0]! ^= 1;
        hashes.push(sha256Of(bytes));
      }
      report({ unit, attempt, kind: "seal", sha256: hashes });
    } catch (error) {
      report({ unit, attempt, kind: "failed", failure: failureFrom(error) });
    }
  }

  #compute(assignment: SliceAssignment): { readonly bytes: Uint8Array; readonly sha256: string } {
    const { world, merge } = this.#cluster;
    const bytes = sliceBytes(merge.plan, assignment);
    const sha256 = sha256Of(bytes);
    if (!this.isLiar) return { bytes, sha256 };
    const flipped = Uint8Array.from(bytes);
    flipped[0]! ^= 1;
    if (world.strikes("lie-bytes", 0.5)) return { bytes: flipped, sha256: sha256Of(flipped) };
    if (world.strikes("lie-hash", 0.5)) return { bytes, sha256: sha256Of(flipped) };
    if (world.strikes("lie-write", 0.5)) return { bytes: flipped, sha256 };
    return { bytes, sha256 };
  }
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
