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
export class MergedTasks {
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

  /** A block's bytes, in the dtype of the task. `check`: whether stored values are looked at, unless a survey did. */
  readonly block = async ({ task }: MergedSource, block: number, check: boolean): Promise<Uint8Array> => {
    const { arena } = this.#with;
    const { elementCount, blockElements } = geometryOfTask(task);
    const firstElement = block * blockElements;
    const count = Math.min(blockElements, elementCount - firstElement);
    const sizeBytes = count * dtypeBytes[task.dtype];
    const verdict = task.kind === "merge" ? await this.#verdictOf(task) : null;
    const scope = arena.scope();
    const place = arena.allocate(sizeBytes);
    const range = this.#with.range(task, [firstElement, count], sinkInto(place), { part: block, cuts: [firstElement] });
    if (task.kind !== "merge") {
      range.check = check;
      await this.#with.other(range);
    } else {
      const method = methodNamed(task.method);
      range.check = check && "verdict" in method.begin(task);
      await method.merge(range, verdict);
    }
    const bytes = (await arena.download(place, sizeBytes)).slice();
    scope.end();
    return bytes;
  };

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
      const { first, count, part, cuts } = surveyed;
      const scope = this.#with.arena.scope();
      const range = this.#with.range(task, [first, count], undefined, { part, cuts });
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
    const blocks = Math.max(1, Math.floor(this.#with.rangeElements / blockElements));
    const ranges: { first: number; count: number; part: number; cuts: readonly number[] }[] = [];
    for (let first = 0; first < elementCount; first += blocks * blockElements) {
      const count = Math.min(blocks * blockElements, elementCount - first);
      const cuts = Array.from({ length: Math.ceil(count / blockElements) }, (_, k) => first + k * blockElements);
      ranges.push({ first, count, part: first / blockElements, cuts });
    }
    return ranges;
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
