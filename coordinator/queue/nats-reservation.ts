import type { JobRecord, JobReservation, NewJob, PlannedFacts } from "./job-queue.ts";
import { reservationLost } from "./records.ts";

export interface ReservationPorts {
  /** Writes the record again; whether it is still ours. */
  vouch(): Promise<boolean>;
  confirm(facts: PlannedFacts): Promise<JobRecord>;
  release(): Promise<void>;
  gone(): void;
  readonly keepAliveMs: number;
}

/** A submission's record that others take away once it is no longer vouched for. */
export class NatsReservation implements JobReservation {
  readonly job: NewJob;
  readonly #ports: ReservationPorts;
  readonly #timer: NodeJS.Timeout;
  /** One change of the record after the other: each needs the revision that the one before it made. */
  #turn: Promise<unknown> = Promise.resolve();
  #state: "held" | "lost" | "ended" = "held";

  constructor(job: NewJob, ports: ReservationPorts) {
    this.job = job;
    this.#ports = ports;
    this.#timer = setInterval(() => this.#keepAlive(), ports.keepAliveMs);
    this.#timer.unref();
  }

  confirm(facts: PlannedFacts): Promise<JobRecord> {
    return this.#last(() => {
      if (this.#state !== "held") throw reservationLost(this.job);
      return this.#ports.confirm(facts);
    });
  }

  async release(): Promise<void> {
    if (this.#state !== "held") return;
    await this.#last(() => this.#ports.release());
  }

  async #last<T>(act: () => Promise<T>): Promise<T> {
    clearInterval(this.#timer);
    await this.#turn;
    try {
      return await act();
    } finally {
      this.#state = "ended";
      this.#ports.gone();
    }
  }

  #keepAlive(): void {
    this.#turn = this.#turn.then(async () => {
      if (this.#state !== "held") return;
      // An outage says nothing: whether it is lost is seen when it is confirmed.
      if (!(await this.#ports.vouch().catch(() => true))) this.#state = "lost";
    });
  }
}
