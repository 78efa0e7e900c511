import { type MethodDefinition, methodNamed, type Steps, stepsOf } from "../../merge/methods/index.ts";
import {
  geometryOfTask,
  type PlainData,
  type Plan,
  type SlicePart,
  type Step,
  type TensorTask,
  type UnitId,
} from "../../merge/work/index.ts";

/** What the coordinator does of a method: it reads no tensor. */
export type Rounds = Pick<MethodDefinition, "begin" | "readSummary" | "fold" | "settle">;

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
  readonly #method: Rounds;
  #step: Step;
  #round = 0;
  #ranges: readonly SurveyRange[] = [];
  #rangeOf: ReadonlyMap<UnitId, SurveyRange> = new Map();
  /** Of ranges that came before their turn; `taken` is called when that has come, or never will. */
  readonly #waiting = new Map<UnitId, { readonly summary: PlainData; readonly taken: () => void }>();
  /** All ranges before this one are folded, or are being. */
  #next = 0;
  #folded: PlainData | undefined;
  #steps: Steps<PlainData> | undefined;
  #settling: Steps<Step> | undefined;

  /** `method`: by default the task's. */
  constructor(plan: Plan, index: number, rangeElements: number, method?: Rounds) {
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

  /** What is asked now. */
  get request(): PlainData {
    if ("request" in this.#step) return this.#step.request;
    throw new Error(`nothing is asked of ${this.task.name}: its rounds are over`);
  }

  /** Begins the next round. Ranges hold as many whole parts as `rangeElements` allows, one at least. */
  beginRound(): readonly SurveyRange[] {
    this.#round++;
    for (const { taken } of this.#waiting.values()) taken();
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

  /**
   * A summary as a worker gave it, once it is known to be what was asked for; undefined: of another round.
   * @throws MethodError `method/other-summary`, at any step
   */
  read(unit: UnitId, summary: PlainData): Steps<PlainData> | undefined {
    const parts = this.#rangeOf.get(unit)?.parts;
    if (parts === undefined) return undefined;
    const { elementCount: all, blockElements } = geometryOfTask(this.task);
    const elementCount = parts.reduce((sum, part) => sum + part.elementCount, 0);
    const blocks = Math.ceil(elementCount / blockElements);
    const surveyed = { elementCount, blocks, parts: parts.length, whole: elementCount === all };
    return stepsOf(this.#method.readSummary(this.task, this.request, summary, surveyed));
  }

  /** Before it none can be folded; undefined: all are, or are being. */
  get due(): UnitId | undefined {
    return this.#ranges[this.#next]?.unit;
  }

  /** Safe to repeat. What is of another round is passed over. `taken`: called when its turn has come, or never will. */
  keep(unit: UnitId, summary: PlainData, taken: () => void = () => {}): void {
    const at = this.#rangeOf.get(unit)?.index ?? -1;
    this.#waiting.get(unit)?.taken();
    if (at >= this.#next) this.#waiting.set(unit, { summary, taken });
    else taken();
  }

  /** Folds what can be folded now, in steps of some milliseconds: true after a step, false when nothing is left to be done. */
  foldStep(): boolean {
    for (;;) {
      const step = this.#steps?.next();
      if (step?.done === false) return true;
      if (step !== undefined) this.#folded = step.value;
      this.#steps = undefined;
      const unit = this.due;
      const kept = unit === undefined ? undefined : this.#waiting.get(unit);
      if (unit === undefined || kept === undefined) return false;
      this.#waiting.delete(unit);
      this.#next++;
      if (this.#folded === undefined) this.#folded = kept.summary;
      else this.#steps = this.#method.fold(this.#folded, kept.summary);
      kept.taken();
    }
  }

  /** All ranges are in and folded, or are folded now. Settles in steps: true after one, false once `step` is what follows. */
  settleStep(): boolean {
    if (this.#settling === undefined) {
      while (this.foldStep());
      if (this.due !== undefined) throw new Error(`${this.due} was settled before it was surveyed`);
      const whole = this.#folded;
      if (whole === undefined) throw new Error(`${this.task.name} was settled before it was surveyed`);
      this.#folded = undefined;
      this.#settling = stepsOf<Step>(this.#method.settle(this.task, this.request, whole));
    }
    const { done, value } = this.#settling.next();
    if (done !== true) return true;
    this.#settling = undefined;
    this.#step = value;
    return false;
  }

  /** All steps at once. */
  settle(): Step {
    while (this.settleStep());
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
