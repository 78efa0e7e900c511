import { type MethodDefinition, methodNamed } from "../../merge/methods/index.ts";
import type { Plan, SlicePart, Step, TensorTask, UnitId } from "../../merge/work/index.ts";

/** A range of a cut tensor that one worker surveys: neighbouring parts. */
export interface SurveyRange {
  readonly unit: UnitId;
  readonly parts: readonly SlicePart[];
}

/** The rounds of one cut tensor: what is asked now, and what has been answered. Folding is in range order, whatever comes first. */
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
  #summaries = new Map<UnitId, unknown>();

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
    this.#summaries = new Map();
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
    this.#ranges = groups.map((parts, k) => ({ unit: `survey-${this.index}-${this.#round}-${k}` as UnitId, parts }));
    this.#rangeOf = new Map(this.#ranges.map((range) => [range.unit, range]));
    return this.#ranges;
  }

  range(unit: UnitId): SurveyRange | undefined {
    return this.#rangeOf.get(unit);
  }

  /** Safe to repeat. What is of another round is passed over. */
  keep(unit: UnitId, summary: unknown): void {
    if (this.#rangeOf.has(unit)) this.#summaries.set(unit, summary);
  }

  /** All ranges are in: folds them in order and settles. */
  settle(): Step {
    const method = this.#method;
    let folded: unknown;
    for (const [k, { unit }] of this.#ranges.entries()) {
      const summary = this.#summaries.get(unit);
      if (summary === undefined) throw new Error(`${unit} was settled before it was surveyed`);
      folded = k === 0 ? summary : method.fold(folded, summary);
    }
    this.#summaries = new Map();
    this.#step = method.settle(this.task, this.request, folded);
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
