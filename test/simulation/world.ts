import { SimulatedDisk } from "../support/simulated-disk.ts";
import { type Fault, SimulatedStore } from "../support/simulated-store.ts";
import type { Auditor } from "./auditor.ts";
import type { Network } from "./connection.ts";
import type { FaultKind } from "./faults.ts";
import { JournalServer } from "./journal-server.ts";
import type { Process } from "./process.ts";
import { Scheduler } from "./scheduler.ts";

/** Times of a simulated cluster, in milliseconds: as short as they can be without losing their order. */
export const times = {
  leaseMs: 400,
  ioTimeoutMs: 100,
  leadershipMs: 200,
  tickMs: 50,
  heartbeatMs: 100,
  answerMs: 150,
  laterMs: 30,
  /** Then a call has failed whose answer did not come. */
  callMs: 200,
  /** Faults end here; what is slow, stopped or full is well again. */
  faultsEndMs: 2000,
  /** By then a job must have ended, whatever happened before the faults ended. */
  boundMs: 20_000,
  /** What goes on after a job's end is watched for so long: stopped processes wake up, late messages come. */
  afterwardsMs: 1500,
} as const;

/** All that simulated processes share: time, chance, disk, journal, and what goes wrong. */
export class World {
  readonly scheduler = new Scheduler();
  readonly random: () => number;
  readonly faults: ReadonlySet<FaultKind>;
  readonly journal = new JournalServer();
  readonly locks = new Map<string, Process>();
  readonly trace: string[] | undefined;
  /** Faults that happened, by kind and the phase in which they did. */
  readonly happened = new Map<string, number>();
  disk = new SimulatedDisk();
  diskIsFull = false;
  /** Somebody has cancelled or terminated the job. */
  wantsEnd = false;
  phase = "planned";
  auditor!: Auditor;
  /** Processes whose calls take long now. */
  readonly slow = new Set<Process>();
  /** Processes whose writes take long now. */
  readonly slowDisks = new Set<Process>();
  network!: Network;
  #stores: SimulatedStore[] = [];

  constructor(random: () => number, faults: ReadonlySet<FaultKind>, trace: string[] | undefined) {
    this.random = random;
    this.faults = faults;
    this.trace = trace;
  }

  get faulty(): boolean {
    return this.scheduler.nowMs < times.faultsEndMs;
  }

  log(who: string, what: string): void {
    this.trace?.push(`${this.scheduler.nowMs.toFixed(1).padStart(8)} ${who.padEnd(16)} ${what}`);
  }

  /** Notes that a fault happened. */
  struck(kind: FaultKind): void {
    const key = `${kind}/${this.phase}`;
    this.happened.set(key, (this.happened.get(key) ?? 0) + 1);
  }

  between(low: number, high: number): number {
    return low + this.random() * (high - low);
  }

  /** Whether a fault that is on strikes now. */
  strikes(kind: FaultKind, chance: number): boolean {
    if (!this.faulty || !this.faults.has(kind) || this.random() >= chance) return false;
    this.struck(kind);
    return true;
  }

  newStore(): SimulatedStore {
    const store = new SimulatedStore(this.disk);
    store.whileSyncing = () => new Promise((resolve) => this.scheduler.after(this.between(1, 8), resolve));
    store.afterFailedSync = this.random() < 0.5 ? "shown" : "dropped";
    this.#stores.push(store);
    return store;
  }

  /** The disk as somebody outside sees it. */
  look(): SimulatedStore {
    return new SimulatedStore(this.disk);
  }

  /** The storage goes down and comes back with what it had on its disk. */
  powerLoss(): void {
    for (const store of this.#stores.splice(0)) store.restart();
    this.disk = this.disk.afterPowerLoss(this.random);
  }

  ioDelayMs(kind: string, process: Process): number {
    if (kind === "write" && this.slowDisks.has(process)) return this.between(50, 250);
    // A result is one call: long enough that things happen meanwhile.
    const isResult = kind === "write" && process.name.startsWith("w");
    const usual = kind === "look" ? this.between(0.2, 1) : this.between(0.5, isResult ? 25 : 3);
    if (isResult && this.strikes("slow-io", 0.15)) return this.between(50, 600);
    return usual;
  }

  ioFault(kind: string, path: string, process: Process): Exclude<Fault, "power-loss"> | undefined {
    if (this.diskIsFull && (kind === "write" || kind === "name")) return "full";
    const chance = process.name.startsWith("w") ? 0.12 : 0.02;
    if (kind === "write" && this.strikes("write-error", chance)) return "io";
    if (kind === "sync" && this.strikes("sync-error", chance)) return "io";
    if (kind === "read" && !path.endsWith("/journal") && this.strikes("read-error", chance)) return "io";
    return undefined;
  }

  journalDelayMs(_process: Process): number {
    return this.between(0.5, 3);
  }

  losesJournalMessage(_process: Process): boolean {
    return this.strikes("journal-message-lost", 0.08);
  }
}
