import type { SimulatedCoordinator } from "./coordinator.ts";
import type { Process } from "./process.ts";
import type { World } from "./world.ts";

/** Workers that are cut off from everybody. */
export class Network {
  readonly #world: World;
  readonly #partitioned = new Set<string>();
  readonly #connections = new Set<Connection>();

  constructor(world: World) {
    this.#world = world;
  }

  isCutOff(worker: string): boolean {
    return this.#partitioned.has(worker);
  }

  partition(worker: string, forMs: number): void {
    this.#partitioned.add(worker);
    this.#world.scheduler.after(forMs, () => this.#partitioned.delete(worker));
    for (const connection of this.#connections) if (connection.worker.name === worker) connection.cut(400);
  }

  reset(worker: string): void {
    for (const connection of this.#connections) if (connection.worker.name === worker) connection.cut(20);
  }

  connect(worker: Process, coordinator: SimulatedCoordinator): Connection {
    const connection = new Connection(this.#world, worker, coordinator);
    this.#connections.add(connection);
    return connection;
  }

  /** The coordinator's process is gone, or will not hear of anybody. */
  cutFrom(coordinator: SimulatedCoordinator, noticeMs: number): void {
    for (const connection of this.#connections) if (connection.coordinator === coordinator) connection.cut(noticeMs);
  }

  /** The process that had the name is gone. */
  cutOffProcess(worker: Process, noticeMs: number): void {
    for (const connection of this.#connections) if (connection.worker === worker) connection.cut(noticeMs);
  }

  closed(connection: Connection): void {
    this.#connections.delete(connection);
  }

  delayMs(): number {
    const { faulty, faults } = this.#world;
    if (faulty && faults.has("slow-link") && this.#world.random() < 0.3) {
      this.#world.struck("slow-link");
      return this.#world.between(20, 180);
    }
    return this.#world.between(0.5, 4);
  }

  /** A call with its own answer: each of the two may be lost, come twice, and overtake others. */
  call<T>(
    { worker, coordinator }: Connection,
    ask: (answer: (value: T) => void) => void,
    answered: (value: T) => void,
  ): void {
    const world = this.#world;
    const isLost = () => this.isCutOff(worker.name) || world.strikes("lost-message", 0.12);
    const late = () => (world.strikes("reordered-message", 0.15) ? world.between(30, 300) : this.delayMs());
    const target = coordinator.process;
    const send = () => {
      if (isLost()) return;
      world.scheduler.after(late(), () =>
        target.deliver(() =>
          ask((value) => {
            if (isLost()) return;
            world.scheduler.after(late(), () => worker.deliver(() => answered(value)));
          }),
        ),
      );
    };
    send();
    if (world.strikes("duplicate-message", 0.15)) send();
  }
}

/** A worker's connection to a coordinator, each direction in order, until it is cut; either side learns of that when it learns of it. */
export class Connection {
  readonly worker: Process;
  readonly coordinator: SimulatedCoordinator;
  readonly #world: World;
  readonly #onLost = { worker: [] as (() => void)[], coordinator: [] as (() => void)[] };
  readonly #noticed = { worker: false, coordinator: false };
  #lastUpMs = 0;
  #lastDownMs = 0;
  #isCut = false;

  constructor(world: World, worker: Process, coordinator: SimulatedCoordinator) {
    this.#world = world;
    this.worker = worker;
    this.coordinator = coordinator;
  }

  get isCut(): boolean {
    return this.#isCut || this.#world.network.isCutOff(this.worker.name);
  }

  /** Called once a side has noticed that the connection is gone. */
  onLost(side: "worker" | "coordinator", act: () => void): void {
    if (this.#noticed[side]) this.#world.scheduler.after(0, () => this.#deliver(side, act));
    else this.#onLost[side].push(act);
  }

  #deliver(side: "worker" | "coordinator", act: () => void): void {
    (side === "worker" ? this.worker : this.coordinator.process).deliver(act);
  }

  up(act: () => void): void {
    if (this.isCut) return;
    const { scheduler, network } = this.#world;
    this.#lastUpMs = Math.max(this.#lastUpMs, scheduler.nowMs + network.delayMs());
    const { process } = this.coordinator;
    scheduler.after(this.#lastUpMs - scheduler.nowMs, () => {
      if (!this.isCut) process.deliver(act);
    });
  }

  down(act: () => void): void {
    if (this.isCut) return;
    const { scheduler, network } = this.#world;
    this.#lastDownMs = Math.max(this.#lastDownMs, scheduler.nowMs + network.delayMs());
    scheduler.after(this.#lastDownMs - scheduler.nowMs, () => {
      if (!this.isCut) this.worker.deliver(act);
    });
  }

  /** Overtaken by what comes after it. */
  lateUp(act: () => void): void {
    const { scheduler } = this.#world;
    scheduler.after(this.#world.between(30, 300), () => {
      if (!this.isCut) this.coordinator.process.deliver(act);
    });
  }

  lateDown(act: () => void): void {
    const { scheduler } = this.#world;
    scheduler.after(this.#world.between(30, 300), () => {
      if (!this.isCut) this.worker.deliver(act);
    });
  }

  /** Nothing passes any more; both sides notice within `noticeMs`, one perhaps long before the other. */
  cut(noticeMs: number): void {
    if (this.#isCut) return;
    this.#isCut = true;
    this.#world.network.closed(this);
    const { scheduler } = this.#world;
    const tell = (side: "worker" | "coordinator") => {
      this.#noticed[side] = true;
      for (const act of this.#onLost[side].splice(0)) act();
    };
    scheduler.after(this.#world.between(0, noticeMs), () => this.#deliver("worker", () => tell("worker")));
    scheduler.after(this.#world.between(0, noticeMs), () => this.#deliver("coordinator", () => tell("coordinator")));
  }
}
