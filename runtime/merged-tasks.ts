import { createHash } from "node:crypto";
import { dtypeBytes } from "../checkpoint/index.ts";
import type { Address, Arena } from "../merge/engines/index.ts";
import { methodNamed, Rounds } from "../merge/methods/index.ts";
import {
  canonicalJson,
  geometryOfTask,
  type MergedSource,
  type PlainData,
  type TensorTask,
} from "../merge/work/index.ts";
import type { RangeWork, Sink } from "./range-work.ts";
import type { MergedBlocks } from "./sources/source-reader.ts";

/** A range of a task's tensor, made for the moment. `part` and `cuts`: see RangeContext. */
export type MakeRange = (
  task: TensorTask,
  range: readonly [firstElement: number, elementCount: number],
  sink: Sink | undefined,
  cutting: { readonly part: number; readonly cuts: readonly number[] },
) => RangeWork;

/** What merged sources need of the worker that reads them. */
export interface MergedSurroundings {
  readonly arena: Arena;
  readonly range: MakeRange;
  /** Computes a range of a task that is no merge. */
  readonly other: (range: RangeWork) => Promise<void>;
  /** Elements surveyed at once. */
  readonly rangeElements: number;
  readonly pause: () => Promise<void>;
  /** Called between steps of what takes long. */
  readonly moved: () => Promise<void> | undefined;
}

/** A tensor cut over many slices asks for its verdict again and again; the ones before it are done with. */
const VERDICTS_MAX = 16;

/**
 * Tasks within tasks: evaluates blocks of a tensor that exists nowhere. Each block is a part of its own, so that ties at a threshold
 * fall where they would if the tensor had been merged in one piece.
 */
export class MergedTasks implements MergedBlocks {
  readonly #with: MergedSurroundings;
  readonly #keys = new WeakMap<object, string>();
  readonly #verdicts = new Map<string, PlainData>();
  /** Of inner tasks since they were last taken. */
  #warnings: string[] = [];

  constructor(surroundings: MergedSurroundings) {
    this.#with = surroundings;
  }

  takeWarnings(): readonly string[] {
    const warnings = this.#warnings;
    this.#warnings = [];
    return warnings;
  }

  async block(source: MergedSource, block: number, check: boolean, into: Uint8Array): Promise<void> {
    const { arena } = this.#with;
    const { elementCount, blockElements } = geometryOfTask(source.task);
    const sizeBytes = Math.min(blockElements, elementCount - block * blockElements) * dtypeBytes[source.task.dtype];
    const scope = arena.scope();
    const place = arena.allocate(sizeBytes);
    await this.blocks(source, block, 1, check, place);
    into.set(await arena.download(place, sizeBytes));
    scope.end();
  }

  async blocks({ task }: MergedSource, first: number, count: number, check: boolean, into: Address): Promise<void> {
    const verdict = task.kind === "merge" ? await this.#verdictOf(task) : null;
    const step = this.#blocksTogether(task);
    for (let block = first; block < first + count; block += step) {
      const scope = this.#with.arena.scope();
      const { blockElements } = geometryOfTask(task);
      const place = into + (block - first) * blockElements * dtypeBytes[task.dtype];
      const { range: made, ...cutting } = rangeOfBlocks(task, block, Math.min(step, first + count - block));
      const range = this.#with.range(task, made, sinkInto(place), cutting);
      if (task.kind !== "merge") {
        range.check = check;
        await this.#with.other(range);
      } else {
        const method = methodNamed(task.method);
        // Of others a survey has looked at the values.
        range.check = check && "verdict" in method.begin(task);
        await method.merge(range, verdict);
      }
      scope.end();
    }
  }

  async #verdictOf(task: TensorTask): Promise<PlainData> {
    const method = methodNamed(task.method);
    const step = method.begin(task);
    if ("verdict" in step) return step.verdict;
    const key = this.keyOf(task);
    const known = this.#verdicts.get(key);
    if (known !== undefined) return known;
    const ranges = this.#surveyRanges(task);
    const rounds = new Rounds(method, task, ranges.length);
    const survey = async (k: number) => {
      const surveyed = ranges[k];
      if (surveyed === undefined) throw new Error(`${task.name} has no range ${k}`);
      const { range: made, ...cutting } = surveyed;
      const scope = this.#with.arena.scope();
      const range = this.#with.range(task, made, undefined, cutting);
      range.check = range.check && rounds.firstRound;
      const summary = await method.survey(range, rounds.request);
      scope.end();
      await this.#with.pause();
      return summary;
    };
    const { verdict, warnings = [] } = await rounds.run(survey, this.#with.moved);
    this.#warnings.push(...warnings);
    const [oldest] = this.#verdicts.keys();
    if (this.#verdicts.size >= VERDICTS_MAX && oldest !== undefined) this.#verdicts.delete(oldest);
    this.#verdicts.set(key, verdict);
    return verdict;
  }

  /** Ranges of as many blocks as the budget allows; every block is a part. */
  #surveyRanges(task: TensorTask) {
    const { elementCount, blockElements } = geometryOfTask(task);
    const blockCount = Math.ceil(elementCount / blockElements);
    const step = this.#blocksTogether(task);
    return Array.from({ length: Math.ceil(blockCount / step) }, (_, k) =>
      rangeOfBlocks(task, k * step, Math.min(step, blockCount - k * step)),
    );
  }

  #blocksTogether(task: TensorTask): number {
    return Math.max(1, Math.floor(this.#with.rangeElements / geometryOfTask(task).blockElements));
  }

  /** A name for plain data that is the same for equal data of other assignments. */
  keyOf(data: object): string {
    const known = this.#keys.get(data);
    if (known !== undefined) return known;
    const key = createHash("sha256").update(canonicalJson(data)).digest("hex");
    this.#keys.set(data, key);
    return key;
  }
}

/** So many blocks from one on, each a part of its own. */
function rangeOfBlocks(task: TensorTask, block: number, blockCount: number) {
  const { elementCount, blockElements } = geometryOfTask(task);
  const first = block * blockElements;
  const count = Math.min(blockCount * blockElements, elementCount - first);
  const cuts = Array.from({ length: blockCount }, (_, k) => first + k * blockElements);
  return { range: [first, count] as const, part: block, cuts };
}

/** Results one after another from an address on. */
function sinkInto(place: Address): Sink {
  let filled = 0;
  return {
    reserve: async () => place + filled,
    commit: (sizeBytes) => {
      filled += sizeBytes;
    },
  };
}
