import type { Failure, InputFile, Json, Plan, SliceId, UnitId, WorkerId } from "../../merge/work/index.ts";
import { PLAN_VERSION } from "../../merge/work/index.ts";
import type { DurablePhase, Vote } from "../core/index.ts";
import { type Journal, type JournalRecord, nothingYet, type Sequence } from "../journal/index.ts";

/** A published file. */
export interface PublishedFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** What the journal of a job tells when it is read again. */
export interface JobHistory {
  /** Digest of the plan that the job was begun with; undefined: nothing has begun. */
  readonly plan?: string;
  readonly planVersion?: number;
  readonly facts?: Json;
  readonly inputs?: readonly (readonly InputFile[])[];
  readonly replaced: readonly string[];
  readonly phase: "planned" | "publishing" | "done" | "cancelling" | "cancelled";
  /** Why it was paused, if nobody has resumed it since. */
  readonly paused?: Failure;
  readonly files: readonly PublishedFile[];
  readonly slices: ReadonlyMap<SliceId, SliceHistory>;
  readonly verdicts: ReadonlyMap<number, Json>;
}

export interface SliceHistory {
  readonly attempt: number;
  readonly doneSha256?: string;
  /** Who computed it. */
  readonly worker?: WorkerId;
  readonly disputed?: readonly Vote[];
  /** Another worker computed the same. */
  readonly audited?: true;
}

/** The facts of one job, written to a journal with compare-and-set on each subject's last sequence. */
export class JobRecords {
  readonly #journal: Journal;
  readonly #last = new Map<string, Sequence>();
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  async history(): Promise<JobHistory> {
    return readHistory(this.#journal, (record) => this.#last.set(record.entry.subject, record.sequence));
  }

  begun(
    plan: Plan,
    digest: string,
    facts: Json,
    inputs: readonly (readonly InputFile[])[],
    replaced: readonly string[],
  ): Promise<void> {
    const files = inputs.map((input) =>
      input.map((file) => ({ ...file, mtimeNs: String(file.mtimeNs), inode: String(file.inode) })),
    );
    return this.#append("job", {
      state: "begun",
      plan: digest,
      planVersion: plan.version,
      facts,
      inputs: files,
      replaced,
    });
  }

  sliceDone(unit: UnitId, attempt: number, sha256: string, worker: WorkerId): Promise<void> {
    return this.#append(`slice/${unit}`, { state: "done", attempt, sha256, worker });
  }

  sliceDisputed(unit: UnitId, attempt: number, votes: readonly Vote[]): Promise<void> {
    return this.#append(`slice/${unit}`, { state: "disputed", attempt, votes: votes.map((vote) => ({ ...vote })) });
  }

  /** `attempt`: of the slice that is done; another's agreed. */
  sliceAudited(unit: UnitId, attempt: number): Promise<void> {
    return this.#append(`slice/${unit}`, { state: "audited", attempt });
  }

  sliceLost(unit: UnitId, attempt: number): Promise<void> {
    return this.#append(`slice/${unit}`, { state: "lost", attempt });
  }

  quarantined(unit: UnitId, attempt: number, cause: string): Promise<void> {
    return this.#append(`slice/${unit}`, { state: "quarantined", attempt, cause });
  }

  verdict(task: number, verdict: unknown): Promise<void> {
    return this.#append(`verdict/${task}`, { verdict: verdict as Json });
  }

  /** "running" ends a pause. */
  phase(phase: DurablePhase, reason?: Failure): Promise<void> {
    return this.#append("job", { state: phase, ...(reason === undefined ? {} : { reason: { ...reason } }) });
  }

  publishing(files: readonly PublishedFile[]): Promise<void> {
    return this.#append("job", { state: "publishing", files: files.map((file) => ({ ...file })) });
  }

  done(): Promise<void> {
    return this.#append("job", { state: "done" });
  }

  /** Appends to one subject one after another: each must know the last. */
  #append(subject: string, body: Json): Promise<void> {
    const before = this.#underWay.get(subject);
    const mine =
      before === undefined ? this.#appendNow(subject, body) : before.then(() => this.#appendNow(subject, body));
    this.#underWay.set(subject, mine);
    const end = () => {
      if (this.#underWay.get(subject) === mine) this.#underWay.delete(subject);
    };
    mine.then(end, end);
    return mine;
  }

  async #appendNow(subject: string, body: Json): Promise<void> {
    const after = this.#last.get(subject) ?? nothingYet;
    this.#last.set(subject, await this.#journal.append({ subject, body }, after));
  }
}

const nothingBegun: JobHistory = {
  replaced: [],
  phase: "planned",
  files: [],
  slices: new Map(),
  verdicts: new Map(),
};

/** What the journal tells, without a leader's part in it. `seen` is called with every record. */
export async function readHistory(
  journal: Pick<Journal, "read">,
  seen: (record: JournalRecord) => void = () => {},
): Promise<JobHistory> {
  let history = nothingBegun;
  const slices = new Map<SliceId, SliceHistory>();
  const verdicts = new Map<number, Json>();
  for await (const record of journal.read()) {
    seen(record);
    const { entry } = record;
    const body = entry.body as Record<string, Json>;
    const [kind, name = ""] = entry.subject.split("/");
    if (kind === "slice") slices.set(name as SliceId, sliceHistory(slices.get(name as SliceId), body));
    else if (kind === "verdict") verdicts.set(Number(name), body.verdict ?? null);
    else if (kind === "job") {
      // A journal that several jobs had one after another tells of the last.
      if (body.state === "begun") {
        history = nothingBegun;
        slices.clear();
        verdicts.clear();
      }
      history = jobHistory(history, body);
    }
  }
  return { ...history, slices, verdicts };
}

function sliceHistory(before: SliceHistory | undefined, body: Record<string, Json>): SliceHistory {
  const attempt = Math.max(before?.attempt ?? 0, Number(body.attempt ?? 0));
  if (body.state === "done") {
    return { attempt, doneSha256: String(body.sha256), worker: String(body.worker ?? "") as WorkerId };
  }
  if (body.state === "audited" && before?.doneSha256 !== undefined) return { ...before, audited: true };
  if (body.state === "disputed") return { attempt, disputed: body.votes as unknown as readonly Vote[] };
  return { attempt };
}

function jobHistory(before: JobHistory, body: Record<string, Json>): JobHistory {
  if (body.state === "begun") {
    return {
      ...before,
      plan: String(body.plan),
      planVersion: Number(body.planVersion ?? PLAN_VERSION),
      facts: body.facts ?? null,
      inputs: inputsFrom(body.inputs),
      replaced: Array.isArray(body.replaced) ? body.replaced.map(String) : [],
    };
  }
  if (body.state === "publishing")
    return { ...before, phase: "publishing", files: body.files as unknown as PublishedFile[] };
  switch (body.state) {
    case "done":
    case "cancelling":
    case "cancelled": {
      const { paused: _, ...rest } = before;
      return { ...rest, phase: body.state };
    }
    case "paused":
      return { ...before, paused: body.reason as unknown as Failure };
    case "running": {
      const { paused: _, ...rest } = before;
      return rest;
    }
    default:
      return before; // a take-over changes no phase
  }
}

function inputsFrom(inputs: Json | undefined): InputFile[][] {
  if (!Array.isArray(inputs)) return [];
  return inputs.map((files) =>
    (files as unknown as { path: string; sizeBytes: number; mtimeNs: string; inode: string }[]).map((file) => ({
      path: file.path,
      sizeBytes: file.sizeBytes,
      mtimeNs: BigInt(file.mtimeNs),
      inode: BigInt(file.inode),
    })),
  );
}
