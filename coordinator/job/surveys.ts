import { type MethodDefinition, methodNamed, Rounds, type Steps, stepsOf } from "../../merge/methods/index.ts";
import {
  geometryOfTask,
  type PlainData,
  type Plan,
  partsOfTensors,
  type SlicePart,
  surveyRanges,
  type UnitId,
} from "../../merge/work/index.ts";

/** What the coordinator does of a method: it reads no tensor. */
export type MethodRounds = Pick<MethodDefinition, "begin" | "readSummary" | "fold" | "settle">;

/** A range of a cut tensor that one worker surveys: neighbouring parts. */
export interface SurveyRange {
  readonly unit: UnitId;
  /** Among the ranges of its round, from the front of the tensor on. */
  readonly index: number;
  readonly parts: readonly SlicePart[];
}

/** The rounds of one cut tensor, its ranges as units. */
export class TensorRounds extends Rounds {
  /** Of the task in the plan. */
  readonly index: number;
  readonly #groups: readonly (readonly SlicePart[])[];
  readonly #method: MethodRounds;
  #ranges: readonly SurveyRange[] = [];
  #rangeOf: ReadonlyMap<UnitId, SurveyRange> = new Map();

  /** `method`: by default the task's. */
  constructor(plan: Plan, index: number, rangeElements: number, method?: MethodRounds) {
    const task = plan.tasks[index];
    if (task === undefined) throw new Error(`the plan has no task ${index}`);
    const rounds = method ?? methodNamed(task.method);
    const groups = surveyRanges(partsOfTensors(plan).get(index) ?? [], rangeElements);
    super(rounds, task, groups.length);
    this.index = index;
    this.#groups = groups;
    this.#method = rounds;
  }

  override begin(): void {
    super.begin();
    this.#ranges = this.#groups.map((parts, k) => {
      return { unit: `survey-${this.index}-${this.round}-${k}` as UnitId, index: k, parts };
    });
    this.#rangeOf = new Map(this.#ranges.map((range) => [range.unit, range]));
  }

  /** Begins the next round. */
  beginRound(): readonly SurveyRange[] {
    this.begin();
    return this.#ranges;
  }

  /** Of the round under way. */
  get ranges(): readonly SurveyRange[] {
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
    return this.dueRange === undefined ? undefined : this.#ranges[this.dueRange]?.unit;
  }

  /** Safe to repeat. What is of another round is passed over. `taken`: called when its turn has come, or never will. */
  keep(unit: UnitId, summary: PlainData, taken: () => void = () => {}): void {
    const range = this.#rangeOf.get(unit);
    if (range === undefined) taken();
    else this.take(range.index, summary, taken);
  }
}
