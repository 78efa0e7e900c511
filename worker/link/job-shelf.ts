import { failureFrom } from "../../merge/work/index.ts";
import type { JobDescription as JobMessage } from "../../proto/index.ts";
import type { LocalJob } from "./local-job.ts";
import type { WorkerLog } from "./worker-log.ts";

interface Entry {
  readonly message: JobMessage;
  /** Unset: to be loaded (again) when it is next asked for. */
  local?: Promise<LocalJob>;
}

/** The jobs that a worker has been told of. A job is loaded when its first assignment comes. */
export class JobShelf {
  readonly #load: (message: JobMessage) => Promise<LocalJob>;
  readonly #log: WorkerLog;
  readonly #entries = new Map<string, Entry>();

  constructor(load: (message: JobMessage) => Promise<LocalJob>, log: WorkerLog) {
    this.#load = load;
    this.#log = log;
  }

  has(id: string): boolean {
    return this.#entries.has(id);
  }

  /** False: it is described as before. A job that is described anew has lost its old places. */
  describe(message: JobMessage): boolean {
    const known = this.#entries.get(message.jobId);
    if (known !== undefined && isSameJob(known.message, message)) return false;
    this.#entries.set(message.jobId, { message });
    return true;
  }

  remove(id: string): boolean {
    return this.#entries.delete(id);
  }

  /**
   * What did not come through this time may the next: a plan that was lost, a mount that was not there, a coordinator that had not taken the
   * job up yet. So a failure is remembered by nobody, and who waited for somebody else's load, begun under what held then, has it tried again.
   */
  async local(id: string): Promise<LocalJob | undefined> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return undefined;
    const earlier = entry.local;
    if (earlier !== undefined) {
      try {
        return await earlier;
      } catch {
        if (entry.local === earlier) delete entry.local;
      }
    }
    entry.local ??= this.#load(entry.message);
    const mine = entry.local;
    try {
      return await mine;
    } catch (error) {
      if (entry.local === mine) {
        delete entry.local;
        this.#log("error", "job cannot be worked on", { job: id, ...failureFrom(error) });
      }
      throw error;
    }
  }
}

function isSameJob(a: JobMessage, b: JobMessage): boolean {
  return (
    a.inputAccess === b.inputAccess &&
    a.outputAccess === b.outputAccess &&
    Buffer.compare(a.planSha256, b.planSha256) === 0 &&
    JSON.stringify([a.shards, a.shardAddresses]) === JSON.stringify([b.shards, b.shardAddresses])
  );
}
