import { type MethodDefinition, methodNamed, type Steps } from "../../merge/methods/index.ts";
import type { Plan, SlicePart, Step, TensorTask, UnitId } from "../../merge/work/index.ts";

/** A range of a cut tensor that one worker surveys: neighbouring parts. */
export interface SurveyRange {
  readonly unit: UnitId;
  /** Among the ranges of its round, from the front of the tensor on. */
  readonly index: number;
  readonly parts: readonly SlicePart[];
}

/**
 * The rounds of one cut tensor: what is asked now, and what has been answered. Folding is in range order, whatever comes first: what
 * came before its turn is kept, the rest is folded as it comes.
 */
export class TensorRounds {
  readonly task: TensorTask;
  /** Of the task in the plan. */
  readonly index: number;
  readonly #parts: readonly SlicePart[];
  readonly #rangeElements: number;
  readonly #method: Pick<MethodDefinition, "begin" | "fold" | "settle">;
  #step: Step;
  #round = 0;
  #ranges: readonly SurveyRange[] = [];
  #rangeOf: ReadonlyMap<UnitId, SurveyRange> = new Map();
  /** Of ranges that came before their turn. */
  readonly #waiting = new Map<UnitId, unknown>();
  /** All ranges before this one are folded, or are being. */
  #next = 0;
  #folded: unknown;
  #steps: Steps<unknown> | undefined;

  /** `method`: by default the task's. */
  constructor(
    plan: Plan,
    index: number,
    rangeElements: number,
    method?: Pick<MethodDefinition, "begin" | "fold" | "settle">,
  ) {
    const task = plan.tasks[index];
    if (task === undefined) throw new Error(`the plan has no task ${index}`);
    this.task = task;
    this.index = index;
    this.#parts = partsOf(plan).get(index) ?? [];
    this.#rangeElements = rangeElements;
    this.#method = method ?? methodNamed(task.method);
    this.#step = this.#method.begin(task);
  }

  /** The verdict, where no (more) survey is needed. */
  get step(): Step {
    return this.#step;
  }

  get firstRound(): boolean {
    return this.#round === 1;
  }

  get request(): unknown {
    return "request" in this.#step ? this.#step.request : undefined;
  }

  /** Begins the next round. Ranges hold as many whole parts as `rangeElements` allows, one at least. */
  beginRound(): readonly SurveyRange[] {
    this.#round++;
    this.#waiting.clear();
    this.#next = 0;
    this.#folded = undefined;
    this.#steps = undefined;
    const groups: SlicePart[][] = [];
    let elements = 0;
    for (const part of this.#parts) {
      const group = groups.at(-1);
      if (group !== undefined && elements + part.elementCount <= this.#rangeElements) {
        group.push(part);
        elements += part.elementCount;
      } else {
        groups.push([part]);
        elements = part.elementCount;
      }
    }
    this.#ranges = groups.map((parts, k) => {
      return { unit: `survey-${this.index}-${this.#round}-${k}` as UnitId, index: k, parts };
    });
    this.#rangeOf = new Map(this.#ranges.map((range) => [range.unit, range]));
    return this.#ranges;
  }

  range(unit: UnitId): SurveyRange | undefined {
    return this.#rangeOf.get(unit);
  }

  /** Safe to repeat. What is of another round is passed over. */
  keep(unit: UnitId, summary: unknown): void {
    const at = this.#rangeOf.get(unit)?.index ?? -1;
    if (at >= this.#next) this.#waiting.set(unit, summary);
  }

  /** Folds what can be folded now, in steps of some milliseconds: true after a step, false when nothing is left to be done. */
  foldStep(): boolean {
    for (;;) {
      const { done, value } = this.#steps?.next() ?? { done: true, value: this.#folded };
      if (done !== true) return true;
      this.#folded = value;
      this.#steps = undefined;
      const unit = this.#ranges[this.#next]?.unit;
      if (unit === undefined || !this.#waiting.has(unit)) return false;
      const summary = this.#waiting.get(unit);
      this.#waiting.delete(unit);
      if (this.#next++ === 0) this.#folded = summary;
      else this.#steps = this.#method.fold(this.#folded, summary);
    }
  }

  /** All ranges are in and folded, or are folded now. */
  settle(): Step {
    while (this.foldStep());
    const missing = this.#ranges[this.#next];
    if (missing !== undefined) throw new Error(`${missing.unit} was settled before it was surveyed`);
    const whole = this.#folded;
    this.#folded = undefined;
    this.#step = this.#method.settle(this.task, this.request, whole);
    return this.#step;
  }
}

const partsOfPlans = new WeakMap<Plan, ReadonlyMap<number, readonly SlicePart[]>>();

/** Parts of each task in the order of the tensor; found once a plan, since a job begins the rounds of all its cut tensors at once. */
function partsOf(plan: Plan): ReadonlyMap<number, readonly SlicePart[]> {
  const known = partsOfPlans.get(plan);
  if (known !== undefined) return known;
  const byTask = new Map<number, SlicePart[]>();
  for (const { parts } of plan.slices) {
    for (const part of parts) {
      const ofTask = byTask.get(part.task);
      if (ofTask === undefined) byTask.set(part.task, [part]);
      else ofTask.push(part);
    }
  }
  partsOfPlans.set(plan, byTask);
  return byTask;
}
