import {
  type Assignment,
  type AttemptRef,
  type Report,
  type SealWork,
  textOfRef,
  type WorkerId,
} from "../../merge/work/index.ts";
import { type AttachResponse, OutputAccess } from "../../proto/index.ts";
import type { Place, SignedAddress, SlotPart } from "../../storage/index.ts";
import { malformed, messageOfAssignment, messageOfAttempt, type PlanPieces } from "../../wire/index.ts";
import { LinkError } from "./errors.ts";
import type { InputOutlet } from "./input-outlet.ts";
import { accessOf, messageOfRemoteJob, type RemoteJob, seesOutput } from "./remote-job.ts";
import { notGranted, type ResultIntake } from "./result-intake.ts";
import type { Asked, GrantAnswer, ReportAnswer, WorkerLink, WorkerListener } from "./worker-link.ts";
import type { WorkerPeer } from "./worker-peer.ts";

/** A job that workers can be put to, and what its links share. */
export interface OpenJob {
  readonly job: RemoteJob;
  readonly planPieces: PlanPieces;
  readonly listener: WorkerListener;
  readonly intake: ResultIntake;
  readonly outlet: InputOutlet;
  /** Whose each attempt is that was lent since this coordinator began and has not been answered for. */
  readonly owners: Map<string, WorkerId>;
  /** What is in storage: SHA-256 of each range of a seal, read here when its turn comes. Undefined: nobody wants it any more. */
  readBack(work: SealWork, isWanted: () => boolean): Promise<readonly string[] | undefined>;
  /** What goes on by itself has failed in a way that nobody's input explains. */
  defect(error: unknown): void;
  /** Brings the bytes of a granted attempt from a worker that offers them; rejects where they do not come. */
  fetch(worker: WorkerPeer, ref: AttemptRef): Promise<void>;
}

type Waiting<A> = Map<string, Asked<A>[]>;

/** One worker's part in one job. It outlives connections, not the worker's process. */
export class JobLink implements WorkerLink {
  readonly trust = "other";
  readonly id: WorkerId;
  readonly incarnation: string;
  readonly host: string;
  readonly memoryBytes: number;
  slots = 0;
  isBarred = false;
  readonly output: OutputAccess;
  readonly #worker: WorkerPeer;
  readonly #open: OpenJob;
  /** Attempts that are lent to the worker, as far as this link knows. */
  readonly #lent = new Set<string>();
  /** Parts of the seal that are read here in the worker's stead. */
  readonly sealing = new Map<string, AttemptRef>();
  readonly #grants: Waiting<GrantAnswer> = new Map();
  readonly #reports: Waiting<ReportAnswer> = new Map();
  readonly #hashes = new Map<string, string | undefined>();
  readonly #fetches = new Map<string, Promise<void>>();
  /** Attempts that hold a grant, with the SHA-256 that they were granted to write. */
  readonly #granted = new Map<string, string>();
  #described = false;
  #closed = false;

  constructor(worker: WorkerPeer, open: OpenJob) {
    this.#worker = worker;
    this.#open = open;
    this.id = worker.id;
    this.incarnation = worker.facts.incarnation;
    this.host = worker.facts.host;
    this.memoryBytes = worker.facts.memoryBytes;
    this.output = accessOf(open.job, worker.facts).output;
  }

  get unitsHeld(): number {
    return this.#lent.size;
  }

  get listener(): WorkerListener {
    return this.#open.listener;
  }

  // ---- what the job asks of the worker

  /** A new connection: the description goes ahead of its first assignment. */
  reconnected(): void {
    this.#described = false;
  }

  assign(assignment: Assignment, leaseMs: number): void {
    if (this.#closed) return;
    const { job, owners } = this.#open;
    const key = textOfRef(assignment);
    this.#lent.add(key);
    owners.set(key, this.id);
    const isSeal = assignment.kind === "seal-slices" || assignment.kind === "seal-file";
    if (isSeal && !seesOutput(this.output)) {
      this.#sealHere(assignment).catch((error: unknown) => this.#open.defect(error));
      return;
    }
    const value = messageOfAssignment(job.id, assignment, leaseMs, job.shardPaths);
    if (!this.#described) this.#send({ $case: "job", value: messageOfRemoteJob(job, this.#worker.facts) });
    this.#described = true;
    this.#send({ $case: "assignment", value });
  }

  answerGrant(ref: AttemptRef, answer: GrantAnswer): void {
    const key = textOfRef(ref);
    const sha256 = this.#hashes.get(key);
    if (answer === "granted" && sha256 !== undefined) this.#granted.set(key, sha256);
    if (answer === "granted" && !seesOutput(this.output)) {
      this.#open.intake.allow(ref, sha256);
      if (this.output === OutputAccess.OUTPUT_ACCESS_FETCH_RESULT) this.#fetch(ref);
    }
    if (answer === "granted") this.#worker.granted({ ...ref, job: this.#open.job.id });
    if (answer === "refused") this.#forget(key);
    if (answer !== "later") this.#hashes.delete(key);
    answerAll(this.#grants, key, answer);
  }

  /** Everybody who waits: of a report that was repeated, earlier calls may be dead, and the answer is the same to each. */
  answerReport(ref: AttemptRef, answer: ReportAnswer): void {
    const key = textOfRef(ref);
    this.#forget(key);
    answerAll(this.#reports, key, answer);
  }

  cancel(attempts: readonly AttemptRef[]): void {
    if (attempts.length === 0) return;
    for (const ref of attempts) {
      this.forgetLease(ref);
      // Nothing else is going to be said of them.
      answerAll(this.#grants, textOfRef(ref), "refused");
      answerAll(this.#reports, textOfRef(ref), "stale");
    }
    const ids = attempts.map((ref) => messageOfAttempt({ job: this.#open.job.id, ...ref }));
    this.#send({ $case: "cancel", value: { ids } });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#send({ $case: "jobEnded", value: { jobId: this.#open.job.id } });
    this.end();
  }

  /** Nothing more is to come of this link: who waits is told. */
  end(): void {
    this.#closed = true;
    for (const asked of this.#grants.values()) for (const one of asked) one.answer("refused");
    for (const asked of this.#reports.values()) for (const one of asked) one.answer("stale");
    this.#grants.clear();
    this.#reports.clear();
    for (const key of this.#lent) {
      if (this.#open.owners.get(key) === this.id) this.#open.owners.delete(key);
    }
    this.#lent.clear();
    this.#granted.clear();
  }

  /** The connection is gone: what the job answers now does not arrive. The worker asks again when it is back. */
  disconnected(): void {
    const error = new LinkError("link/not-attached", `worker ${this.id} is not attached any more`, {
      hint: "Attach first, then try again.",
      retryable: true,
    });
    for (const asked of this.#grants.values()) for (const one of asked) one.fail(error);
    for (const asked of this.#reports.values()) for (const one of asked) one.fail(error);
    this.#grants.clear();
    this.#reports.clear();
  }

  // ---- what the worker asks of the job

  requestGrant(ref: AttemptRef, sha256: string | undefined, asked: Asked<GrantAnswer>): void {
    const key = textOfRef(ref);
    if (this.#closed || this.#isAnothers(key)) return asked.answer("refused");
    this.#hashes.set(key, sha256);
    push(this.#grants, key, asked);
    this.listener.grantRequested(this.id, ref.unit, ref.attempt, sha256);
  }

  /** See WorkerListener. */
  roomForSummary(ref: AttemptRef, bytes: number): Promise<() => void> {
    return this.listener.roomForSummary(this.id, ref, bytes);
  }

  /** Answered when what was reported is durable, or is of no use. */
  report(report: Report, asked: Asked<ReportAnswer>): void {
    const key = textOfRef(report);
    if (this.#closed || this.#isAnothers(key)) return asked.answer("stale");
    // Waits from now on: what is cancelled while its bytes are on their way is answered at once.
    push(this.#reports, key, asked);
    if (report.kind !== "slice" || this.#isBelieved) {
      this.listener.reported(this.id, report);
    } else {
      this.#pass(report).catch((error: unknown) => asked.fail(error));
    }
  }

  /** To the job, once the bytes are there that it speaks of. */
  async #pass(report: Report & { readonly kind: "slice" }): Promise<void> {
    const arrived = await this.#arrived(report, report.sha256);
    if (arrived === undefined || this.#closed) answerAll(this.#reports, textOfRef(report), "stale");
    else this.listener.reported(this.id, arrived);
  }

  handedBack(attempts: readonly AttemptRef[]): void {
    const own = attempts.filter((ref) => !this.#isAnothers(textOfRef(ref)));
    for (const ref of own) this.#forget(textOfRef(ref));
    if (own.length > 0) this.listener.handedBack(this.id, own);
  }

  /** The attempt is not the worker's any more: it writes nothing through the coordinator either. */
  forgetLease(ref: AttemptRef): void {
    this.#open.intake.revoke(ref);
    this.#forget(textOfRef(ref));
  }

  isOwn(ref: AttemptRef): boolean {
    return this.#open.owners.get(textOfRef(ref)) === this.id;
  }

  /** A worker may speak only of what was lent to it. What nobody has (reported before, of an earlier epoch) the job itself judges. */
  #isAnothers(key: string): boolean {
    const owner = this.#open.owners.get(key);
    return owner !== undefined && owner !== this.id;
  }

  /** What is said to be in storage must be there, where the bytes came through the coordinator. */
  async #arrived(report: Report & { readonly kind: "slice" }, sha256: string): Promise<Report | undefined> {
    const { unit, attempt } = report;
    if (seesOutput(this.output)) return this.#putThere(report, sha256);
    try {
      await this.#fetches.get(textOfRef(report));
    } catch (error) {
      this.#open.intake.revoke(report);
      return { unit, attempt, kind: "failed", failure: this.#worker.failureOf(error) };
    } finally {
      this.#fetches.delete(textOfRef(report));
    }
    return this.#open.intake.isDurable(report, sha256) ? report : undefined;
  }

  /** What it writes itself into a folder the seal looks at; of a bucket the store knows at once. */
  get #isBelieved(): boolean {
    return this.output === OutputAccess.OUTPUT_ACCESS_ROOTS && this.#open.job.signing?.parts === undefined;
  }

  /** The store is asked: a worker that says that it has put something is no proof. */
  async #putThere(report: Report & { readonly kind: "slice" }, sha256: string): Promise<Report> {
    const { unit, attempt } = report;
    try {
      const { slot, part } = this.#partOf(unit, sha256);
      if ((await this.#open.job.signing?.parts?.has(slot, part)) === true) return report;
      throw notPut(this.id, unit, sha256, slot);
    } catch (error) {
      return { unit, attempt, kind: "failed", failure: this.#worker.failureOf(error) };
    }
  }

  #partOf(unit: string, sha256: string): { readonly slot: Place; readonly part: SlotPart } {
    const { job, intake } = this.#open;
    const slice = intake.sliceOf(unit);
    const slot = job.shardPaths[slice?.shard ?? -1];
    if (slice === undefined || slot === undefined) throw malformed(`slice ${unit}, which the plan does not have`);
    return { slot, part: { offsetBytes: slice.offsetBytes, sizeBytes: slice.sizeBytes, sha256 } };
  }

  /**
   * An address by which the worker puts what it was granted to write. @throws LinkError `link/not-granted`; StorageError
   */
  async signPart(ref: AttemptRef, sha256: string, isGone: boolean): Promise<SignedAddress> {
    const parts = this.#open.job.signing?.parts;
    const isGranted = this.#granted.get(textOfRef(ref)) === sha256 && this.listener.mayWrite(ref);
    if (this.#closed || parts === undefined || !isGranted) throw notGranted(ref);
    const { slot, part } = this.#partOf(ref.unit, sha256);
    return parts.sign(slot, part, isGone);
  }

  /** What the worker cannot see is read back here in its stead, for as long as it is attached: heartbeats name it too. */
  async #sealHere(assignment: Assignment & SealWork): Promise<void> {
    const { unit, attempt } = assignment;
    const isWanted = () => !this.#closed && this.#lent.has(textOfRef(assignment));
    this.sealing.set(textOfRef(assignment), { unit, attempt });
    const report = await this.#open.readBack(assignment, isWanted).then(
      (sha256): Report | undefined => sha256 && { unit, attempt, kind: "seal", sha256 },
      (error: unknown): Report => ({ unit, attempt, kind: "failed", failure: this.#worker.failureOf(error) }),
    );
    this.sealing.delete(textOfRef(assignment));
    if (report !== undefined && isWanted()) this.listener.reported(this.id, report);
  }

  #fetch(ref: AttemptRef): void {
    const key = textOfRef(ref);
    if (this.#fetches.has(key)) return;
    const fetched = this.#open.fetch(this.#worker, ref);
    fetched.catch(() => undefined); // whoever reports the attempt is told
    this.#fetches.set(key, fetched);
  }

  #forget(key: string): void {
    this.#lent.delete(key);
    this.#granted.delete(key);
    if (this.#open.owners.get(key) === this.id) this.#open.owners.delete(key);
  }

  #send(message: NonNullable<AttachResponse["message"]>): void {
    this.#worker.send(message);
  }
}

function notPut(worker: WorkerId, unit: string, sha256: string, slot: Place): LinkError {
  return new LinkError(
    "link/result-differs",
    `worker ${worker} has written ${unit} with SHA-256 ${sha256}, and ${slot} does not have it`,
    {
      hint: "It is computed again. If that goes on, look at the worker, and at who else writes to the bucket.",
      retryable: true,
    },
  );
}

function push<A>(waiting: Waiting<A>, key: string, asked: Asked<A>): void {
  const known = waiting.get(key);
  if (known === undefined) waiting.set(key, [asked]);
  else known.push(asked);
}

function answerAll<A>(waiting: Waiting<A>, key: string, answer: A): void {
  const known = waiting.get(key) ?? [];
  waiting.delete(key);
  for (const asked of known) asked.answer(answer);
}
