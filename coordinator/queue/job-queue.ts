import type { Json, RootedPath } from "../../merge/work/index.ts";

/** Names one submission for ever; letters of a path and of a NATS subject. A name may be used again, an id is not. */
export type JobId = string & { readonly __brand: "JobId" };

/** What somebody wants merged. Plain JSON; no secrets. */
export interface NewJob {
  /** 1 to 64 of A-Z a-z 0-9 . _ -, the first one a letter or digit. Belongs to one job that has not ended. */
  readonly name: string;
  /** Where the name is taken: "refuse" (somebody chose it), or "suffix" (it was made up): `name-2`, `name-3`. */
  readonly nameTaken: "refuse" | "suffix";
  /** 0 to 4; a higher one is claimed first, among equals the older one. */
  readonly priority: number;
  /** The recipe's text. */
  readonly recipe: string;
  /** What else shapes the merge, as the submitter's command gave it. */
  readonly options: Json;
  /** Where the output goes: the name of a root and a path below it, no part of which is "", "." or "..". */
  readonly out: RootedPath;
  readonly submitter: string;
  /** Digest of the plan, where it is known already. */
  readonly plan?: string;
  /** Of the call that submitted it, chosen by the caller: repeating the call makes no second job. Absent: it is not repeated. */
  readonly requestId?: string;
  /** What `out` is once links and roots within roots are resolved; jobs are compared by it. Absent: `out` itself. */
  readonly place?: RootedPath;
}

export const DEFAULT_PRIORITY = 2;
export const PRIORITY_MAX = 4;

/** What somebody asked of a job; its coordinator carries it out. "none": go on (resume). */
export type Wish = "none" | "pause" | "cancel" | "terminate";

/** A job as the queue knows it. How far it got is in its journal. */
export interface JobRecord extends Omit<NewJob, "nameTaken"> {
  readonly id: JobId;
  /** ISO 8601, UTC; by the clock of whoever took the submission. */
  readonly submittedAt: string;
  /** "claimed": a coordinator has it. "ended": nobody will run it again. */
  readonly state: "queued" | "claimed" | "ended";
  readonly wish: Wish;
  /** How often it was claimed: a job that takes its coordinator down again and again is seen by it. */
  readonly claims: number;
  /** How often somebody asked for it to go on: one that paused by itself (a full disk) has no wish that could be taken back. Absent: never. */
  readonly resumes?: number;
  /** Who claimed it last. */
  readonly holder?: string;
  /** By what its claim can be given back where its holder cannot do that any more. */
  readonly claim?: string;
  /** How it ended: done, failed, cancelled; and what there is to say about it. */
  readonly outcome?: string;
  readonly detail?: Json;
  /** What was found when it was planned, for whoever repeats the submission. */
  readonly warnings?: readonly string[];
}

/** What is known of a job once it is planned. */
export interface PlannedFacts {
  readonly plan?: string;
  readonly warnings?: readonly string[];
}

/**
 * Jobs that wait for a coordinator, and those that ran. What a method returns is durable.
 * All methods throw QueueError `queue/unavailable`: outcome unknown; look before trying again.
 */
export interface JobQueue {
  /**
   * Takes request id, output and name for a job that is yet to be planned, all three or none, in one step among all coordinators.
   * Where another submission has one of them and is being planned itself, waits for what becomes of it; one whose coordinator is
   * gone holds nothing for long. `holder`: for messages.
   * @throws QueueError `queue/invalid`; `queue/name-taken`
   */
  reserve(job: NewJob, holder: string): Promise<Reserved>;
  /** Reserves and confirms at once. @throws QueueError `queue/invalid`; `queue/name-taken`; `queue/output-taken` */
  submit(job: NewJob): Promise<JobRecord>;
  /**
   * The job that is due: of the highest priority, then the oldest. Nobody else gets it until the claim ends: by `end`,
   * `release`, or because its holder is gone. Undefined where none is due now. Paused jobs are not.
   * A claim is a promise about work, no fence: the journal's epoch is (coordinator/journal/epoch.ts).
   */
  claim(holder: string): Promise<JobClaim | undefined>;
  /** Gives back what these holders have claimed, who have certainly ended: others would get it when their claims run out. */
  giveBackOf(hasEnded: (holder: string) => boolean): Promise<void>;
  /** The job of that id; else the one of that name: which has not ended, or the last one that has. */
  find(idOrName: string): Promise<JobRecord | undefined>;
  /** Every job, by time of submission: those that have ended too, until they are forgotten. */
  list(): Promise<readonly JobRecord[]>;
  /**
   * Notes what somebody asks. A job that was never claimed and is to be cancelled or terminated ends at once; any other is
   * for the coordinator that has it, or claims it next, to clear away.
   * @throws QueueError `queue/unknown-job`: there is none of that id or name, or it has ended
   */
  wish(idOrName: string, wish: Wish): Promise<JobRecord>;
  /** Takes an ended job out of the list. @throws QueueError `queue/unknown-job`: there is none, or it has not ended */
  forget(idOrName: string): Promise<void>;
  /**
   * Every job that changes from now on, as it then is; of several changes at once maybe only the last one, and others as
   * they are may be among them. Ends with `signal` and with the queue.
   */
  changes(signal: AbortSignal): AsyncIterable<JobRecord>;
  /** Ends all; claims that are still held go back. May be called again. */
  close(): Promise<void>;
}

/** "repeated": the job of an earlier call with the same request id. "output-taken": a job that has not ended writes there. */
export type Reserved =
  | { readonly state: "reserved"; readonly reservation: JobReservation }
  | { readonly state: "repeated"; readonly job: JobRecord }
  | { readonly state: "output-taken"; readonly job: JobRecord };

/** What a submission has taken while its job is planned. It is kept alive until it is confirmed or released. */
export interface JobReservation {
  /** As it was given, under the name that it will have. */
  readonly job: NewJob;
  /**
   * The job is queued, in one step with the end of the reservation.
   * @throws QueueError `queue/claim-lost`: the reservation was taken for a dead one's, and the job is not queued
   */
  confirm(facts: PlannedFacts): Promise<JobRecord>;
  /** Gives everything back; nothing of it stays. Once it is confirmed or lost this does nothing. */
  release(): Promise<void>;
}

/** A job in the hands of one coordinator. It is kept alive until it ends. */
export interface JobClaim {
  /** As it was last read or written through this claim; `changes` tells what others did. */
  readonly job: JobRecord;
  /** Aborted once the claim is known to be lost: another coordinator may have the job. */
  readonly lost: AbortSignal;
  /** Notes something about the job. @throws QueueError `queue/claim-lost` */
  update(facts: { readonly plan?: string; readonly detail?: Json }): Promise<JobRecord>;
  /** The job has ended; call it after its journal says so. @throws QueueError `queue/claim-lost` */
  end(outcome: string, detail?: Json): Promise<JobRecord>;
  /** Gives it back: it is due again. Once the claim is lost or ended this does nothing. */
  release(): Promise<void>;
}
