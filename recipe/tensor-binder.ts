import {
  type Checkpoint,
  isEmbeddingLike,
  isFloatDtype,
  isOptional,
  maybeTensor,
  type TensorEntry,
} from "../checkpoint/index.ts";
import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { ModelSource, Parameters, ParameterValue, TensorSource, TensorTask } from "../merge/work/index.ts";
import type { GatheredRows } from "../tokenizer/index.ts";
import { perExpert } from "./experts.ts";
import type { Findings } from "./findings.ts";
import { type ModelEntry, type RecipeModel, sourceOfEntry } from "./model-entry.ts";
import { faulty, resolveParameter } from "./parameters.ts";
import { isOfWholeModels, type LayerRange, type LayerSource, type Recipe, settingsInOrder } from "./recipe.ts";
import { quantisedTasks } from "./scaled-model.ts";
import { agreeOrFail, agreeWithBase, sameShape, shapeText } from "./shapes.ts";
import type { TokenBinder } from "./token-binder.ts";
import type { VocabularyCheck } from "./vocabulary-check.ts";

/** One source of a layer range, opened. */
export interface Participant {
  readonly source: LayerSource;
  readonly input: RecipeModel;
  readonly inputIndex: number;
  /** The range's base_model, at its first entry. */
  readonly isBase: boolean;
  /** Position among the sources of the range; a base that is kept apart is not counted. */
  readonly index: number;
}

/** Where in the recipe an output tensor comes from. */
export interface TensorPlace {
  readonly range: LayerRange;
  readonly participants: readonly Participant[];
  readonly defining: Participant;
  /** Position in the range's layers, 0 to 1. */
  readonly t: number;
  /** A base that takes no part but gives the dtype. */
  readonly silentBase: Checkpoint | undefined;
}

/** What is done to a tensor besides merging it. */
export interface Note {
  /** Name in the output; of a skipped tensor that is in no output, in the input. */
  readonly tensor: string;
  /** Label of the input it concerns. */
  readonly input?: string;
  readonly reason: string;
}

/** A participant's tensor. */
interface Present extends Participant {
  /** With gathered rows its shape is that of the output's vocabulary. */
  readonly entry: TensorEntry;
  readonly gathered?: GatheredTensor;
}

/** An embedding in the order of the output's vocabulary. */
interface GatheredTensor extends Pick<GatheredRows, "runs"> {
  /** The model's own matrix, then those of others: where a model's files are, and its tensor. */
  readonly parts: readonly { readonly filesOf: number; readonly entry: TensorEntry }[];
}

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
}

/** Makes the task of one output tensor after another, and notes what is out of the ordinary. */
export class TensorBinder {
  readonly tasks: TensorTask[] = [];
  readonly notes: Note[] = [];
  readonly #recipe: Recipe;
  readonly #method: MethodDeclaration;
  readonly #findings: Findings;
  readonly #parameters = new Map<string, Parameters>();

  readonly #inputs: readonly RecipeModel[];
  readonly #tokens: TokenBinder | undefined;
  readonly #vocabularies: VocabularyCheck;
  readonly #knowsArchitecture: boolean;

  constructor({ recipe, inputs, method, findings, tokens, vocabularies, knowsArchitecture }: TensorBinderParts) {
    this.#knowsArchitecture = knowsArchitecture;
    this.#recipe = recipe;
    this.#inputs = inputs;
    this.#method = method;
    this.#findings = findings;
    this.#tokens = tokens;
    this.#vocabularies = vocabularies;
  }

  /** `name`: of the output tensor; `inputName`: of the same tensor in a participant. */
  bind(name: string, inputName: (participant: Participant) => string, place: TensorPlace): void {
    const present = place.participants.flatMap((participant): Present[] => {
      const entry = maybeTensor(participant.input.checkpoint, inputName(participant));
      return entry === undefined ? [] : [this.#gathered(name, { ...participant, entry })];
    });
    const defining = present.find(({ source }) => source === place.defining.source);
    if (defining === undefined) throw new Error(`${name} is a tensor of the model that defines it`);
    const dtype = this.#outputDtype(name, defining.entry, place);
    const reason = this.#reasonToCopy(place, present, defining);
    if (reason !== undefined) {
      this.#copy(name, dtype, defining, reason);
      return;
    }
    const apart = this.#method.base !== "listed" && defining.isBase;
    const models = apart ? present.filter((one) => one.source !== defining.source) : present;
    if (!this.#areFloats(name, models)) return;
    this.#reportMissing(name, inputName, place, present);
    if (models.length < this.#method.models.min) {
      this.#leaveOut(name, models.length, place);
      return;
    }
    const agreed = this.#agreedShape(name, apart ? defining : undefined, models);
    if (agreed === undefined) return;
    if (isEmbeddingLike(name) && this.#recipe.tokenizer === undefined)
      this.#vocabularies.check(agreed.shape[0] ?? 0, apart ? [defining, ...agreed.models] : agreed.models);
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
      input === inputIndex ? entry : maybeTensor(this.#inputs[input]?.checkpoint, name);
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
    const { dtype, elementCount } = defining.entry;
    if (!isFloatDtype(dtype)) return `${dtype} tensors are copied, not merged`;
    if (elementCount === 0) return "an empty tensor is copied";
    return defining.isBase && participants.length > 1 && present.length === 1 ? "only the base has it" : undefined;
  }

  #copy(name: string, dtype: TensorEntry["dtype"], from: Present, reason: string): void {
    this.notes.push({ tensor: name, input: from.input.label, reason });
    const [method, shape] = [this.#method.name, from.entry.shape];
    const base = sourceOf(from, name);
    this.#push({ name, kind: "copy", method, dtype, shape, parameters: {}, base, models: [] }, from);
  }

  /** As it is, or as codes with scales where the defining model has such and fp8 is written. */
  #push(task: TensorTask, { entry }: { readonly entry: ModelEntry }): void {
    const { scaled } = entry;
    const { dtype } = task;
    if (scaled === undefined || (dtype !== "F8_E4M3" && dtype !== "F8_E5M2")) this.tasks.push(...perExpert(task));
    else this.tasks.push(...quantisedTasks(asCopy(task), scaled, dtype));
  }

  /** A tensor of the defining model that no module takes. */
  copyRest(name: string, { participants, defining, ...place }: TensorPlace): void {
    const entry = defining.input.checkpoint.tensors.get(name);
    if (entry === undefined) throw new Error(`${name} is a tensor of the model that defines it`);
    const present = this.#gathered(name, { ...defining, entry });
    const dtype = this.#outputDtype(name, entry, { participants, defining, ...place });
    this.#copy(name, dtype, present, "no module takes it");
  }

  /** A tensor of another model that the defining one lacks. */
  skipExtra(name: string, other: Participant, defining: Participant): void {
    this.notes.push({ tensor: name, input: other.input.label, reason: `skipped: "${defining.input.label}" lacks it` });
    const message = `"${other.input.label}" holds ${name}, which "${defining.input.label}" lacks: skipped`;
    const hint = "The tensors of the base, or of the first model, are the output's.";
    this.#findings.repeated("warning", other.input.label, "recipe/tensor-skipped", other.source.place, message, hint);
  }

  #outputDtype(name: string, entry: TensorEntry, place: TensorPlace): TensorEntry["dtype"] {
    if (!isFloatDtype(entry.dtype)) return entry.dtype;
    const silent: ModelEntry | undefined = place.silentBase?.tensors.get(name);
    const isSilent = silent !== undefined && silent.scaled === undefined && isFloatDtype(silent.dtype);
    const unchanged = isSilent ? silent.dtype : entry.dtype;
    const wanted = this.#recipe.outDtype ?? this.#recipe.dtype ?? unchanged;
    // In a model of codes with scales, what has no scales is not meant to be fp8: norms, router, head.
    const isPlain = place.defining.input.isScaled === true && (entry as ModelEntry).scaled === undefined;
    return isPlain && (wanted === "F8_E4M3" || wanted === "F8_E5M2") ? entry.dtype : wanted;
  }

  #areFloats(name: string, models: readonly Present[]): boolean {
    const integer = models.find(({ entry }) => !isFloatDtype(entry.dtype));
    if (integer === undefined) return true;
    const { input, entry, source } = integer;
    const message = `"${input.label}" holds ${name} as ${entry.dtype}, which cannot be merged with floating point`;
    const hint = "The model may be quantised; take it unquantised.";
    this.#findings.repeated("fault", input.label, "recipe/dtype-mismatch", source.place, message, hint);
    return false;
  }

  #reportMissing(
    name: string,
    inputName: (participant: Participant) => string,
    { participants, defining }: TensorPlace,
    present: readonly Present[],
  ): void {
    if (present.length === participants.length) return;
    const have = new Set(present.map(({ source }) => source));
    for (const participant of participants) {
      if (have.has(participant.source)) continue;
      const { input, source } = participant;
      if (this.#isOptional(name)) {
        const what = isOptional(name) ? "this optional tensor" : "the tensor";
        this.notes.push({ tensor: name, input: input.label, reason: `takes no part: it lacks ${what}` });
        continue;
      }
      const message = `"${input.label}" lacks ${inputName(participant)}, which "${defining.input.label}" has`;
      const hint = "Only models of one architecture can be merged.";
      this.#findings.repeated("fault", input.label, "recipe/missing-tensor", source.place, message, hint);
    }
  }

  /** Too few models have an optional tensor; that a required one is missing was reported. */
  #leaveOut(name: string, found: number, { range }: TensorPlace): void {
    if (!this.#isOptional(name)) return;
    const { min } = this.#method.models;
    const reason = `left out: ${found} of the models ${found === 1 ? "has" : "have"} it, ${this.#method.name} needs ${min}`;
    this.notes.push({ tensor: name, reason });
    const hint = "Give it to the models, or accept an output without it.";
    this.#findings.repeated("warning", "left out", "recipe/tensor-skipped", range.place, `${name} is ${reason}`, hint);
  }

  #isOptional(name: string): boolean {
    return !this.#knowsArchitecture || isOptional(name);
  }

  #agreedShape(
    name: string,
    base: Present | undefined,
    models: readonly Present[],
  ): { shape: readonly number[]; models: readonly Present[] } | undefined {
    const all = base === undefined ? models : [base, ...models];
    const shapes = models.map(({ entry }) => entry.shape);
    const agreement =
      this.#method.shapeMismatch === "skip" && base !== undefined
        ? agreeWithBase(name, base.entry.shape, shapes)
        : agreeOrFail(name, base === undefined ? shapes : [base.entry.shape, ...shapes]);
    if (agreement.kind === "agreed") {
      for (const i of agreement.skipped) this.#reportSkipped(name, models[i], base);
      const kept = models.filter((_, i) => !agreement.skipped.includes(i));
      for (const one of base === undefined ? kept : [base, ...kept]) this.#reportCut(name, one, agreement.shape);
      return { shape: agreement.shape, models: kept };
    }
    const blamed = agreement.kind === "too-small" ? agreement.models.flatMap((i) => models[i] ?? []) : all.slice(1);
    const [first] = all;
    for (const one of blamed) {
      if (first === undefined || sameShape(one.entry.shape, first.entry.shape)) continue;
      const found = `"${one.input.label}" has ${name} of shape ${shapeText(one.entry.shape)}, "${first.input.label}" ${shapeText(first.entry.shape)}`;
      const message =
        agreement.kind === "too-small" ? `${found}: a model's embedding may not be smaller than the base's` : found;
      const hint = "Only models of one architecture can be merged; vocabularies may be larger than the base's.";
      this.#findings.repeated("fault", one.input.label, "recipe/shape-mismatch", one.source.place, message, hint);
    }
    return undefined;
  }

  #reportSkipped(name: string, model: Present | undefined, base: Present | undefined): void {
    if (model === undefined || base === undefined) return;
    const { label } = model.input;
    const shapes = `${shapeText(model.entry.shape)} instead of ${shapeText(base.entry.shape)}`;
    this.notes.push({ tensor: name, input: label, reason: `takes no part: its shape is ${shapes}` });
    const message = `"${label}" takes no part in ${name}: its shape is ${shapes}`;
    const hint = "Its other tensors are merged; leave the model out if that is not what you want.";
    this.#findings.repeated("warning", label, "recipe/tensor-skipped", model.source.place, message, hint);
  }

  #reportCut(name: string, { entry, input, source }: Present, shape: readonly number[]): void {
    if (sameShape(entry.shape, shape)) return;
    const cut = `cut from ${shapeText(entry.shape)} to ${shapeText(shape)}`;
    this.notes.push({ tensor: name, input: input.label, reason: cut });
    const hint = "Tokens beyond the common vocabulary are lost.";
    const message = `${name} of "${input.label}" is ${cut}`;
    this.#findings.repeated("warning", input.label, "recipe/tensor-cut", source.place, message, hint);
  }

  #mergeTask(
    name: string,
    dtype: TensorEntry["dtype"],
    base: Present | undefined,
    models: readonly Present[],
    shape: readonly number[],
    place: TensorPlace,
  ): TensorTask {
    this.#checkSize(name, shape, place);
    const global = this.#resolve("global", name, name, undefined, place);
    const sources = models.map((model): ModelSource => {
      const { values, complete } = this.#resolve("tensor", name, model.entry.name, model, place);
      if (complete && global.complete) this.#check(name, model, global.values, values);
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

  /** All parameters of one scope for one tensor; a parameter that is unset has no key. `complete`: none is missing or faulty. */
  #resolve(
    scope: "global" | "tensor",
    name: string,
    filteredName: string,
    model: Present | undefined,
    { range, t }: TensorPlace,
  ): { values: Parameters; complete: boolean } {
    const levels = settingsInOrder(this.#recipe, range, model?.source);
    const values: Record<string, ParameterValue> = {};
    let complete = true;
    for (const [parameter, declaration] of Object.entries(this.#method.parameters)) {
      if (declaration.scope !== scope) continue;
      const value = resolveParameter(parameter, declaration, levels, filteredName, t);
      if (value === faulty) complete = false;
      else if (value !== undefined) values[parameter] = value;
      else if (declaration.required) {
        complete = false;
        this.#reportUnset(parameter, name, model, range);
      }
    }
    return { values: this.#shared(values), complete };
  }

  /** One object for equal parameters: with hundreds of models they are most of a plan. */
  #shared(values: Parameters): Parameters {
    const key = JSON.stringify(values);
    const known = this.#parameters.get(key);
    if (known === undefined) this.#parameters.set(key, values);
    return known ?? values;
  }

  #reportUnset(parameter: string, name: string, model: Present | undefined, range: LayerRange): void {
    const whose = model === undefined ? "" : ` for "${model.input.label}"`;
    const message = `${this.#method.name} needs "${parameter}"${whose}, which is not set for ${name}`;
    const under = model === undefined ? "at the top of the recipe" : "of the model, or at the top of the recipe";
    const hint = `Add it to the parameters ${under}: ${this.#method.parameters[parameter]?.documentation ?? ""}`;
    const place =
      model?.source.place ?? (isOfWholeModels(this.#recipe, range) ? this.#recipe.methodPlace : range.place);
    const key = `${parameter} ${model === undefined ? "" : `${place.line}:${place.column}`}`;
    this.#findings.repeated("fault", key, "recipe/missing-parameter", place, message, hint);
  }

  #check(name: string, { input, source }: Present, global: Parameters, tensor: Parameters): void {
    const wrong = this.#method.check?.(global, tensor);
    if (wrong === undefined) return;
    const { line, column } = source.place;
    const message = `"${input.label}", ${name}: ${wrong.replace(/\.$/, "")}`;
    const hint = `deltaworks methods ${this.#method.name} says what is allowed.`;
    this.#findings.repeated("fault", `${line}:${column}`, "recipe/conflicting-parameters", source.place, message, hint);
  }
}

function sourceOf({ input, entry, gathered }: Present, output: string): TensorSource {
  if (gathered === undefined) return sourceOfEntry(entry, input.filesOf, output);
  const width = entry.shape.length === 1 ? 1 : entry.elementCount / Math.max(1, entry.shape[0] ?? 1);
  return {
    kind: "rows",
    dtype: "F32",
    tensor: output,
    storedRowLength: entry.shape.at(-1) ?? 1,
    width,
    parts: gathered.parts.map(({ filesOf, entry: part }) => sourceOfEntry(part, filesOf, output)),
    runs: gathered.runs,
  };
}

/** What passthrough gives without a scale is what is there. */
function asCopy(task: TensorTask): TensorTask {
  const [model, other] = task.models;
  if (task.method !== "passthrough" || model === undefined || other !== undefined) return task;
  if ((model.parameters.scale ?? 1) !== 1 || task.kind === "copy") return task;
  const { index: _, parameters: __, ...base } = model;
  return { ...task, kind: "copy", parameters: {}, base, models: [] };
}
