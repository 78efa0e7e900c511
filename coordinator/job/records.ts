import type {
  Failure,
  InputDocument,
  InputFile,
  Json,
  PlainData,
  Plan,
  SliceId,
  UnitId,
  WorkerId,
} from "../../merge/work/index.ts";
import { PLAN_VERSION } from "../../merge/work/index.ts";
import type { DurablePhase, Stretch, Vote } from "../core/index.ts";
import { type Journal, type JournalRecord, nothingYet, type Sequence } from "../journal/index.ts";
import { type EpochFacts, EpochsSeen, WRITER } from "./earlier-epochs.ts";
import { badRecord, dataOfJson, jsonOfData } from "./journal-data.ts";
import { failureIn, inputFileIn, type PublishedFile, publishedFileIn, RecordFields, voteIn } from "./record-fields.ts";

/** What the journal of a job tells when it is read again. */
export interface JobHistory {
  /** Digest of the plan that the job was begun with; undefined: nothing has begun. */
  readonly plan?: string;
  readonly planVersion?: number;
  /** Which submission began it; "": a merge of one machine; undefined: an earlier version, which did not say. */
  readonly job?: string;
  readonly facts?: Json;
  readonly inputs?: readonly (readonly InputFile[])[];
  /** By input; undefined in journals of earlier versions. */
  readonly documents?: readonly (readonly InputDocument[])[];
  readonly replaced: readonly string[];
  readonly phase: "planned" | "publishing" | "done" | "cancelling" | "cancelled";
  /** Why it was paused, if nobody has resumed it since. */
  readonly paused?: Failure;
  /** How often people had asked for it to go on when it was paused; undefined: the record does not say. */
  readonly pausedAfter?: number;
  readonly files: readonly PublishedFile[];
  readonly slices: ReadonlyMap<SliceId, SliceHistory>;
  /** As they were settled, to the bit. */
  readonly verdicts: ReadonlyMap<number, PlainData>;
  /** Epochs that may not be over, of whichever job of the journal. */
  readonly epochs: readonly EpochFacts[];
  /** What kept the journal when the epoch before the last one began. */
  readonly keeperBefore?: string | undefined;
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
  readonly #resumes: (() => number) | undefined;
  readonly #last = new Map<string, Sequence>();
  readonly #underWay = new Map<string, Promise<void>>();

  /** `resumes`: how often people have asked for it to go on; absent: nobody counts. */
  constructor(journal: Journal, resumes?: () => number) {
    this.#journal = journal;
    this.#resumes = resumes;
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
    documents: readonly (readonly InputDocument[])[] = [],
    job = "",
  ): Promise<void> {
    const files = inputs.map((input) => input.map(stateRecord));
    return this.#append("job", {
      state: "begun",
      plan: digest,
      planVersion: plan.version,
      facts,
      inputs: files,
      documents: documents.map((input) => input.map((one) => ({ name: one.name, ...stateRecord(one) }))),
      replaced,
      job,
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

  verdict(task: number, verdict: PlainData): Promise<void> {
    return this.#append(`verdict/${task}`, { data: jsonOfData(verdict) });
  }

  /** A run of a worker may have grants of slices at these positions from now on. */
  writer(worker: WorkerId, incarnation: string, { from, to }: Stretch): Promise<void> {
    return this.#append(`${WRITER}${worker}`, { incarnation, from, to });
  }

  /** It has none any more. */
  writerGone(worker: WorkerId, incarnation: string): Promise<void> {
    return this.#append(`${WRITER}${worker}`, { incarnation, gone: true });
  }

  /** "running" ends a pause. */
  phase(phase: DurablePhase, reason?: Failure): Promise<void> {
    const counted = phase === "paused" && this.#resumes !== undefined ? { resumes: this.#resumes() } : {};
    return this.#append("job", {
      state: phase,
      ...(reason === undefined ? {} : { reason: { ...reason } }),
      ...counted,
    });
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
  epochs: [],
};

/**
 * What the journal tells, without a leader's part in it. `seen` is called with every record.
 * @throws JobError `coordinator/bad-record`
 */
export async function readHistory(
  journal: Pick<Journal, "read">,
  seen: (record: JournalRecord) => void = () => {},
): Promise<JobHistory> {
  let history = nothingBegun;
  const slices = new Map<SliceId, SliceHistory>();
  const verdicts = new Map<number, PlainData>();
  const epochsSeen = new EpochsSeen();
  for await (const record of journal.read()) {
    seen(record);
    const { subject, body } = record.entry;
    const fields = new RecordFields(body, subject);
    epochsSeen.see(record);
    const [kind, name = ""] = subject.split("/");
    if (kind === "slice") slices.set(name as SliceId, sliceHistory(slices.get(name as SliceId), fields, subject));
    else if (kind === "verdict") {
      const data = fields.value("data");
      // Earlier versions wrote `verdict`, in which a NaN had become null: the tensor is surveyed again.
      if (data !== undefined) verdicts.set(Number(name), dataOfJson(data, subject));
      else if (!fields.has("verdict")) throw badRecord(subject, "it holds no verdict");
    } else if (kind === "job") {
      // A journal that several jobs had one after another tells of the last.
      if (fields.value("state") === "begun") {
        history = nothingBegun;
        slices.clear();
        verdicts.clear();
      }
      history = jobHistory(history, fields);
    }
  }
  return { ...history, slices, verdicts, epochs: epochsSeen.epochs, keeperBefore: epochsSeen.keeperBefore };
}

function sliceHistory(before: SliceHistory | undefined, fields: RecordFields, where: string): SliceHistory {
  const attempt = Math.max(before?.attempt ?? 0, fields.count("attempt"));
  const state = fields.text("state");
  switch (state) {
    case "done": {
      const worker = fields.has("worker") ? fields.text("worker") : "";
      return { attempt, doneSha256: fields.text("sha256"), worker: worker as WorkerId };
    }
    case "audited":
      return before?.doneSha256 === undefined ? { attempt } : { ...before, audited: true };
    case "disputed":
      return { attempt, disputed: fields.objects("votes").map(voteIn) };
    case "lost":
    case "quarantined":
      return { attempt };
    default:
      throw badRecord(where, `state is ${JSON.stringify(state)}, which is unknown here`);
  }
}

function jobHistory(before: JobHistory, fields: RecordFields): JobHistory {
  const state = fields.text("state");
  switch (state) {
    case "begun":
      return {
        ...before,
        plan: fields.text("plan"),
        planVersion: fields.has("planVersion") ? fields.count("planVersion") : PLAN_VERSION,
        facts: fields.value("facts") ?? null,
        inputs: fields.has("inputs") ? fields.list("inputs").map(inputIn) : [],
        ...(fields.has("documents") && { documents: fields.list("documents").map(documentsIn) }),
        replaced: fields.has("replaced") ? fields.texts("replaced") : [],
        ...(fields.has("job") && { job: fields.text("job") }),
      };
    case "publishing":
      return { ...before, phase: "publishing", files: fields.objects("files").map(publishedFileIn) };
    case "done":
    case "cancelling":
    case "cancelled":
      return { ...withoutPause(before), phase: state };
    case "paused":
      return {
        ...withoutPause(before),
        paused: failureIn(fields.object("reason")),
        ...(fields.has("resumes") && { pausedAfter: fields.count("resumes") }),
      };
    case "running":
      return withoutPause(before);
    default:
      return before; // a take-over changes no phase
  }
}

function withoutPause({ paused: _, pausedAfter: __, ...rest }: JobHistory): JobHistory {
  return rest;
}

function inputIn(files: Json, k: number): InputFile[] {
  if (!Array.isArray(files)) throw badRecord("job", `inputs[${k}] is no list`);
  return files.map((file: Json, f) => inputFileIn(new RecordFields(file, `job, inputs[${k}][${f}]`)));
}

function documentsIn(documents: Json, k: number): InputDocument[] {
  if (!Array.isArray(documents)) throw badRecord("job", `documents[${k}] is no list`);
  return documents.map((document: Json, d) => {
    const fields = new RecordFields(document, `job, documents[${k}][${d}]`);
    return { name: fields.text("name"), ...inputFileIn(fields) };
  });
}

function stateRecord({ path, sizeBytes, version }: InputFile) {
  return { path, sizeBytes, version };
}
