import type { Json } from "../../merge/work/index.ts";
import type { JobClaim, JobRecord } from "./job-queue.ts";
import type { QueueToken } from "./nats-tokens.ts";
import { claimLost, ended, released } from "./records.ts";

export interface ClaimPorts {
  /** Changes the record; what `to` throws is thrown. */
  change(to: (now: JobRecord | undefined) => JobRecord): Promise<JobRecord>;
  find(): Promise<JobRecord | undefined>;
  gone(): void;
  readonly keepAliveMs: number;
}

/** A claim that others may take over once it is no longer vouched for. */
export class NatsClaim implements JobClaim {
  #job: JobRecord;
  readonly #token: QueueToken;
  readonly #ports: ClaimPorts;
  readonly #lost = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(job: JobRecord, token: QueueToken, ports: ClaimPorts) {
    this.#job = job;
    this.#token = token;
    this.#ports = ports;
    this.#timer = setInterval(() => this.#keepAlive(), ports.keepAliveMs);
    this.#timer.unref();
  }

  get job(): JobRecord {
    return this.#job;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async update(facts: { readonly plan?: string; readonly detail?: Json }): Promise<JobRecord> {
    return this.#change((now) => ({ ...now, ...facts }));
  }

  async end(outcome: string, detail?: Json): Promise<JobRecord> {
    const job = await this.#change((now) => ended(now, outcome, detail));
    this.#stop();
    await this.#token.drop();
    return job;
  }

  async release(): Promise<void> {
    if (this.#job.state !== "claimed" || this.lost.aborted) return;
    this.#stop();
    await this.#change(released);
    await this.#token.giveBack();
  }

  async #change(to: (now: JobRecord) => JobRecord): Promise<JobRecord> {
    this.#job = await this.#ports.change((now) => {
      if (now === undefined || !this.#isMine(now)) throw this.#loses();
      return to(now);
    });
    return this.#job;
  }

  #keepAlive(): void {
    this.#token.vouch();
    // Vouching has no answer; the record has.
    this.#ports.find().then(
      (now) => {
        if (now === undefined || !this.#isMine(now)) this.#loses();
      },
      () => undefined, // an outage: whether the claim is lost is seen afterwards
    );
  }

  /** `claims` tells two claims of one holder apart. */
  #isMine(now: JobRecord): boolean {
    const { id, holder, claims } = this.#job;
    return now.id === id && now.state === "claimed" && now.holder === holder && now.claims === claims;
  }

  #loses(): Error {
    this.#stop();
    const error = claimLost(this.#job.name, this.#job.holder ?? "");
    // One that was ended through this claim is not lost to anybody.
    if (this.#job.state === "claimed") this.#lost.abort(error);
    return error;
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#ports.gone();
  }
}
