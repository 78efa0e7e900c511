import type { Json } from "../../merge/work/index.ts";
import {
  type Files,
  join,
  type Lock,
  type Place,
  parentOf,
  readWhole,
  StorageError,
  writeWhole,
} from "../../storage/index.ts";
import { ChangeFeed } from "./change-feed.ts";
import { QueueError } from "./errors.ts";
import type {
  JobClaim,
  JobId,
  JobQueue,
  JobRecord,
  JobReservation,
  NewJob,
  PlannedFacts,
  Reserved,
  Wish,
} from "./job-queue.ts";
import {
  byAge,
  byTurn,
  checkForgettable,
  checkJob,
  claimed,
  claimLost,
  ended,
  isDue,
  newId,
  newRecord,
  outputTaken,
  released,
  reservationLost,
  wished,
} from "./records.ts";
import { decide } from "./reserve.ts";
import { RecordFault, recordOfText, textOfRecord } from "./stored-record.ts";

const ENDING = ".json";
/** The folder of jobs that have ended and whose names others have by now; a file per id. */
const PAST = "ended";
/** A record holds a recipe of 512 KiB at most, which JSON may make longer. */
const RECORD_BYTES_MAX = 8 * 2 ** 20;

/**
 * The queue of one coordinator: a directory with a file per name, and one per job that had it before, made if it is not there, in one that is. A lock keeps others out, so a
 * job that is found claimed is one whose coordinator died, and is due again.
 * @throws StorageError `storage/locked`; QueueError `queue/corrupt`
 */
export async function openFileQueue(store: Files, directory: Place): Promise<JobQueue> {
  await store.makeDirectory(directory);
  await store.syncDirectory(parentOf(directory));
  const lock = await store.lock(join(directory, "lock"));
  try {
    const past = join(directory, PAST);
    await store.makeDirectory(past);
    await store.syncDirectory(directory);
    const jobs = new Map<JobId, JobRecord>();
    for await (const job of recordsIn(store, past)) jobs.set(job.id, job);
    const names = new Map<string, JobId>();
    for await (const job of recordsIn(store, directory)) {
      jobs.set(job.id, job.state === "claimed" ? released(job) : job);
      names.set(job.name, job.id);
    }
    return new OpenFileQueue(store, directory, lock, jobs, names);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function* recordsIn(store: Files, directory: Place): AsyncGenerator<JobRecord> {
  for (const { name: file } of await store.list(directory)) {
    const path = join(directory, file);
    if (!file.endsWith(ENDING)) continue;
    yield parseRecord(Buffer.from(await readWhole(store, path, RECORD_BYTES_MAX)).toString(), path);
  }
}

class OpenFileQueue implements JobQueue {
  readonly #store: Files;
  readonly #directory: Place;
  readonly #lock: Lock;
  /** What is in the files. */
  readonly #jobs: Map<JobId, JobRecord>;
  /** Of each name the last job that has it. */
  readonly #names: Map<string, JobId>;
  readonly #feed = new ChangeFeed();
  readonly #claims = new Set<FileClaim>();
  /** Submissions that are being planned. They end with the process: whoever made one repeats its call. */
  readonly #planned = new Set<Planned>();
  /** Changes are made one after the other: each decides by what the one before left. */
  #turn: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;
  #released = false;

  constructor(store: Files, directory: Place, lock: Lock, jobs: Map<JobId, JobRecord>, names: Map<string, JobId>) {
    this.#store = store;
    this.#directory = directory;
    this.#lock = lock;
    this.#jobs = jobs;
    this.#names = names;
  }

  async reserve(job: NewJob, _holder: string): Promise<Reserved> {
    checkJob(job);
    for (;;) {
      const decision = await this.#inTurn(async () => {
        const found = decide(job, [...this.#jobs.values()], [...this.#planned]);
        return found.kind === "free" ? this.#reserved({ ...job, name: found.name }) : found;
      });
      if (decision.kind === "reserved") return { state: "reserved", reservation: decision.reservation };
      if (decision.kind !== "wait") return { state: decision.kind, job: decision.job };
      await decision.planning.ended;
    }
  }

  async submit(job: NewJob): Promise<JobRecord> {
    const reserved = await this.reserve(job, "");
    if (reserved.state === "output-taken") throw outputTaken(job, reserved.job);
    return reserved.state === "repeated" ? reserved.job : reserved.reservation.confirm({});
  }

  async claim(holder: string): Promise<JobClaim | undefined> {
    return this.#inTurn(async () => {
      const [due] = [...this.#jobs.values()].filter(isDue).sort(byTurn);
      if (due === undefined) return undefined;
      const claim = new FileClaim(await this.#put(claimed(due, holder)), this.#change, this.#gone);
      this.#claims.add(claim);
      return claim;
    });
  }

  /** Its lock is this process's: what others had was given back when it was opened. */
  async giveBackOf(): Promise<void> {}

  async find(idOrName: string): Promise<JobRecord | undefined> {
    return this.#inTurn(async () => this.#find(idOrName));
  }

  async list(): Promise<readonly JobRecord[]> {
    return this.#inTurn(async () => [...this.#jobs.values()].sort(byAge));
  }

  async wish(idOrName: string, wish: Wish): Promise<JobRecord> {
    return this.#inTurn(() => this.#put(wished(this.#find(idOrName), idOrName, wish)));
  }

  async forget(idOrName: string): Promise<void> {
    await this.#inTurn(async () => {
      const job = this.#find(idOrName);
      checkForgettable(job, idOrName);
      const isLast = this.#names.get(job.name) === job.id;
      const path = isLast ? this.#pathOf(job.name) : this.#pastPathOf(job.id);
      await this.#store.remove(path);
      await this.#store.syncDirectory(parentOf(path));
      this.#jobs.delete(job.id);
      if (isLast) this.#names.delete(job.name);
    });
  }

  changes(signal: AbortSignal): AsyncIterable<JobRecord> {
    return this.#feed.listen(signal);
  }

  close(): Promise<void> {
    this.#closed ??= (async () => {
      for (const claim of [...this.#claims]) await claim.release().catch(() => undefined);
      for (const { end } of [...this.#planned]) end();
      await this.#turn;
      this.#released = true;
      this.#feed.end();
      await this.#lock.release();
    })();
    return this.#closed;
  }

  /** Synchronous: the decision before it still holds. */
  #reserved(job: NewJob): { readonly kind: "reserved"; readonly reservation: JobReservation } {
    let ended = () => {};
    const planned: Planned = {
      ...{ id: newId(), job },
      ended: new Promise((resolve) => {
        ended = resolve;
      }),
      end: () => {
        if (this.#planned.delete(planned)) ended();
      },
    };
    this.#planned.add(planned);
    const confirm = (facts: PlannedFacts) =>
      this.#inTurn(async () => {
        if (!this.#planned.has(planned)) throw reservationLost(job);
        await this.#keepPast(job.name);
        const record = await this.#put(newRecord({ ...job, ...facts }, planned.id));
        planned.end();
        return record;
      });
    return { kind: "reserved", reservation: { job, confirm, release: async () => planned.end() } };
  }

  /** Changes a job that is claimed. */
  readonly #change: ChangeClaimed = (of, to) =>
    this.#inTurn(() => {
      const now = this.#jobs.get(of.id);
      if (now?.state !== "claimed") throw claimLost(of.name, of.holder ?? "");
      return this.#put(to(now));
    });

  readonly #gone = (claim: FileClaim): void => {
    this.#claims.delete(claim);
  };

  #find(idOrName: string): JobRecord | undefined {
    return this.#jobs.get(idOrName as JobId) ?? this.#jobs.get(this.#names.get(idOrName) ?? ("" as JobId));
  }

  /** Before its name is another one's; a crash in between leaves it in both places, which are of one id. */
  async #keepPast(name: string): Promise<void> {
    const before = this.#jobs.get(this.#names.get(name) ?? ("" as JobId));
    if (before === undefined) return;
    if (this.#released) throw closed(this.#directory);
    await writeWhole(this.#store, this.#pastPathOf(before.id), Buffer.from(`${textOfRecord(before)}\n`));
  }

  /** Atomic: whoever opens the directory next finds the job as it was or as it is. */
  async #put(job: JobRecord): Promise<JobRecord> {
    if (this.#released) throw closed(this.#directory);
    await writeWhole(this.#store, this.#pathOf(job.name), Buffer.from(`${textOfRecord(job)}\n`));
    this.#jobs.set(job.id, job);
    this.#names.set(job.name, job.id);
    this.#feed.tell(job);
    return job;
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(async () => {
      try {
        return await act();
      } catch (error) {
        throw error instanceof StorageError ? unavailable(this.#directory, error) : error;
      }
    });
    this.#turn = result.catch(() => undefined);
    return result;
  }

  #pathOf(name: string): Place {
    return join(this.#directory, `${name}${ENDING}`);
  }

  #pastPathOf(id: JobId): Place {
    return join(this.#directory, PAST, `${id}${ENDING}`);
  }
}

interface Planned {
  readonly id: JobId;
  readonly job: NewJob;
  /** Resolves once it is a job, or nothing any more. */
  readonly ended: Promise<void>;
  end(): void;
}

type ChangeClaimed = (of: JobRecord, to: (now: JobRecord) => JobRecord) => Promise<JobRecord>;

class FileClaim implements JobClaim {
  #job: JobRecord;
  readonly #change: ChangeClaimed;
  readonly #gone: (claim: FileClaim) => void;
  /** Only a claim that was ended is lost: the process that holds the lock is the one that holds the claim. */
  readonly lost = new AbortController().signal;

  constructor(job: JobRecord, change: ChangeClaimed, gone: (claim: FileClaim) => void) {
    this.#job = job;
    this.#change = change;
    this.#gone = gone;
  }

  get job(): JobRecord {
    return this.#job;
  }

  async update(facts: { readonly plan?: string; readonly detail?: Json }): Promise<JobRecord> {
    this.#job = await this.#change(this.#job, (now) => ({ ...now, ...facts }));
    return this.#job;
  }

  async end(outcome: string, detail?: Json): Promise<JobRecord> {
    this.#job = await this.#change(this.#job, (now) => ended(now, outcome, detail));
    this.#gone(this);
    return this.#job;
  }

  async release(): Promise<void> {
    this.#gone(this);
    if (this.#job.state !== "claimed") return;
    this.#job = await this.#change(this.#job, released);
  }
}

function parseRecord(text: string, path: string): JobRecord {
  try {
    return recordOfText(text);
  } catch (error) {
    if (!(error instanceof RecordFault)) throw error;
    throw corrupt(path, error);
  }
}

function corrupt(path: string, fault: RecordFault): QueueError {
  return new QueueError("queue/corrupt", `${path} cannot be read: ${fault.message}`, {
    hint:
      fault.version === undefined
        ? "Jobs are written whole or not at all, so something else wrote it. Move it away, and submit the job again."
        : "Another version of deltaworks wrote it: start that one, or move the file away and submit the job again.",
    cause: fault,
  });
}

/** Another process may have the directory by now. */
function closed(directory: string): QueueError {
  return new QueueError("queue/unavailable", `cannot change the queue in ${directory}: it was closed`, {
    hint: "The coordinator is ending: ask again in a moment.",
    retryable: true,
  });
}

function unavailable(directory: string, cause: StorageError): QueueError {
  return new QueueError("queue/unavailable", `cannot change the queue in ${directory}: ${cause.message}`, {
    hint: cause.hint,
    retryable: cause.retryable,
    cause,
  });
}
