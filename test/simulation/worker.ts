import { createHash } from "node:crypto";
import type { Assignment, AttemptRef, Report, WorkerId } from "../../merge/work/index.ts";
import { failureFrom } from "../../merge/work/index.ts";
import type { StoredFile } from "../../storage/index.ts";
import {
  type AttemptKey,
  heldKeys,
  initialLeases,
  type LeaseEffect,
  type LeaseEvent,
  type LeaseState,
  mayBeginIo,
  reduceLeases,
  textOf,
  writingKeys,
} from "../../worker/lease/index.ts";
import type { Bug } from "./bugs.ts";
import type { Cluster } from "./cluster.ts";
import type { Connection } from "./connection.ts";
import { sliceBytes, survey } from "./made-up-merge.ts";
import { Process } from "./process.ts";
import { ProcessStore } from "./process-store.ts";
import { times } from "./world.ts";

const JOB = "job";
const THREADS = 2;
const SLOTS = 2 * THREADS;

type SliceAssignment = Extract<Assignment, { kind: "slice" }>;

interface Held {
  readonly assignment: Assignment;
  bytes?: Uint8Array;
  report?: Report;
}

type LooseEvent<T extends LeaseEvent = LeaseEvent> = T extends LeaseEvent ? Omit<T, "nowMs"> : never;

/** A worker of a simulated cluster: the real lease machine, made-up slices, a share of the disk, a link that breaks. */
export class SimulatedWorker {
  readonly name: WorkerId;
  process!: Process;
  readonly #cluster: Cluster;
  #store!: ProcessStore;
  #leases!: LeaseState;
  readonly #held = new Map<string, Held>();
  #queue: string[] = [];
  #busy = 0;
  #incarnation = 0;
  #connection: Connection | undefined;
  #attached = false;
  #draining = false;
  #sequence = 0;
  isLiar = false;

  constructor(cluster: Cluster, name: string) {
    this.#cluster = cluster;
    this.name = name as WorkerId;
  }

  start(): void {
    const { world } = this.#cluster;
    this.#incarnation++;
    const drift = world.faults.has("clock-drift") ? world.between(-0.02, 0.02) : 0;
    if (drift !== 0) world.struck("clock-drift");
    this.process = new Process(this.name, world.scheduler, { startMs: world.between(0, 1e6), rate: 1 + drift });
    this.#store = new ProcessStore(world, this.process);
    const { leaseMs, ioTimeoutMs, answerMs, laterMs } = times;
    this.#leases = initialLeases({ leaseMs, ioTimeoutMs, answerMs, laterMs });
    this.#held.clear();
    this.#queue = [];
    this.#busy = 0;
    this.#connection = undefined;
    this.#attached = false;
    this.#draining = false;
    world.log(this.name, `starts, incarnation ${this.#incarnation}`);
    this.process.every(
      () => times.tickMs,
      () => {
        this.#on({ type: "time-passed" });
        return true;
      },
    );
    this.process.every(
      () => times.heartbeatMs,
      () => {
        this.#heartbeat();
        return true;
      },
    );
    this.#dial();
  }

  /** The process ends, and is started again by whoever watches over it. */
  end(why: string): void {
    const { world } = this.#cluster;
    world.log(this.name, `ends: ${why}`);
    this.process.kill();
    this.#connection?.cut(100);
    world.scheduler.after(world.between(50, 400), () => this.start());
  }

  /** Some slice of it has a grant. */
  get isWriting(): boolean {
    return writingKeys(this.#leases).length > 0;
  }

  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    const waiting = this.#queue.flatMap((text) => this.#leases.leases.get(text)?.key ?? []);
    this.#connection?.up(() => this.#connection?.coordinator.draining(this.name));
    this.#on({ type: "drain", graceMs: 150, waiting });
  }

  // ---- the link

  #dial(): void {
    const { world } = this.#cluster;
    const again = () => this.process.after(world.between(20, 100), () => this.#dial());
    const coordinator = this.#cluster.someCoordinator();
    if (coordinator === undefined || world.network.isCutOff(this.name)) return again();
    const connection = world.network.connect(this, coordinator);
    this.#connection = connection;
    this.#attached = false;
    const held = heldKeys(this.#leases).map(refOf);
    const writing = writingKeys(this.#leases).map(refOf);
    const hello = {
      incarnation: `${this.name}-${this.#incarnation}`,
      host: `host-${this.name}`,
      slots: SLOTS,
      held,
      writing,
    };
    connection.up(() => coordinator.attach(connection, hello));
    // Nobody there, or one that does not answer: another may.
    this.process.after(200, () => {
      if (this.#connection === connection && !this.#attached) {
        connection.cut(0);
        this.connectionLost(connection);
      }
    });
  }

  welcomed(connection: Connection, dropped: readonly AttemptRef[]): void {
    if (this.#connection !== connection) return;
    this.#attached = true;
    this.#on({ type: "link-restored", dropped: dropped.map(keyOf) });
  }

  connectionLost(connection: Connection): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#attached = false;
    this.#on({ type: "link-lost" });
    this.process.after(this.#cluster.world.between(5, 60), () => this.#dial());
  }

  #heartbeat(): void {
    const connection = this.#connection;
    if (connection === undefined || !this.#attached) return;
    const named = heldKeys(this.#leases);
    const sentMs = this.process.nowMs();
    const sequence = ++this.#sequence;
    const held = named.map((key) => ({ ...refOf(key), bytesDone: 0, alive: true }));
    connection.up(() => connection.coordinator.heartbeat(connection, sequence, held));
    this.#beats.set(sequence, { sentMs, named });
  }

  readonly #beats = new Map<number, { readonly sentMs: number; readonly named: readonly AttemptKey[] }>();

  heartbeatAnswered(sequence: number, dropped: readonly AttemptRef[]): void {
    const beat = this.#beats.get(sequence);
    if (beat === undefined) return;
    this.#beats.delete(sequence);
    this.#on({ type: "heartbeat-answered", ...beat, dropped: dropped.map(keyOf) });
  }

  assigned(assignment: Assignment): void {
    const key = keyOf(assignment);
    const text = textOf(key);
    if (!this.#held.has(text)) this.#held.set(text, { assignment });
    this.#on({ type: "assigned", key });
  }

  cancelled(attempts: readonly AttemptRef[]): void {
    this.#on({ type: "dropped", keys: attempts.map(keyOf) });
  }

  jobEnded(): void {
    this.#on({ type: "dropped", keys: heldKeys(this.#leases) });
  }

  // ---- the lease machine

  #on(event: LooseEvent): void {
    const effects = reduceLeases(this.#leases, { ...event, nowMs: this.process.nowMs() } as LeaseEvent);
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: LeaseEffect): void {
    const { world } = this.#cluster;
    if (world.trace !== undefined && effect.type !== "drop") world.log(this.name, describe(effect));
    switch (effect.type) {
      case "compute":
        this.#queue.push(textOf(effect.key));
        return this.#computeNext();
      case "ask-grant":
        return this.#askGrant(effect.key, effect.sha256);
      case "write":
        void this.#write(effect.key);
        return;
      case "report":
        return this.#report(effect.key);
      case "drop":
        this.#held.delete(textOf(effect.key));
        this.#queue = this.#queue.filter((text) => text !== textOf(effect.key));
        return;
      case "hand-back": {
        const { name } = this;
        const connection = this.#connection;
        connection?.up(() => connection.coordinator.handedBack(name, effect.keys.map(refOf)));
        return;
      }
      case "fence":
        return; // every call asks first whether it may begin
      case "exit":
        return this.end("an I/O call outlived its lease");
      case "drained":
        return this.end("drained");
    }
  }

  #computeNext(): void {
    const { world } = this.#cluster;
    if (this.#busy >= THREADS) return;
    const text = this.#queue.shift();
    const held = text === undefined ? undefined : this.#held.get(text);
    if (text === undefined) return;
    if (held === undefined) return this.#computeNext();
    this.#busy++;
    const isSlow = world.slow.has(this.process);
    const durationMs = world.between(8, 40) * (isSlow ? 20 : 1);
    this.process.after(durationMs, () => {
      void this.#execute(held).then(() => {
        this.#busy--;
        this.#computeNext();
      });
    });
  }

  async #execute(held: Held): Promise<void> {
    const { merge } = this.#cluster;
    const { assignment } = held;
    const { unit, attempt } = assignment;
    const key = keyOf(assignment);
    const counts = { bytesRead: 1, bytesWritten: 1, tensorsCut: 0 };
    const finish = (report: Report) => {
      held.report = report;
      this.#on({ type: "finished", key });
    };
    const fault = this.#cluster.computeFault(unit, this.isLiar);
    if (fault !== undefined) return finish({ unit, attempt, kind: "failed", failure: fault });
    switch (assignment.kind) {
      case "survey": {
        const summary = survey(merge.plan, assignment.parts, assignment.request);
        return finish({ unit, attempt, kind: "survey", summary, counts });
      }
      case "slice": {
        const computed = this.#compute(assignment);
        const sha256 = computed.sha256;
        if (assignment.audit) return finish({ unit, attempt, kind: "audit", sha256, counts });
        held.bytes = computed.bytes;
        held.report = { unit, attempt, kind: "slice", sha256, warnings: [], counts };
        return this.#on({ type: "computed", key, sha256 });
      }
      default: {
        const ranges =
          assignment.kind === "seal-slices" ? assignment.ranges : [{ offsetBytes: 0, sizeBytes: assignment.sizeBytes }];
        try {
          const file = await this.#store.open(assignment.path, "read");
          const hashes: string[] = [];
          for (const { offsetBytes, sizeBytes } of ranges) {
            const bytes = new Uint8Array(sizeBytes);
            await file.read(offsetBytes, bytes);
            hashes.push(sha256Of(bytes));
          }
          finish({ unit, attempt, kind: "seal", sha256: hashes });
        } catch (error) {
          finish({ unit, attempt, kind: "failed", failure: failureFrom(error) });
        }
      }
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

  // ---- from memory into storage

  #askGrant(key: AttemptKey, sha256: string): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    const askedMs = this.process.nowMs();
    const { unit, attempt } = key;
    this.#cluster.world.network.call<"granted" | "refused" | "later">(
      connection,
      (answer) => connection.coordinator.grantRequested(this.name, { unit, attempt }, sha256, answer),
      (answer) => this.#on({ type: "grant-answered", key, answer, askedMs }),
    );
  }

  #report(key: AttemptKey): void {
    const connection = this.#connection;
    const report = this.#held.get(textOf(key))?.report;
    if (connection === undefined || report === undefined) return;
    this.#cluster.world.network.call<"accepted" | "stale">(
      connection,
      (answer) => connection.coordinator.reported(this.name, report, answer),
      (answer) => this.#on({ type: "report-answered", key, answer }),
    );
  }

  /** As worker/link writes a result: each call begins only while the lease allows it, on a handle of its own. */
  async #write(key: AttemptKey): Promise<void> {
    const held = this.#held.get(textOf(key));
    if (held?.bytes === undefined || held.assignment.kind !== "slice") return;
    const { bytes } = held;
    const { slice, unit, attempt } = held.assignment;
    const path = this.#cluster.shardPath(slice.shard);
    const writer = { worker: this.name, unit, attempt };
    const { bug } = this.#cluster;
    const call = async <T>(act: () => Promise<T>): Promise<T | undefined> => {
      if (!mayBeginIo(this.#leases, key, this.process.nowMs())) return undefined;
      this.#on({ type: "io-began", key });
      try {
        return await act();
      } finally {
        this.#on({ type: "io-ended", key });
      }
    };
    let file: StoredFile | undefined;
    try {
      file = await call(() => this.#store.reopen(path, writer));
      if (file === undefined) return;
      const opened = file;
      const middle = Math.ceil(bytes.length / 2);
      for (const [from, to] of [
        [0, middle],
        [middle, bytes.length],
      ] as const) {
        const written = await call(async () => {
          await opened.write(slice.offsetBytes + from, bytes.subarray(from, to));
          return true;
        });
        if (written === undefined) return;
      }
      const synced = await call(() => synchronise(opened, bug));
      if (synced === true) this.#on({ type: "written", key });
    } catch (error) {
      const failure = failureFrom(error);
      held.report = { unit, attempt, kind: "failed", failure };
      this.#on({ type: "finished", key });
    } finally {
      await file?.close().catch(() => undefined);
    }
  }
}

/** Two planted faults of workers stand here, since they are in the way of writing: not to sync, and to sync again after an error. */
async function synchronise(file: StoredFile, bug: Bug | undefined): Promise<true> {
  if (bug === "done-before-fsync") return true;
  try {
    await file.sync();
  } catch (error) {
    if (bug !== "fsync-retried") throw error;
    await file.sync();
  }
  return true;
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function keyOf({ unit, attempt }: AttemptRef): AttemptKey {
  return { job: JOB, unit, attempt };
}

function refOf({ unit, attempt }: AttemptRef): AttemptRef {
  return { unit, attempt };
}

function describe(effect: LeaseEffect): string {
  if ("key" in effect) return `${effect.type} ${effect.key.unit}#${effect.key.attempt}`;
  if ("keys" in effect)
    return `${effect.type} ${effect.keys.map(({ unit, attempt }) => `${unit}#${attempt}`).join(" ")}`;
  return effect.type;
}
