import type { PlainData, Step, TensorTask } from "../work/index.ts";
import type { MethodDefinition } from "./definition.ts";
import { type Steps, stepsOf } from "./steps.ts";

/** A summary that came before its turn; `taken` is called when that has come, or never will. */
interface Kept {
  readonly summary: PlainData;
  readonly taken: () => void;
}

/**
 * The rounds of one tensor, whoever surveys its ranges: what is asked now, what has been answered, and what follows. Folding is in
 * range order, whatever comes first: what came before its turn is kept, the rest is folded as it comes. No tensor is read here.
 */
export class Rounds {
  readonly task: TensorTask;
  readonly #method: Pick<MethodDefinition, "begin" | "fold" | "settle">;
  /** In how many ranges it is surveyed, the same in every round. */
  readonly #ranges: number;
  #step: Step;
  #round = 0;
  readonly #waiting = new Map<number, Kept>();
  /** All ranges before this one are folded, or are being. */
  #next = 0;
  #folded: PlainData | undefined;
  #steps: Steps<PlainData> | undefined;
  #settling: Steps<Step> | undefined;

  constructor(method: Pick<MethodDefinition, "begin" | "fold" | "settle">, task: TensorTask, ranges: number) {
    this.task = task;
    this.#method = method;
    this.#ranges = ranges;
    this.#step = method.begin(task);
  }

  /** The verdict, where no (more) survey is needed. */
  get step(): Step {
    return this.#step;
  }

  /** Of the round under way; 0 before the first. */
  get round(): number {
    return this.#round;
  }

  /** In the first round every value is looked at. */
  get firstRound(): boolean {
    return this.#round === 1;
  }

  /** What is asked now. */
  get request(): PlainData {
    if ("request" in this.#step) return this.#step.request;
    throw new Error(`nothing is asked of ${this.task.name}: its rounds are over`);
  }

  begin(): void {
    this.#round++;
    for (const { taken } of this.#waiting.values()) taken();
    this.#waiting.clear();
    this.#next = 0;
    this.#folded = undefined;
    this.#steps = undefined;
  }

  /** Before it none can be folded; undefined: all are, or are being. */
  get dueRange(): number | undefined {
    return this.#next < this.#ranges ? this.#next : undefined;
  }

  /** The summary of a range of this round. Safe to repeat. */
  take(range: number, summary: PlainData, taken: () => void = () => {}): void {
    this.#waiting.get(range)?.taken();
    if (range >= this.#next) this.#waiting.set(range, { summary, taken });
    else taken();
  }

  /** Folds what can be folded now, in steps of some milliseconds: true after a step, false when nothing is left to be done. */
  foldStep(): boolean {
    for (;;) {
      const step = this.#steps?.next();
      if (step?.done === false) return true;
      if (step !== undefined) this.#folded = step.value;
      this.#steps = undefined;
      const kept = this.#waiting.get(this.#next);
      if (kept === undefined) return false;
      this.#waiting.delete(this.#next);
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
      const whole = this.#folded;
      if (whole === undefined || this.dueRange !== undefined) {
        throw new Error(`${this.task.name} was settled before its range ${this.#next} was surveyed`);
      }
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

  /**
   * All rounds in one place, a range after another: their verdict. `survey`: reads a range for `request`. `turn`: called between steps of
   * what takes long.
   */
  async run(
    survey: (range: number) => Promise<PlainData>,
    turn: () => Promise<void> | undefined = () => undefined,
  ): Promise<Extract<Step, { readonly verdict: PlainData }>> {
    while ("request" in this.#step) {
      this.begin();
      for (let range = 0; range < this.#ranges; range++) {
        this.take(range, await survey(range));
        while (this.foldStep()) await turn();
      }
      while (this.settleStep()) await turn();
    }
    return this.#step;
  }
}
