import { createHash } from "node:crypto";
import { dtypeBytes } from "../checkpoint/index.ts";
import type { Arena, Scope } from "../merge/engines/index.ts";
import { chunkBlocksOf, keepsInputs, type MethodDefinition, methodNamed, Rounds } from "../merge/methods/index.ts";
import {
  type Assignment,
  geometryOfTask,
  type JobDescription,
  type PlainData,
  type Report,
  type SealRange,
  type SealWork,
  type SlicePart,
  type SliceWork,
  type SurveyWork,
  sealRanges,
  type TensorTask,
} from "../merge/work/index.ts";
import { type Files, type Place, type Readable, type StoredFile, schemeOf, unnamedFileAt } from "../storage/index.ts";
import type { Computed } from "./computed.ts";
import { FiniteWatch, watched } from "./finite-watch.ts";
import { InputFiles, type Moved } from "./input-files.ts";
import { MergedTasks } from "./merged-tasks.ts";
import { LastScales, quantiseRange } from "./quantise-range.ts";
import { RangeCache, type RangeCacheDescription } from "./range-cache.ts";
import { RangeHashes } from "./range-hashes.ts";
import { type RangeMeans, RangeWork, type Sink } from "./range-work.ts";
import { readAhead } from "./read-ahead.ts";
import { heldIn, nowhere, SliceOutput } from "./slice-output.ts";
import { SliceUploads, whileSigning } from "./slice-uploads.ts";
import { LastProduct } from "./sources/product-source.ts";
import { extentsOfRange } from "./wanted-extents.ts";

export interface WorkerBudget {
  /** Elements of a tensor that are surveyed at once; more are cut into ranges. Whole blocks at least. */
  readonly rangeElements: number;
  /** Optional working memory of one range. */
  readonly spareBytes: number;
  /** What of the inputs of a tensor may be kept from its first round to its last. Absent: nothing. */
  readonly keptBytes?: number;
  /** What of a base may be held so that it is not read anew for further models. */
  readonly heldBytes: number;
  /** In place of what the device wants: elements computed at once, a multiple of 8. */
  readonly pieceElements?: number;
  /** Input files that are open at once. */
  readonly openFilesMax: number;
  /** To stores that are far; as many as these want where nothing is said. */
  readonly connectionsMax?: number;
  /** From stores that are far, a second; as many as come where nothing is said. */
  readonly bandwidthBytes?: number;
  /** On the local disk, shared by the threads of a process. Absent: what is far is brought as often as it is read. */
  readonly cache?: RangeCacheDescription;
}

/** What a worker lets its surroundings do while it computes. */
export interface WorkerHooks {
  /** Asks for permission to write a slice; false: the lease is gone, stop. */
  grant(unit: Assignment["unit"], attempt: number): Promise<boolean>;
  /** Called every few milliseconds of computing: lets messages in and results out. */
  pause(): Promise<void>;
  /** Called after each read of an input: a sign of life. What it throws ends the assignment. */
  readonly moved?: Moved;
}

/** What a worker reads from, and writes to. */
export interface WorkerStore extends Pick<Files, "open" | "openForWriting"> {
  /** Where shards are objects that come in parts: puts the part that begins there. Durable once it resolves. */
  putPart?(slot: Place, offsetBytes: number, bytes: Uint8Array, sha256: string): Promise<unknown>;
}

/** A finished slice, but for its durability: `durable` settles once its bytes survive a power loss. */
export interface Written {
  readonly report: Report;
  readonly durable: Promise<void>;
}

/** A shard that is being written to, and the first failure to make it durable. */
interface Output {
  readonly file: StoredFile;
  failure: unknown;
}

/** Of what a base may be held in: for windows of inputs that are far. */
const FAR_SHARE = 0.5;

/** Memory for windows of inputs that are far, if any is. */
export function farBytesOf({ heldBytes }: Pick<WorkerBudget, "heldBytes">): number {
  return Math.floor(heldBytes * FAR_SHARE);
}

const SEAL_BUFFER_BYTES = 4 * 1024 * 1024;
/** Of what is far: a window a connection. */
const SEAL_WINDOW_BYTES = 8 * 1024 * 1024;
const SEAL_WINDOWS_AHEAD = 4;

/** Executes assignments of one job, one after another, on one arena. */
export class SliceWorker {
  readonly #arena: Arena;
  readonly #store: WorkerStore;
  readonly #job: JobDescription;
  readonly #budget: WorkerBudget;
  readonly #hooks: WorkerHooks;
  readonly #files: InputFiles;
  readonly #heldBytes: number;
  readonly #outputs = new Map<string, Output>();
  readonly #uploads = new SliceUploads();
  /** Of the assignment under way. */
  #means: RangeMeans | undefined;
  readonly #merged: MergedTasks;
  readonly #scales = new LastScales();
  readonly #products = new LastProduct();
  #tensorsCut = 0;

  constructor(arena: Arena, store: WorkerStore, job: JobDescription, budget: WorkerBudget, hooks: WorkerHooks) {
    this.#arena = arena;
    this.#store = store;
    this.#job = job;
    this.#budget = budget;
    this.#hooks = hooks;
    const farBytes = InputFiles.areFar(job) ? farBytesOf(budget) : 0;
    this.#heldBytes = budget.heldBytes - farBytes;
    const cache = budget.cache && new RangeCache(budget.cache, unnamedFileAt(budget.cache.descriptor));
    this.#files = new InputFiles(store, job, budget.openFilesMax, hooks.moved, farBytes, cache);
    this.#merged = new MergedTasks({
      arena,
      range: (task, range, into, cutting) => this.#range(task, range, into, cutting),
      other: (range) => this.#other(range),
      rangeElements: budget.rangeElements,
      pause: () => hooks.pause(),
      moved: () => hooks.moved?.(0),
    });
  }

  /** Undefined: the grant was refused. @throws the errors of storage, inputs and values */
  async execute(assignment: Assignment): Promise<Written | undefined> {
    const scope = this.#begin();
    try {
      if (assignment.kind === "slice") return await this.#slice(assignment);
      if (assignment.kind === "survey") return { report: await this.#survey(assignment), durable: Promise.resolve() };
      const { unit, attempt } = assignment;
      return {
        report: { unit, attempt, kind: "seal", sha256: await this.#seal(assignment) },
        durable: Promise.resolve(),
      };
    } finally {
      scope.end();
    }
  }

  /**
   * A slice whose bytes go into the buffer, or nowhere where there is none: nothing is asked and nothing is written.
   * @throws as execute
   */
  async compute(work: SliceWork, buffer: ArrayBuffer | undefined): Promise<Computed> {
    const scope = this.#begin();
    const target = buffer === undefined ? nowhere : heldIn(new Uint8Array(buffer, 0, work.slice.sizeBytes));
    try {
      return await this.#fill(work, new SliceOutput(this.#current.arena, target, 0, this.#hooks.pause));
    } finally {
      scope.end();
    }
  }

  #begin(): Scope {
    const scope = this.#arena.scope();
    this.#files.bytesRead = 0;
    this.#tensorsCut = 0;
    const watch = new FiniteWatch(this.#arena);
    const arena = this.#isAsynchronous ? watched(this.#arena, watch) : this.#arena;
    this.#means = { arena, watch, files: this.#files };
    return scope;
  }

  get #isAsynchronous(): boolean {
    return this.#arena.device.limits.asynchronous;
  }

  get #current(): RangeMeans {
    if (this.#means === undefined) throw new Error("nothing was begun");
    return this.#means;
  }

  /** No more input files than this are open from now on. Between assignments only. */
  limitOpenFiles(openMax: number): Promise<void> {
    return this.#files.limit(openMax);
  }

  async close(): Promise<void> {
    await this.#files.close();
    await this.#uploads.over();
    for (const { file } of this.#outputs.values()) await file.close();
    this.#outputs.clear();
  }

  async #slice(work: Assignment & SliceWork): Promise<Written | undefined> {
    const { unit, attempt, slice } = work;
    if (!(await this.#hooks.grant(unit, attempt))) return undefined;
    const place = this.#job.shardPaths[slice.shard];
    if (place === undefined) throw new Error(`the job has no shard ${slice.shard}`);
    if (schemeOf(place) !== "file") return this.#uploaded(work, place);
    const shard = await this.#output(place);
    const output = new SliceOutput(this.#current.arena, shard.file, slice.offsetBytes, this.#hooks.pause);
    const { sha256, warnings, counts } = await this.#fill(work, output);
    return { report: { unit, attempt, kind: "slice", sha256, warnings, counts }, durable: this.#sync(shard) };
  }

  /** A part goes up as a whole, while the next slice is computed: its SHA-256 goes before it, by which the store compares it. */
  async #uploaded(work: Assignment & SliceWork, slot: Place): Promise<Written> {
    const { unit, attempt, slice } = work;
    if (this.#store.putPart === undefined) throw new Error(`there is nothing here that puts parts into ${slot}`);
    const buffer = await this.#uploads.buffer(slice.sizeBytes, () => this.#hooks.moved?.(0));
    let isSent = false;
    try {
      const bytes = buffer.subarray(0, slice.sizeBytes);
      const output = new SliceOutput(this.#current.arena, heldIn(bytes), 0, this.#hooks.pause);
      const { sha256, warnings, counts } = await this.#fill(work, output);
      isSent = true;
      const durable = this.#uploads.send(buffer, this.#store.putPart(slot, slice.offsetBytes, bytes, sha256));
      return { report: { unit, attempt, kind: "slice", sha256, warnings, counts }, durable };
    } finally {
      if (!isSent) this.#uploads.giveBack(buffer);
    }
  }

  /** However it ends, nothing of it is being written any more. */
  async #fill(work: SliceWork, output: SliceOutput): Promise<Omit<Computed, "buffer">> {
    try {
      return await this.#filled(work, output);
    } finally {
      await output.quiet();
    }
  }

  async #filled(work: SliceWork, output: SliceOutput): Promise<Omit<Computed, "buffer">> {
    const { slice } = work;
    this.#files.expect(
      slice.parts.map(({ firstElement, elementCount }, k) => {
        const task = work.tasks[k];
        return task === undefined ? [] : extentsOfRange(task, firstElement, elementCount);
      }),
    );
    output.makeWindow(Math.max(...work.tasks.map((task) => largestEmission(task, this.#pieceElements))));
    const warnings: string[] = [];
    if (work.preamble !== undefined) await output.put(work.preamble);
    for (const [k, part] of slice.parts.entries()) {
      const task = work.tasks[k];
      if (task === undefined) throw new Error(`slice ${slice.id} lacks task ${part.task}`);
      await output.keep(part.kept);
      const scope = this.#arena.scope();
      const said = [...(await this.#part(task, part, work.verdicts[k], output)), ...this.#merged.takeWarnings()];
      // Of a tensor that two slices compute, the first one speaks.
      if ((part.kept?.skipBytes ?? 0) === 0) warnings.push(...said);
      scope.end();
    }
    const [sha256] = await Promise.all([output.finish(), this.#current.watch.check()]);
    await this.#files.checkUnchanged();
    const counts = {
      bytesRead: this.#files.bytesRead,
      bytesWritten: output.bytesWritten,
      tensorsCut: this.#tensorsCut,
    };
    return { sha256, warnings, counts };
  }

  /**
   * After a failed sync the kernel may have thrown away what others wrote through the same handle, and will say so only once: nothing
   * written through it and not yet durable counts, and the handle is not used again.
   */
  async #sync(output: Output): Promise<void> {
    try {
      await output.file.sync();
    } catch (error) {
      output.failure ??= error;
      if (this.#outputs.get(output.file.place) === output) this.#outputs.delete(output.file.place);
    }
    if (output.failure !== undefined) throw output.failure;
  }

  /** Computes one part of a tensor into the sink; surveys first if that is this worker's to do. Returns warnings. */
  async #part(
    task: TensorTask,
    part: SlicePart,
    verdict: PlainData | undefined,
    sink: Sink,
  ): Promise<readonly string[]> {
    if (task.kind !== "merge") {
      await this.#looked(() => this.#other(this.#range(task, [part.firstElement, part.elementCount], sink, {})));
      return [];
    }
    const method = methodNamed(task.method);
    if (part.partCount > 1) {
      const range = this.#range(task, [part.firstElement, part.elementCount], sink, { part: part.part });
      const step = method.begin(task);
      // What a survey has read was looked at then.
      range.check = range.check && "verdict" in step;
      const settled = "verdict" in step ? step.verdict : verdict;
      if (settled === undefined) throw new Error(`${task.name} came without its verdict`);
      await this.#looked(() => method.merge(range, settled));
      return [];
    }
    return this.#wholeTensor(method, task, sink);
  }

  /** Computes a range; where values turn out not to be finite, that is what is said, whatever came of them. */
  async #looked<T>(compute: () => Promise<T>): Promise<T> {
    try {
      const result = await compute();
      if (!this.#isAsynchronous) await this.#current.watch.check();
      return result;
    } catch (error) {
      await this.#current.watch.check();
      throw error;
    }
  }

  /** A range of a task that is no merge. */
  #other(range: RangeWork): Promise<void> {
    const { task } = range;
    if (task.kind === "copy") return copyRange(range);
    return quantiseRange(range, this.#merged.keyOf(task.base ?? task), this.#scales, this.#budget.keptBytes ?? 0);
  }

  /** All rounds of a tensor inside this worker: as one range if the budget allows, else cut as the coordinator would cut it. */
  async #wholeTensor(method: MethodDefinition, task: TensorTask, sink: Sink): Promise<readonly string[]> {
    const ranges = this.#rangesOf(task);
    if (ranges.length > 1) this.#tensorsCut++;
    const [only] = ranges;
    // A single range keeps its buffers from round to round, and its inputs where they have room.
    const keeps = keepsInputs(task, method, this.#budget.keptBytes ?? 0);
    const single = ranges.length === 1 && only !== undefined ? this.#range(task, only, sink, { keeps }) : undefined;
    const inRange = async <T>(part: number, into: Sink | undefined, use: (context: RangeWork) => Promise<T>) => {
      const scope = this.#arena.scope();
      const range = ranges[part];
      if (range === undefined) throw new Error(`${task.name} has no range ${part}`);
      const result = await this.#looked(() => use(single ?? this.#range(task, range, into, { part })));
      if (single === undefined) scope.end();
      return result;
    };
    const rounds = new Rounds(method, task, ranges.length);
    const survey = (part: number) =>
      inRange(part, undefined, async (context) => {
        context.check = context.check && rounds.firstRound;
        const summary = await method.survey(context, rounds.request);
        await this.#hooks.pause();
        return summary;
      });
    const { verdict, warnings = [] } = await rounds.run(survey, () => this.#hooks.moved?.(0));
    for (const part of ranges.keys()) {
      await inRange(part, sink, (context) => {
        context.check = context.check && rounds.round === 0;
        return method.merge(context, verdict);
      });
    }
    return warnings;
  }

  #rangesOf(task: TensorTask): [firstElement: number, elementCount: number][] {
    const { elementCount, blockElements } = geometryOfTask(task);
    if (elementCount <= this.#budget.rangeElements) return [[0, elementCount]];
    const length = Math.max(1, Math.floor(this.#budget.rangeElements / blockElements)) * blockElements;
    const count = Math.ceil(elementCount / length);
    return Array.from({ length: count }, (_, k) => [k * length, Math.min(length, elementCount - k * length)]);
  }

  get #pieceElements(): number {
    return this.#budget.pieceElements ?? this.#arena.device.limits.pieceElements;
  }

  #range(
    task: TensorTask,
    [firstElement, elementCount]: readonly [number, number],
    sink: Sink | undefined,
    { part = 0, cuts = [firstElement], keeps = false }: { part?: number; cuts?: readonly number[]; keeps?: boolean },
  ): RangeWork {
    const { spareBytes } = this.#budget;
    const { seed, allowNonfinite } = this.#job;
    const specification = {
      task,
      seed,
      allowNonfinite,
      firstElement,
      elementCount,
      cuts,
      part,
      keepsInputs: keeps,
      spareBytes,
      heldBytes: this.#heldBytes,
      pieceElements: this.#pieceElements,
      mergedBlocks: this.#merged,
      products: this.#products,
    };
    return new RangeWork(this.#current, sink, specification);
  }

  async #survey(work: Assignment & SurveyWork): Promise<Report> {
    const { unit, attempt, task, parts } = work;
    const [first] = parts;
    if (first === undefined) throw new Error(`survey ${unit} has no parts`);
    const elementCount = parts.reduce((sum, part) => sum + part.elementCount, 0);
    this.#files.expect([extentsOfRange(task, first.firstElement, elementCount)]);
    const range = this.#range(task, [first.firstElement, elementCount], undefined, {
      part: first.part,
      cuts: parts.map((part) => part.firstElement),
    });
    range.check = range.check && work.firstRound;
    const summary = await this.#looked(() => methodNamed(task.method).survey(range, work.request));
    await this.#current.watch.check();
    await this.#files.checkUnchanged();
    return {
      unit,
      attempt,
      kind: "survey",
      summary,
      counts: { bytesRead: this.#files.bytesRead, bytesWritten: 0, tensorsCut: 0 },
    };
  }

  /** Reads what was written back through a fresh handle: SHA-256 of each range, or of the file. */
  async #seal(work: SealWork): Promise<string[]> {
    const file = await this.#store.open(work.path);
    try {
      if (work.kind === "seal-file" && work.ranges !== undefined)
        return await this.#sealAtOnce(file, work.sizeBytes, work.ranges);
      const buffer = new Uint8Array(SEAL_BUFFER_BYTES);
      const hashes: string[] = [];
      for (const { offsetBytes, sizeBytes } of sealRanges(work)) {
        const hash = createHash("sha256");
        for (let at = 0; at < sizeBytes; at += buffer.length) {
          const view = buffer.subarray(0, Math.min(buffer.length, sizeBytes - at));
          await file.read(offsetBytes + at, view);
          hash.update(view);
          await this.#hooks.moved?.(view.length);
        }
        hashes.push(hash.digest("hex"));
        await this.#hooks.pause();
      }
      return hashes;
    } finally {
      await file.close();
    }
  }

  /** All of a file and its ranges by one reading. It is far: several windows are on their way while one is hashed. */
  async #sealAtOnce(file: Readable, sizeBytes: number, ranges: readonly SealRange[]): Promise<string[]> {
    const hashes = new RangeHashes(ranges);
    const whole = createHash("sha256");
    const windows = readAhead(file, sizeBytes, { windowBytes: SEAL_WINDOW_BYTES, ahead: SEAL_WINDOWS_AHEAD });
    try {
      for (;;) {
        const { done, value } = await whileSigning(windows.next(), () => this.#hooks.moved?.(0));
        if (done === true) return [whole.digest("hex"), ...hashes.digests()];
        whole.update(value);
        hashes.update(value);
        await this.#hooks.pause();
      }
    } finally {
      await windows.return(undefined);
    }
  }

  async #output(path: Place): Promise<Output> {
    const known = this.#outputs.get(path);
    if (known !== undefined) return known;
    const output: Output = { file: await this.#store.openForWriting(path, { links: "refuse" }), failure: undefined };
    this.#outputs.set(path, output);
    return output;
  }
}

/** Output bytes of the longest chunk of a task. */
function largestEmission(task: TensorTask, pieceElements: number): number {
  const { blockElements, elementCount } = geometryOfTask(task);
  const blocks = chunkBlocksOf(elementCount, blockElements, pieceElements);
  return Math.min(blocks * blockElements, elementCount) * dtypeBytes[task.dtype];
}

/** A task of kind copy: bytes as they are, or rounded to the task's dtype. */
async function copyRange(range: RangeWork): Promise<void> {
  const { task } = range;
  const source = task.base ?? task.models[0];
  if (source === undefined) throw new Error(`${task.name} has nothing to be copied from`);
  for (const chunk of range.chunks("pieces")) {
    if (source.dtype === task.dtype) await range.emitBytes(chunk, await range.read(source, chunk));
    else await range.emit(chunk, await range.readF32(source, chunk, "copied"));
  }
}
