import { createHash } from "node:crypto";
import type { Checkpoint, ModelOrigin } from "../../checkpoint/index.ts";
import {
  checkSameState,
  type InputDocument,
  inputChanged,
  type JobDescription,
  type Json,
  type Plan,
  type Seed,
  type SliceId,
} from "../../merge/work/index.ts";
import {
  buildManifest,
  fileOfDocument,
  hashFile,
  type Output,
  type OutputFile,
  type OutputText,
  outputDocuments,
  recordDocuments,
  sourceOf,
} from "../../output/index.ts";
import type { Place, Source } from "../../storage/index.ts";
import { type Epoch, type EpochJournal, lookAt, takeOver } from "../journal/index.ts";
import type { WorkerListener, WorkerSource } from "../link/index.ts";
import {
  aboutEpoch,
  type EarlierEpochs,
  type EpochFacts,
  earlierEpochs,
  isProven,
  type LeaderName,
} from "./earlier-epochs.ts";
import { JobError } from "./errors.ts";
import { bytesToWrite, spaceWarning } from "./free-space.ts";
import type { JobControls } from "./job-controls.ts";
import type { JobHome, OpenJournal } from "./job-home.ts";
import { type JobObserver, type JobPorts, JobRunner, type JobSeams, type Outcome } from "./job-runner.ts";
import { type JobLimits, localLimits } from "./limits.ts";
import { checkNoOwner, checkStageIsFree, type OutputOwner } from "./output-owner.ts";
import { type JobHistory, JobRecords, readHistory } from "./records.ts";
import type { SealedShards } from "./seal-pass.ts";

/** An input, and the files beside its weights that the plan was made with, or that are copied into the output. */
export type JobInput = JobDescription["inputs"][number] & {
  readonly documents?: readonly InputDocument[];
  /** For the model card. */
  readonly origin?: ModelOrigin | undefined;
};

export interface MergeJobOptions {
  /** Where the inputs are, and what goes into the output's documents. */
  readonly store: Source;
  readonly output: Output;
  readonly home: JobHome;
  readonly plan: Plan;
  readonly digest: string;
  readonly recipeText: string;
  readonly definingCheckpoint: Checkpoint;
  readonly text?: OutputText | undefined;
  readonly inputs: readonly JobInput[];
  readonly seed: Seed;
  readonly overwrite: boolean;
  /** Discards what an earlier run computed: of a `submission` that is run again and again, what others left. */
  readonly restart: boolean;
  readonly submission?: SubmittedRun;
  /** How often people have asked for it to go on: what was said after the journal's pause, to whoever listened then, ends that. */
  readonly resumes?: () => number;
  readonly hashInputs: boolean;
  /** By the store's own checksums, of an output whose store tells some; absent: shards are read back. */
  readonly seal?: "checksums";
  readonly toolVersion: string;
  readonly surveyElements: number;
  /** Brings the workers up, once it is known that there is work for them. Absent: they attach to what `onRunning` is given. */
  workers?(job: JobDescription): WorkerSource;
  readonly clock: { nowMs(): number };
  /** For workers on other machines: how leases lapse, and who else may believe to lead. See JobPorts. */
  readonly ticks?: JobPorts["ticks"];
  readonly othersTurn?: JobPorts["othersTurn"];
  /** How long after a confirmation grants are safe; absent where a lock holds others off. */
  readonly leadershipMs?: number;
  /** Absent: those for threads. */
  readonly limits?: JobLimits;
  /** With a shared home: by what the next leader sees that it need not wait. Absent: it waits. */
  readonly leaderName?: LeaderName;
  /** With a shared home: who the job is to an output; its lock is taken in this name. Absent: no lock is taken. */
  readonly owner?: OutputOwner;
  /** What the disk of a place has left; absent, or undefined, where nobody knows. */
  readonly freeBytes?: (place: Place) => Promise<number | undefined>;
  /** For simulations. */
  readonly seams?: JobSeams;
  readonly observer: JobObserver & { began(begun: Begun): void };
  /** Called with a function that stops the job cleanly; again where another one does from then on. */
  readonly onStop: (stop: () => void) => void;
  /** Called with the running job, before it is started, if there is work for workers. */
  readonly onRunning?: (job: RunningJob, description: JobDescription) => void;
}

/** A run of what was submitted: that may be run several times, until it ends. */
export interface SubmittedRun {
  readonly id: string;
  /** Whether it has been run before, perhaps without beginning anything. */
  readonly isRunAgain: boolean;
}

/** What people ask of a job, and what its workers tell it. */
export type RunningJob = WorkerListener & JobControls & Pick<JobRunner, "discarded" | "progress">;

/** How a run begins. */
export interface Begun {
  readonly state: "fresh" | "resumed" | "publishing" | "complete";
  readonly slicesDone: number;
  readonly tornBytes: number;
  /** Acknowledged records that the journal lost all the same: the disk forgot them. */
  readonly lostRecords: number;
}

/** One merge into one output, from wherever an earlier run left it. @throws JobError, PublishError, StorageError, MergeError */
export async function runMergeJob(options: MergeJobOptions): Promise<Outcome> {
  const { output, home, digest: planDigest, overwrite } = options;
  await output.checkIsNoInput(options.inputs);
  if (home.isShared) return withJournal(options, (journal) => runShared(options, journal));
  const held = await home.lock?.();
  try {
    // Nothing is written into a directory that is not ours.
    if (!(await home.exists())) await output.claim({ planDigest, overwrite });
    // Where the home holds other processes off, a claim of our name is one that an earlier process left.
    const lock = await output.lock(held === undefined ? undefined : options.owner?.name);
    try {
      return await withJournal(options, (journal) => runAlone(options, journal));
    } finally {
      await lock.release();
    }
  } finally {
    await held?.release();
  }
}

async function withJournal(
  { home }: MergeJobOptions,
  run: (journal: OpenJournal) => Promise<Outcome>,
): Promise<Outcome> {
  const journal = await home.open();
  try {
    return await run(journal);
  } finally {
    await journal.close();
  }
}

/** Under a lock: looks first, and takes the job over only where there is something to do. */
async function runAlone(options: MergeJobOptions, found: OpenJournal): Promise<Outcome> {
  const { output, home } = options;
  const before = await readHistory(lookAt(found));
  const claim = await claimOutput(options, before);
  if (claim.state === "complete") return alreadyComplete(options, found);
  if (claim.state === "resume") {
    const leader = await takeOver(found, about(options), options.seams?.holder);
    const records = new JobRecords(leader, options.resumes);
    return resume(options, { journal: found, leader, records, isAlone: false }, await records.history());
  }
  const stage = await whoWritesInStage(options, before, before.epochs, found);
  await found.close();
  const { owner, restart, overwrite } = options;
  if (!restart) await (owner === undefined ? checkNoOwner(output) : checkStageIsFree(output, owner, overwrite));
  if (!(await untilNobodyWrites(options, stage))) return { outcome: "stopped" };
  if (owner === undefined) await output.discard();
  else await output.makeAnew(true);
  await home.discard();
  return withJournal(options, async (journal) => {
    // The journal that named its workers has gone; they may have not.
    const isAlone = stage !== undefined || before.epochs.length === 0;
    const leader = await takeOver(journal, about(options, isAlone), options.seams?.holder);
    const led = { journal, leader, records: new JobRecords(leader, options.resumes), isAlone, before: before.epochs };
    return resume(options, led, await begin(options, led, claim.replaced));
  });
}

/** Others may lead, and have ended the job a moment ago: what there is to do is known to whoever has taken over. */
async function runShared(given: MergeJobOptions, journal: OpenJournal): Promise<Outcome> {
  const keeper = await journal.keeper?.();
  const leader = await takeOver(journal, about(given, true, keeper), given.seams?.holder);
  const options = { ...given, output: given.output.fenced(() => leader.confirm()) };
  const records = new JobRecords(leader, options.resumes);
  const history = await records.history();
  // Whoever cancelled it has told everybody but us.
  if (history.phase === "cancelled" && history.plan === options.digest) return { outcome: "cancelled" };
  // Nothing is written into a directory that is not ours.
  const found = await claimOutput(options, history);
  if (found.state === "complete") return alreadyComplete(options, journal);
  if (options.owner === undefined) return runLed(options, { journal, leader, records }, history, found);
  // Another coordinator that has it for the same job leads no more, or not for long.
  const lock = await options.output.lock(options.owner.name);
  try {
    const claim = await claimOutput(options, history); // as it is now that nobody else changes it
    return await runLed(options, { journal, leader, records }, history, claim);
  } finally {
    await lock.release();
  }
}

async function runLed(
  options: MergeJobOptions,
  parts: Omit<Led, "isAlone">,
  history: JobHistory,
  claim: Claim,
): Promise<Outcome> {
  const { output, owner, restart, overwrite } = options;
  if (claim.state === "complete") return alreadyComplete(options, parts.journal);
  if (claim.state === "resume") return resume(options, { ...parts, isAlone: false }, history);
  const others = history.epochs.filter(({ number }) => number !== parts.leader.epoch.number);
  const stage = await whoWritesInStage(options, history, others, parts.journal);
  if (owner !== undefined) await checkStageIsFree(output, owner, restart || overwrite);
  if (!(await untilNobodyWrites(options, stage))) return { outcome: "stopped" };
  const led = { ...parts, isAlone: stage !== undefined || history.plan === undefined };
  await output.makeAnew(owner !== undefined);
  return resume(options, led, await begin(options, led, claim.replaced));
}

async function begin(options: MergeJobOptions, { records }: Led, replaced: readonly string[]): Promise<JobHistory> {
  const files = options.inputs.map((input) => input.files);
  await records.history();
  const documents = options.inputs.map((input) => input.documents ?? []);
  await records.begun(
    options.plan,
    options.digest,
    factsOf(options.plan),
    files,
    replaced,
    documents,
    options.submission?.id,
  );
  return records.history();
}

function alreadyComplete({ observer, plan }: MergeJobOptions, { tornBytes, lostRecords }: OpenJournal): Outcome {
  observer.began({ state: "complete", slicesDone: plan.slices.length, tornBytes, lostRecords });
  return { outcome: "done" };
}

type Claim =
  | { readonly state: "complete" }
  | { readonly state: "resume" }
  | { readonly state: "anew"; readonly replaced: readonly string[] };

/** What is to be done with the output as it was found. */
async function claimOutput(options: MergeJobOptions, history: JobHistory): Promise<Claim> {
  const { output, digest, overwrite, restart } = options;
  const sameJob = history.plan === digest;
  const ended = history.phase === "done";
  const isOwn = isBegunBy(options.submission, history);
  if (history.plan === undefined || history.phase === "cancelled") {
    const found = await output.claim({ planDigest: digest, overwrite });
    return found.state === "complete" ? { state: "complete" } : { state: "anew", replaced: found.replaced };
  }
  if ((restart && !isOwn) || (overwrite && (!sameJob || (ended && !isOwn)))) {
    // The journal says which files are the job's own, so that no other is taken away.
    const found = await output.claim({
      planDigest: "",
      overwrite: overwrite || sameJob || !ended,
      journalledPlan: history.plan,
      journalledFiles: [...history.files.map(({ name }) => name), ...history.replaced],
    });
    return { state: "anew", replaced: found.replaced };
  }
  if (!ended) {
    checkSameJob(options, history);
    checkSameInputs(options, history);
    return { state: "resume" };
  }
  const found = await output.claim({
    planDigest: digest,
    overwrite: false,
    journalledPlan: history.plan,
  });
  checkSameInputs(options, history);
  if (found.state === "complete") return { state: "complete" };
  throw new JobError(
    "coordinator/incomplete",
    `${output.place} was merged and published, and files of it are missing or changed since`,
    {
      hint: `Restore them with: deltaworks repair ${output.place}; or merge anew with --overwrite.`,
    },
  );
}

/** Journals of earlier versions do not say; they restarted in the first run alone, whether that came to anything or not. */
function isBegunBy(submission: SubmittedRun | undefined, { job }: JobHistory): boolean {
  if (submission === undefined) return false;
  return job === undefined ? submission.isRunAgain : job === submission.id;
}

interface Led {
  readonly journal: OpenJournal;
  readonly leader: EpochJournal;
  readonly records: JobRecords;
  /** Nobody has led a job here before, or what they granted is over. */
  readonly isAlone: boolean;
  /** Of a journal that was here before this one. */
  readonly before?: readonly EpochFacts[];
}

async function resume(
  options: MergeJobOptions,
  { journal, leader, records, isAlone, before = [] }: Led,
  history: JobHistory,
): Promise<Outcome> {
  const { output, plan } = options;
  const { tornBytes, lostRecords } = journal;
  const began = (state: Begun["state"], slicesDone: number) =>
    options.observer.began({ state, slicesDone, tornBytes, lostRecords });
  const publishFiles = async (files: readonly OutputFile[]) => {
    // The stage goes before the last word: nobody comes back to a job that is done.
    await output.publish(files, history.replaced);
    await records.done();
  };

  if (history.phase === "publishing") {
    began("publishing", plan.slices.length);
    await publishFiles(history.files);
    return { outcome: "done" };
  }

  // Before the shards are made: not every file system leaves their space to be taken later.
  const free = await options.freeBytes?.(output.place);
  if (history.slices.size === 0) reportSpace(options, free, history);
  const lost = await output.prepare(plan, options.owner?.name, doneIn(history));
  const kept = lost.length === 0 ? history : { ...history, slices: slicesWithout(lost, plan, history) };
  if (history.slices.size > 0) reportSpace(options, free, kept);
  const done = [...kept.slices.values()].filter(({ doneSha256 }) => doneSha256 !== undefined).length;
  began(history.slices.size > 0 ? "resumed" : "fresh", done);
  const shardPaths = output.slots(plan);
  const job: JobDescription = {
    seed: options.seed,
    allowNonfinite: plan.options.allowNonfinite,
    inputs: options.inputs.map(({ label, files }) => ({ label, files })),
    shardPaths,
  };
  const { limits = localLimits, leadershipMs, ticks, othersTurn } = options;
  const earlier = isAlone
    ? nothingEarlier
    : await earlierGrants(
        options,
        history,
        [...before, ...history.epochs.filter(({ number }) => number !== leader.epoch.number)],
        journal,
      );
  const runner = new JobRunner(
    {
      plan,
      shardPaths,
      surveyElements: options.surveyElements,
      ...(options.seams === undefined ? {} : { seams: options.seams }),
      limits: { ...limits, attemptBase: leader.attemptBase, earlierGrantsMs: earlier.fenceMs },
      earlierWriters: earlier.writers,
    },
    kept,
    {
      records,
      ...(options.workers === undefined ? {} : { workers: options.workers(job) }),
      clock: options.clock,
      ...(ticks === undefined ? {} : { ticks }),
      ...(othersTurn === undefined ? {} : { othersTurn }),
      ...(leadershipMs === undefined ? {} : { leadership: { confirm: () => leader.confirm(), limitMs: leadershipMs } }),
      observer: options.observer,
      ...(plan.options.layout === "parts"
        ? { closeSlots: (sliceSha256s: readonly string[]) => output.closeSlots(plan, sliceSha256s) }
        : {}),
      ...(options.seal === "checksums"
        ? { sealedByStore: (sliceSha256s: readonly string[]) => sealedByStore(output, plan, sliceSha256s) }
        : {}),
      publish: async (sealed) => {
        await checkInputsInPlace(options);
        const files = await stageRest(options, sealed, leader.epoch);
        await records.publishing(files);
        await publishFiles(files);
      },
      discardStage: () => output.discard(),
    },
  );
  options.onStop(() => runner.stop());
  const { pausedAfter = Number.POSITIVE_INFINITY } = history;
  if (history.paused !== undefined && (options.resumes?.() ?? 0) > pausedAfter) runner.resume();
  options.onRunning?.(runner, job);
  const outcome = await runner.run();
  // The journal must stay open for what is still to be said.
  const cause = outcome.outcome === "cancelled" ? await runner.discarded : undefined;
  return cause === undefined ? outcome : { outcome: "failed", cause };
}

function about(options: MergeJobOptions, namesAll = true, keeper?: string): Json {
  const { toolVersion, leaderName } = options;
  return aboutEpoch(toolVersion, namesAll ? fenceOf(options) : undefined, {
    ...(leaderName === undefined ? {} : { coordinator: leaderName.coordinator }),
    ...(keeper === undefined ? {} : { keeper }),
  });
}

/** How long grants of this epoch may last after its end. Leases of threads end with their process. */
function fenceOf({ limits = localLimits, leadershipMs = 0 }: MergeJobOptions): number {
  const { leaseMs, ioTimeoutMs } = limits;
  return leaseMs === Number.POSITIVE_INFINITY ? 0 : leaseMs + ioTimeoutMs + leadershipMs;
}

const nothingEarlier: EarlierEpochs = { writers: [], fenceMs: 0 };

/** Who may still write, and for how long. */
async function earlierGrants(
  options: MergeJobOptions,
  { keeperBefore }: JobHistory,
  epochs: readonly EpochFacts[],
  journal: OpenJournal,
): Promise<EarlierEpochs> {
  const { home, leaderName } = options;
  const fenceMs = fenceOf(options);
  if (fenceMs === 0) return nothingEarlier;
  const earlier = earlierEpochs(epochs, fenceMs);
  // A coordinator that was taken over may live on; and a journal that forgot what was durable may have forgotten who writes.
  if (journal.lostRecords === 0) {
    if (!home.isShared) return earlier;
    const hasEnded = (coordinator: string) => leaderName?.hasEnded(coordinator) === true;
    if (isProven(epochs, keeperBefore, await journal.keeper?.(), hasEnded)) return earlier;
  }
  return { writers: undefined, fenceMs: Math.max(earlier.fenceMs, fenceMs) };
}

/**
 * Who may still write in a stage that is to be made anew; undefined: there is none. A journal may have lost its beginning, and with it who
 * that is; what lies in the stage has not.
 */
async function whoWritesInStage(
  options: MergeJobOptions,
  history: JobHistory,
  epochs: readonly EpochFacts[],
  journal: OpenJournal,
): Promise<EarlierEpochs | undefined> {
  if ((await options.output.staged()) === undefined) return undefined;
  if (history.plan !== undefined) return earlierGrants(options, history, epochs, journal);
  const fenceMs = fenceOf(options);
  return { writers: undefined, fenceMs: Math.max(fenceMs, earlierEpochs(epochs, fenceMs).fenceMs) };
}

/** They would write into the new stage, whose files have the same names. Resolves to false where the job is to stop before. */
async function untilNobodyWrites(
  { output, clock, ticks, observer, onStop }: MergeJobOptions,
  { writers, fenceMs }: EarlierEpochs = nothingEarlier,
): Promise<boolean> {
  if (ticks === undefined || fenceMs === 0 || writers?.length === 0) return true;
  const endMs = clock.nowMs() + fenceMs;
  const seconds = Math.ceil(fenceMs / 1000);
  observer.warning(
    `${output.place} holds what an earlier run left, and its workers may be writing there: it is made anew in ${seconds} s`,
  );
  return new Promise((resolve) => {
    const over = (isOver: boolean) => {
      stopTicks();
      resolve(isOver);
    };
    const stopTicks = ticks(() => {
      if (clock.nowMs() >= endMs) over(true);
    });
    onStop(() => over(false));
  });
}

/** @throws JobError `coordinator/no-space` where nothing has been computed yet */
function reportSpace(
  { output, plan, inputs, observer }: MergeJobOptions,
  free: number | undefined,
  history: JobHistory,
) {
  const isDone = (id: SliceId) => history.slices.get(id)?.doneSha256 !== undefined;
  const warning = spaceWarning(output.place, bytesToWrite({ plan, inputs }, isDone), free, history.slices.size > 0);
  if (warning !== undefined) observer.warning(warning);
}

function sealedByStore(output: Output, plan: Plan, sliceSha256s: readonly string[]): Promise<readonly string[]> {
  if (output.sealedByStore === undefined) throw new Error(`nobody but a reader knows what is in ${output.place}`);
  return output.sealedByStore(plan, sliceSha256s);
}

/** Workers hold inputs open, and go on reading a file that another has taken the place of. */
async function checkInputsInPlace({ store, inputs }: MergeJobOptions): Promise<void> {
  for (const { label, files, documents = [] } of inputs) {
    for (const file of [...files, ...documents]) {
      const found = await store.identity(file.path);
      if (found === undefined) throw inputChanged(`${label}: ${file.path} was removed while the merge ran`);
      checkSameState(label, file, found);
    }
  }
}

/** Documents and records into the stage beside the sealed shards; all files of the output. */
async function stageRest(
  options: MergeJobOptions,
  sealed: SealedShards,
  { number, holder }: Epoch,
): Promise<OutputFile[]> {
  const { store, output, plan, digest, recipeText, definingCheckpoint, text, toolVersion } = options;
  const shards = plan.shards.map(({ name, sizeBytes }, k) => ({
    name,
    sizeBytes,
    sha256: sealed.shardSha256s[k] ?? "",
  }));
  const origins = options.inputs.map(({ origin }) => origin);
  const documents = await outputDocuments(plan, { store, recipeText, definingCheckpoint, text, origins });
  const files = [...shards, ...documents.map(fileOfDocument)];
  const manifest = buildManifest({
    plan,
    planDigest: digest,
    toolVersion,
    sliceSha256s: sealed.sliceSha256s,
    files,
    inputSha256s: options.hashInputs ? await hashInputs(options) : undefined,
    inputSources: options.inputs.map((input) => sourceOf(input.files)),
  });
  const records = recordDocuments(manifest);
  // Another epoch may have begun, and this one stand still in the middle of a file: neither has a file that the other opens.
  await output.stage([...documents, ...records], `${number}-${holder}`);
  return [...files, ...records.map(fileOfDocument)];
}

async function hashInputs({ store, inputs }: MergeJobOptions): Promise<string[][]> {
  const hashes: string[][] = [];
  for (const { files } of inputs) {
    const ofInput: string[] = [];
    for (const { path } of files) ofInput.push((await hashFile(store, path)).sha256);
    hashes.push(ofInput);
  }
  return hashes;
}

/** What may differ between two plans, by name, so that a refused resume can say which it is. */
function factsOf(plan: Plan): { readonly [name: string]: Json } {
  return {
    "plan version": plan.version,
    "--random-seed": plan.seed,
    "--slice-size": plan.options.sliceBytes,
    "--shard-size": plan.options.shardBytes,
    "--allow-nonfinite": plan.options.allowNonfinite,
    recipe: digestOf(plan.recipe),
    "headers of the inputs": digestOf(plan.inputs as unknown as Json),
  };
}

function digestOf(value: Json): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 16);
}

function checkSameJob({ plan, digest, output }: MergeJobOptions, history: JobHistory): void {
  if (history.plan === digest) return;
  const before = (history.facts ?? {}) as Record<string, Json>;
  const now = factsOf(plan);
  const named = Object.keys(now).filter((name) => before[name] !== now[name]);
  const differences = named.map((name) =>
    name.startsWith("--") ? `${name} was ${before[name]}, is ${now[name]}` : `the ${name} changed`,
  );
  throw new JobError(
    "coordinator/other-job",
    `${output.place} holds an unfinished merge of another plan: ${differences.join("; ") || "the plan changed"}`,
    {
      hint: named.includes("plan version")
        ? "Finish it with the version of deltaworks that began it, or discard what it computed with --restart."
        : "Run it again as it was to finish it, or discard what it computed with --restart.",
    },
  );
}

/** Sizes and versions are those that the journal noted. */
function checkSameInputs({ inputs }: MergeJobOptions, history: JobHistory): void {
  for (const [k, { label, files }] of inputs.entries()) {
    for (const [f, file] of files.entries()) {
      const before = history.inputs?.[k]?.[f];
      if (before === undefined) throw inputChanged(`${label}: ${file.path} was not there when the merge began`);
      checkSameState(label, { ...before, path: file.path }, file);
    }
  }
  // Journals of earlier versions do not tell of them.
  for (const [k, before] of history.documents?.entries() ?? [])
    checkSameDocuments(inputs[k], before, history.phase === "done");
}

function checkSameDocuments(
  { label, documents = [] }: JobInput = noInput,
  before: readonly InputDocument[],
  isEnded: boolean,
): void {
  const now = new Map(documents.map((document) => [document.name, document]));
  for (const document of before) {
    const found = now.get(document.name);
    if (found === undefined) throw inputChanged(`${label}: ${document.path} was removed since the merge began`);
    checkSameState(label, { ...document, path: found.path }, found);
    now.delete(document.name);
  }
  // In a finished output nothing is missing: what would be carried along today is no part of it.
  const [added] = isEnded ? [] : now.values();
  if (added !== undefined) throw inputChanged(`${label}: ${added.path} was not there when the merge began`);
}

const noInput: JobInput = { label: "an input", files: [] };

/** SHA-256 of the slices that are done. */
function doneIn({ slices }: JobHistory): ReadonlyMap<string, string> {
  return new Map([...slices].flatMap(([id, { doneSha256 }]) => (doneSha256 === undefined ? [] : [[id, doneSha256]])));
}

/** What the journal tells of slices that are as they were left. `lost`: indices into plan.slices. */
function slicesWithout(lost: readonly number[], plan: Plan, { slices }: JobHistory): JobHistory["slices"] {
  const kept = new Map(slices);
  for (const index of lost) {
    const slice = plan.slices[index];
    if (slice !== undefined) kept.delete(slice.id);
  }
  return kept;
}
