import { aheadIn, type Dtype, isComputed, isEmbeddingLike, isFloatDtype, isFormatNote } from "../checkpoint/index.ts";
import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { ModelSource, TensorTask } from "../merge/work/index.ts";
import { AbsentTensors } from "./absent-tensors.ts";
import { codesOf } from "./calibration.ts";
import { perExpert } from "./experts.ts";
import type { Findings } from "./findings.ts";
import { type IntegerCopy, integerCopies } from "./integer-copies.ts";
import { asStoredRow } from "./listed-rows.ts";
import { dtypeOf, type ModelEntry, type RecipeModel } from "./model-entry.ts";
import type { Note } from "./note.ts";
import { outputDtype } from "./output-dtype.ts";
import { type Participant, type Present, sourceOf, type TensorPlace } from "./participant.ts";
import { type Recipe, settingsInOrder } from "./recipe.ts";
import { quantisedTasks } from "./scaled-model.ts";
import { ShapeDecision } from "./shape-decision.ts";
import { TensorParameters } from "./tensor-parameters.ts";
import type { TokenBinder } from "./token-binder.ts";
import { OTHER_SHAPE, UsageLedger } from "./usage-ledger.ts";
import type { VocabularyCheck } from "./vocabulary-check.ts";
import { isZeroByCondition, zeroReason } from "./zero-weight.ts";

export interface TensorBinderParts {
  readonly recipe: Recipe;
  readonly inputs: readonly RecipeModel[];
  readonly method: MethodDeclaration;
  readonly findings: Findings;
  /** Undefined where the output has no vocabulary of its own; then vocabularies are compared. */
  readonly tokens: TokenBinder | undefined;
  readonly vocabularies: VocabularyCheck;
  /** Where it is not known, any tensor may be missing in a model. */
  readonly knowsArchitecture: boolean;
  /** Whether that was told. */
  readonly isTold: boolean;
}

/** Makes the task of one output tensor after another, and notes what is out of the ordinary. */
export class TensorBinder {
  readonly tasks: TensorTask[] = [];
  readonly notes: Note[] = [];
  readonly usage = new UsageLedger();
  readonly integers: IntegerCopy[] = [];
  readonly #recipe: Recipe;
  readonly #method: MethodDeclaration;
  readonly #findings: Findings;
  readonly #parameters: TensorParameters;
  readonly #shapes: ShapeDecision;
  readonly #absent: AbsentTensors;
  readonly #inputs: readonly RecipeModel[];
  readonly #tokens: TokenBinder | undefined;
  readonly #vocabularies: VocabularyCheck;
  readonly #ahead = new Map<RecipeModel, (name: string) => boolean>();

  constructor(parts: TensorBinderParts) {
    const { recipe, inputs, method, findings, tokens, vocabularies } = parts;
    this.#recipe = recipe;
    this.#inputs = inputs;
    this.#method = method;
    this.#findings = findings;
    this.#tokens = tokens;
    this.#vocabularies = vocabularies;
    this.#parameters = new TensorParameters(recipe, method, findings);
    this.#shapes = new ShapeDecision(method, findings, this.notes, vocabularies);
    this.#absent = new AbsentTensors(method, findings, this.notes, parts);
  }

  /** Called once all tensors are bound: warns of conditions that fit none. */
  finish(): void {
    this.#parameters.conditions.report(this.#recipe, this.#method, this.#findings);
  }

  /** `name`: of the output tensor; `inputName`: of the same tensor in a participant. */
  bind(name: string, inputName: (participant: Participant) => string, place: TensorPlace): void {
    const present = place.participants.flatMap((participant): Present[] => {
      const entry = participant.input.checkpoint.tensors.get(inputName(participant));
      return entry === undefined ? [] : [this.#gathered(name, { ...participant, entry })];
    });
    const defining = present.find(({ source }) => source === place.defining.source);
    if (defining === undefined) throw new Error(`${name} is a tensor of the model that defines it`);
    if (this.#isOutOfUse(defining, place)) return;
    const dtype = isComputed(name, defining.entry.shape, defining.input.checkpoint.config)
      ? dtypeOf(defining.entry)
      : outputDtype(this.#recipe, name, defining.entry, place);
    if (present.length < place.participants.length && this.#isAhead(defining)(defining.entry.name)) {
      this.#absent.reportAhead(inputName, place, present);
      this.usage.use(defining, name, defining.entry);
      this.#copy(name, dtype, defining, "of layers that predict further tokens, which not all models have");
      return;
    }
    const reason = this.#reasonToCopy(place, present, defining);
    if (reason !== undefined) {
      this.#vocabularies.check(name, defining.entry.shape[0] ?? 0, [defining]);
      if (!isFloatDtype(defining.entry.dtype)) this.integers.push(...integerCopies(name, defining, present));
      if (present.length === 1 && !isMeasured(defining)) this.#absent.reportBaseAlone(name, inputName, place, defining);
      this.usage.use(defining, name, defining.entry);
      this.#copy(name, dtype, defining, reason);
      return;
    }
    const apart = this.#method.base !== "listed" && defining.isBase;
    const models = apart ? present.filter((one) => one.source !== defining.source) : present;
    if (!this.#absent.areFloats(name, models)) return;
    this.#absent.reportMissing(name, inputName, place, present);
    if (models.length < this.#method.models.min) {
      const named = place.participants.filter(({ isBase }) => !(apart && isBase));
      if (named.length < this.#method.models.min) {
        // The recipe names too few, which has been told: no model is to blame.
        for (const one of present) this.usage.use(one, name, one.entry);
        return;
      }
      this.#absent.leaveOut(name, models.length, place);
      for (const one of present) this.usage.leave(one, name, one.entry, "too few models have");
      return;
    }
    const agreed = this.#shapes.decide(name, apart ? defining : undefined, models);
    if (agreed === undefined) return;
    this.#vocabularies.check(name, agreed.shape[0] ?? 0, apart ? [defining, ...agreed.models] : agreed.models);
    for (const one of models) {
      if (!agreed.models.includes(one)) this.usage.leave(one, name, one.entry, OTHER_SHAPE);
    }
    if (apart) this.usage.use(defining, name, defining.entry);
    if (agreed.models.length === 0) this.#copy(name, dtype, defining, "no other model's shape fits the base's");
    else {
      const task = this.#mergeTask(name, dtype, apart ? defining : undefined, agreed.models, agreed.shape, place);
      this.#push(task, defining);
    }
  }

  /** With its rows in the order of the output's vocabulary, where it has one of its own. */
  #gathered(name: string, present: Present): Present {
    const { entry, inputIndex } = present;
    if (this.#tokens === undefined || !isEmbeddingLike(name) || !isFloatDtype(entry.dtype)) return present;
    const entryOf = (input: number) =>
      input === inputIndex ? entry : this.#inputs[input]?.checkpoint.tensors.get(name);
    const { runs, others } = this.#tokens.rows(inputIndex, entryOf);
    const parts = [inputIndex, ...others].flatMap((input) => {
      const part = entryOf(input);
      const filesOf = this.#inputs[input]?.filesOf;
      return part === undefined || filesOf === undefined ? [] : [{ filesOf, entry: part }];
    });
    const shape = [this.#tokens.rowCount, ...entry.shape.slice(1)];
    const elementCount = shape.reduce((product, size) => product * size, 1);
    return { ...present, entry: { ...entry, shape, elementCount }, gathered: { runs, parts } };
  }

  #reasonToCopy({ participants }: TensorPlace, present: readonly Present[], defining: Present): string | undefined {
    const { dtype, elementCount, written }: ModelEntry = defining.entry;
    if (isMeasured(defining)) return "what was measured of a model is copied as it is";
    if (!isFloatDtype(dtype)) return `${written?.dtype ?? dtype} tensors are copied, not merged`;
    if (elementCount === 0) return "an empty tensor is copied";
    if (isComputed(defining.entry.name, defining.entry.shape, defining.input.checkpoint.config))
      return "what a model computes by itself is copied as it is";
    return defining.isBase && participants.length > 1 && present.length === 1 ? "only the base has it" : undefined;
  }

  /** Names as the model has them. */
  #isAhead({ input }: Pick<Participant, "input">): (name: string) => boolean {
    const known = this.#ahead.get(input) ?? aheadIn(input.checkpoint);
    this.#ahead.set(input, known);
    return known;
  }

  /** Whether a scale is about the activations of codes that are written as values. */
  #isOutOfUse({ entry, input, source }: Present, place: Pick<TensorPlace, "silentBase" | "defining">): boolean {
    const codes = isMeasured({ entry }) ? codesOf(entry.name, input.checkpoint.tensors) : undefined;
    if (codes === undefined) return false;
    if (!outputDtype(this.#recipe, codes.name, codes, place).startsWith("F8_")) return true;
    if (this.#method.name === "passthrough" || isFormatNote(entry.name)) return false;
    const message = `${entry.name} was measured of "${input.label}" as it ran, and is copied from it: the merge is another model`;
    const hint =
      "Its fp8 codes cannot be used without it. Calibrate the output anew, or let activations be scaled as it runs.";
    this.#findings.repeated("warning", input.label, "recipe/tensor-skipped", source.place, message, hint);
    return false;
  }

  #copy(name: string, dtype: Dtype, from: Present, reason: string): void {
    this.notes.push({ tensor: name, input: from.input.label, reason });
    const [method, shape] = [this.#method.name, from.entry.shape];
    const base = sourceOf(from, name);
    this.#push({ name, kind: "copy", method, dtype, shape, parameters: {}, base, models: [] }, from);
  }

  /** As it is, or as codes with scales where the defining model has such and fp8 is written. */
  #push(listed: TensorTask, { entry }: { readonly entry: ModelEntry }): void {
    const { scaled, written } = entry;
    const task = asStoredRow(listed, entry);
    const { dtype } = task;
    if (written !== undefined) {
      this.tasks.push({ ...task, written });
      return;
    }
    if (scaled === undefined || (dtype !== "F8_E4M3" && dtype !== "F8_E5M2")) this.tasks.push(...perExpert(task));
    else {
      const tasks = quantisedTasks(asCopy(task), scaled, dtype);
      if (tasks === undefined) this.#refuseScales(task, scaled);
      else this.tasks.push(...tasks);
    }
  }

  #refuseScales({ name }: TensorTask, { scales }: NonNullable<ModelEntry["scaled"]>): void {
    const message = `${name} would be written as codes with scales in ${scales.dtype}, as ${scales.name} is: powers of two, which fresh scales are not`;
    const hint = "Write values: dtype: bfloat16. passthrough copies codes and scales as they stand.";
    this.#findings.repeated("fault", "scales", "recipe/packed-weights", this.#recipe.methodPlace, message, hint);
  }

  /** A tensor of another model that the defining one lacks. */
  skipExtra(name: string, other: Participant, defining: Participant): void {
    const entry = other.input.checkpoint.tensors.get(name);
    if (entry !== undefined && isComputed(name, entry.shape, other.input.checkpoint.config)) {
      const reason = `skipped: "${defining.input.label}" computes it`;
      this.notes.push({ tensor: name, input: other.input.label, reason });
      return;
    }
    if (this.#isAhead(other)(name)) {
      this.#absent.skipAhead(name, other, defining);
      return;
    }
    const isWeight = entry !== undefined && isFloatDtype(entry.dtype) && !isEmbeddingLike(name);
    this.#absent.skipExtra(name, other, defining, isWeight);
    if (entry !== undefined) this.usage.leave(other, name, entry, `that "${defining.input.label}" lacks`);
  }

  /** A tensor of the defining model that no module takes. */
  copyRest(name: string, { defining, silentBase }: TensorPlace): void {
    const entry = defining.input.checkpoint.tensors.get(name);
    if (entry === undefined) throw new Error(`${name} is a tensor of the model that defines it`);
    const present = this.#gathered(name, { ...defining, entry });
    if (this.#isOutOfUse(present, { defining, silentBase })) return;
    const dtype = outputDtype(this.#recipe, name, entry, { defining, silentBase });
    this.#copy(name, dtype, present, "no module takes it");
  }

  #mergeTask(
    name: string,
    dtype: Dtype,
    base: Present | undefined,
    models: readonly Present[],
    shape: readonly number[],
    place: TensorPlace,
  ): TensorTask {
    this.#checkSize(name, shape, place);
    const global = this.#parameters.resolve("global", name, name, undefined, place);
    const sources = models.map((model): ModelSource => {
      const { values, complete } = this.#parameters.resolve("tensor", name, model.entry.name, model, place);
      if (complete && global.complete) this.#parameters.check(name, model, global.values, values);
      const nothing = zeroReason(this.#method.name, model.isBase, global.values, values);
      const levels = settingsInOrder(this.#recipe, place.range, model.source);
      this.usage.use(model, name, model.entry, nothing, nothing !== undefined && isZeroByCondition(nothing, levels));
      return { ...sourceOf(model, name), index: model.index, parameters: values };
    });
    const baseIndex = models.findIndex(({ isBase }) => isBase);
    return {
      name,
      kind: "merge",
      method: this.#method.name,
      dtype,
      shape,
      parameters: global.values,
      ...(base && { base: sourceOf(base, name) }),
      models: sources,
      ...(baseIndex >= 0 && { baseIndex }),
    };
  }

  #checkSize(name: string, shape: readonly number[], { range }: TensorPlace): void {
    const elements = shape.reduce((product, size) => product * size, 1);
    if (elements <= this.#method.elementsMax) return;
    const message = `${name} has ${elements} elements; ${this.#method.name} takes at most ${this.#method.elementsMax}`;
    this.#findings.fault(
      "recipe/tensor-too-large",
      range.place,
      message,
      "Use a method without random masks, such as ties.",
    );
  }
}

function isMeasured({ entry }: { readonly entry: ModelEntry }): boolean {
  return entry.isMeasured === true;
}

/** What passthrough gives without a scale is what is there. */
function asCopy(task: TensorTask): TensorTask {
  const [model, other] = task.models;
  if (task.method !== "passthrough" || model === undefined || other !== undefined) return task;
  if ((model.parameters.scale ?? 1) !== 1 || task.kind === "copy") return task;
  const { index: _, parameters: __, ...base } = model;
  return { ...task, kind: "copy", parameters: {}, base, models: [] };
}
