import type { Checkpoint } from "../checkpoint/index.ts";
import { isAfterLayers, isEmbeddingLike, layerCount, renumbered } from "../checkpoint/index.ts";
import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { TensorTask } from "../merge/work/index.ts";
import type { Fault } from "./errors.ts";
import { Findings } from "./findings.ts";
import type { RecipeModel } from "./model-entry.ts";
import { type ModelReference, sameModel } from "./model-reference.ts";
import { baseOf, type LayerRange, type LayerSource, type Recipe, type RecipeInput } from "./recipe.ts";
import { recipeModels } from "./recipe-models.ts";
import { type Note, type Participant, TensorBinder, type TensorPlace } from "./tensor-binder.ts";
import { type LayerStack, layoutOf, type TensorLayout } from "./tensor-layout.ts";
import { type BoundTokenizer, chatTemplateOf, maybeTokenBinder, type TokenBinder } from "./token-binder.ts";
import { VocabularyCheck } from "./vocabulary-check.ts";

/** What a recipe means for the models it names: one task per output tensor. Tasks are to be run only if there are no faults. */
export interface Binding {
  /** In the order of the output: pre, layers, post. */
  readonly tasks: readonly TensorTask[];
  /** Of the output; undefined where the models have no layers. */
  readonly layerCount: number | undefined;
  /** Whose config and tokenizer the output takes: the base, else the first source. Index into the inputs. */
  readonly definingInput: number;
  /** Rows of the output's input embedding; undefined where no tensor is recognised as one. */
  readonly embeddingRows?: number;
  /** Where the recipe asks for a vocabulary. */
  readonly tokenizer?: BoundTokenizer;
  /** Jinja; where the recipe asks for one. */
  readonly chatTemplate?: string;
  /** What is copied, skipped or cut, and why. */
  readonly notes: readonly Note[];
  readonly faults: readonly Fault[];
  readonly warnings: readonly Fault[];
}

export interface BindOptions {
  readonly methods: ReadonlyMap<string, MethodDeclaration>;
  /** Ids that name different tokens in models that are merged are a warning instead of a fault. */
  readonly allowVocabularyMismatch?: boolean;
}

/**
 * A pure function of the recipe and the headers of its models: no tensor byte is read. `inputs`: of every model that
 * referencedModels names, in any order. All faults are reported at once.
 */
export function bindRecipe(recipe: Recipe, inputs: readonly RecipeInput[], options: BindOptions): Binding {
  const method = options.methods.get(recipe.method);
  if (method === undefined) throw new Error(`${recipe.method} passed parseRecipe, but is no method`);
  return new RecipeBinder(recipe, inputs, method, options.allowVocabularyMismatch === true).bind();
}

class RecipeBinder {
  readonly #recipe: Recipe;
  /** Every model as the recipe names it. */
  readonly #models: readonly RecipeModel[];
  readonly #method: MethodDeclaration;
  readonly #findings: Findings;
  readonly #tensors: TensorBinder;
  readonly #layouts: readonly TensorLayout[];
  readonly #definingModel: number;
  readonly #tokens: TokenBinder | undefined;

  constructor(
    recipe: Recipe,
    inputs: readonly RecipeInput[],
    method: MethodDeclaration,
    allowVocabularyMismatch: boolean,
  ) {
    this.#recipe = recipe;
    this.#method = method;
    const findings = new Findings(recipe.fileName);
    this.#findings = findings;
    const models = recipeModels(recipe, inputs, findings);
    this.#models = models;
    this.#definingModel = this.#modelIndex(definingModel(recipe));
    const tokens = maybeTokenBinder(recipe, models, this.#definingModel, findings);
    this.#tokens = tokens;
    const vocabularies = new VocabularyCheck(models, findings, allowVocabularyMismatch);
    this.#tensors = new TensorBinder({ recipe, inputs: models, method, findings, tokens, vocabularies });
    this.#layouts = models.map((model) => layoutOf(model.checkpoint));
  }

  bind(): Binding {
    const { layerRanges, form } = this.#recipe;
    const [firstRange] = layerRanges;
    const lastRange = layerRanges.at(-1);
    if (firstRange === undefined || lastRange === undefined) throw new Error("a recipe has at least one layer range");
    this.#bindUnlayered(firstRange, "pre");
    const layers = form === "models" ? this.#bindWholeModels(firstRange) : this.#bindStack();
    this.#bindUnlayered(lastRange, "post");

    const { tasks, notes } = this.#tensors;
    const embedding = tasks.find((task) => isMatrixEmbedding(task) && !isAfterLayers(task.name));
    const embeddingRows = embedding?.shape[0];
    if (form === "slices") this.#checkHead(tasks, embedding, lastRange);
    this.#tokens?.finish();
    const bound = this.#tokens?.bound;
    const chatTemplate = chatTemplateOf(this.#recipe, this.#models, this.#findings);
    return {
      tasks,
      layerCount: layers,
      definingInput: this.#filesOf(this.#definingModel),
      ...(bound && { tokenizer: { ...bound, pattern: this.#filesOf(bound.pattern) } }),
      ...(chatTemplate !== undefined && { chatTemplate }),
      ...(embeddingRows !== undefined && { embeddingRows }),
      notes,
      faults: this.#findings.faults,
      warnings: this.#findings.warnings,
    };
  }

  /** Tensors before the layers, merged from the sources of the first range, or after them, from those of the last. */
  #bindUnlayered(range: LayerRange, side: "pre" | "post"): void {
    const participants = this.#participants(range);
    const defining = this.#defining(participants);
    const names = this.#layout(defining)[side];
    const place: TensorPlace = { range, participants, defining, t: 0, silentBase: this.#silentBase(range) };
    for (const name of names) this.#tensors.bind(name, () => name, place);
    const known = new Set(names);
    for (const other of participants) {
      for (const name of this.#layout(other)[side])
        if (!known.has(name)) this.#tensors.skipExtra(name, other, defining);
    }
  }

  /** `models`: every stack of layers of the defining model, each over all of its layers. */
  #bindWholeModels(range: LayerRange): number | undefined {
    const participants = this.#participants(range);
    const defining = this.#defining(participants);
    const silentBase = this.#silentBase(range);
    const configured = layerCount(defining.input.checkpoint);
    const { stacks } = this.#layout(defining);
    for (const [prefix, stack] of stacks) {
      // Layers beyond what the config counts serve to predict further tokens; gradients end at the last one counted.
      const depth = stacks.size === 1 && configured > 0 ? Math.min(configured, stack.layerCount) : stack.layerCount;
      this.#checkSameDepth(prefix, stack, participants, defining);
      const layers = [...stack.layers].sort(([a], [b]) => a - b);
      for (const [layer, names] of layers) {
        const place = { range, participants, defining, silentBase, t: positionOf(layer, depth) };
        for (const name of names) this.#tensors.bind(name, () => name, place);
      }
    }
    for (const other of participants) {
      for (const name of layeredNames(this.#layout(other))) {
        if (!defining.input.checkpoint.tensors.has(name)) this.#tensors.skipExtra(name, other, defining);
      }
    }
    return configured === 0 ? undefined : configured;
  }

  #checkSameDepth(
    prefix: string,
    stack: LayerStack,
    participants: readonly Participant[],
    defining: Participant,
  ): void {
    for (const { source, input } of participants) {
      const other = this.#layouts[this.#modelIndex(source.model)]?.stacks.get(prefix);
      if (other === undefined || other.layerCount === stack.layerCount) continue;
      const message = `"${input.label}" has ${other.layerCount} layers under ${prefix}, "${defining.input.label}" has ${stack.layerCount}`;
      const hint = 'Merge models of one depth, or take ranges of their layers with "slices".';
      this.#findings.fault("recipe/layer-range", source.place, message, hint);
    }
  }

  /** `slices`: ranges of layers, stacked in order. Returns how many layers that makes. */
  #bindStack(): number {
    let outputLayer = 0;
    for (const range of this.#recipe.layerRanges) {
      const participants = this.#participants(range);
      const defining = this.#defining(participants);
      const stacks = participants.map((participant) => this.#onlyStack(participant));
      const definingStack = stacks[participants.indexOf(defining)];
      const length = Math.min(...participants.map(({ source }, i) => availableLayers(source, stacks[i])));
      for (let j = 0; j < length && definingStack !== undefined; j++) {
        const inputLayer = (participant: Participant) => firstLayer(participant.source) + j;
        const names = definingStack.layers.get(inputLayer(defining)) ?? [];
        const place = { range, participants, defining, silentBase: undefined, t: positionOf(j, length) };
        for (const name of names) {
          const inputName = (participant: Participant) => renumbered(name, inputLayer(participant));
          this.#tensors.bind(renumbered(name, outputLayer), inputName, place);
        }
        this.#skipExtraOfLayer(participants, stacks, defining, inputLayer);
        outputLayer++;
      }
    }
    return outputLayer;
  }

  #skipExtraOfLayer(
    participants: readonly Participant[],
    stacks: readonly (LayerStack | undefined)[],
    defining: Participant,
    inputLayer: (participant: Participant) => number,
  ): void {
    for (const [i, other] of participants.entries()) {
      for (const name of stacks[i]?.layers.get(inputLayer(other)) ?? []) {
        const definingName = renumbered(name, inputLayer(defining));
        if (!defining.input.checkpoint.tensors.has(definingName)) this.#tensors.skipExtra(name, other, defining);
      }
    }
  }

  /** The layers that a layer_range counts; reports models that have none, or several stacks, and ranges past the end. */
  #onlyStack({ source, input }: Participant): LayerStack | undefined {
    const { stacks } = this.#layout({ source, input });
    const [stack] = stacks.values();
    const place = source.layers?.place ?? source.place;
    if (stack === undefined) {
      const message = `"${input.label}" has no layers to take a layer_range from`;
      this.#findings.fault("recipe/layer-range", place, message, 'Merge whole models with "models".');
      return undefined;
    }
    if (stacks.size > 1) {
      const prefixes = [...stacks.keys()].join(", ");
      const message = `"${input.label}" has several stacks of layers (${prefixes}); slices of such models are not supported yet`;
      this.#findings.fault("recipe/not-yet", place, message, 'Merge whole models with "models".');
      return undefined;
    }
    const end = source.layers?.end ?? 0;
    if (end > stack.layerCount) {
      const message = `layer_range [${firstLayer(source)}, ${end}] goes past the end of "${input.label}", which has ${stack.layerCount} layers`;
      const hint = `The end may be ${stack.layerCount} at most; it is not part of the range.`;
      this.#findings.fault("recipe/layer-range", place, message, hint);
    }
    return stack;
  }

  /** A stack takes its embedding from the first range and its output head from the last. */
  #checkHead(tasks: readonly TensorTask[], embedding: TensorTask | undefined, lastRange: LayerRange): void {
    const head = tasks.find((task) => isMatrixEmbedding(task) && isAfterLayers(task.name));
    const [rows, headRows] = [embedding?.shape[0], head?.shape[0]];
    if (embedding === undefined || head === undefined || rows === headRows) return;
    const message = `the stack's embedding ${embedding.name} would have ${rows} rows, its output head ${head.name} ${headRows}`;
    const hint = "Take the first and the last slice from models of one vocabulary.";
    this.#findings.fault("recipe/embedding-rows", lastRange.place, message, hint);
  }

  /** The sources of a range, opened. The first entry of a base that is kept apart is the base, further ones are models. */
  #participants(range: LayerRange): Participant[] {
    const base = baseOf(this.#recipe, range);
    const baseAt = range.sources.findIndex((source) => sameModel(source.model, base));
    let models = 0;
    return range.sources.map((source, i) => {
      const input = this.#models[this.#modelIndex(source.model)];
      if (input === undefined) throw new Error("an input index lies within the inputs");
      const isBase = i === baseAt;
      const index = isBase && this.#method.base !== "listed" ? 0 : models++;
      return { source, input, inputIndex: this.#modelIndex(source.model), isBase, index };
    });
  }

  /** The model that says which tensors there are: the base, else the first source. */
  #defining(participants: readonly Participant[]): Participant {
    const defining = participants.find(({ isBase }) => isBase) ?? participants[0];
    if (defining === undefined) throw new Error("a layer range has at least one source");
    return defining;
  }

  /** A base_model that takes no part in the merge still says what dtype the output has. */
  #silentBase(range: LayerRange): Checkpoint | undefined {
    const base = baseOf(this.#recipe, range);
    if (base === undefined || this.#recipe.form === "slices") return undefined;
    const takesPart = range.sources.some((source) => sameModel(source.model, base));
    return takesPart ? undefined : this.#models[this.#modelIndex(base)]?.checkpoint;
  }

  #layout({ source }: Pick<Participant, "source" | "input">): TensorLayout {
    const layout = this.#layouts[this.#modelIndex(source.model)];
    if (layout === undefined) throw new Error("every input has a layout");
    return layout;
  }

  #modelIndex(model: ModelReference): number {
    const index = this.#models.findIndex((other) => sameModel(other.reference, model));
    if (index < 0) throw new Error(`the recipe's model "${model.text}" is not among the models`);
    return index;
  }

  #filesOf(model: number): number {
    return this.#models[model]?.filesOf ?? model;
  }
}

/** The base; without one, the base of the first range, else its first source. */
function definingModel(recipe: Recipe): ModelReference {
  const [range] = recipe.layerRanges;
  const inRange = range?.sources.find(({ model }) => sameModel(model, range.baseModel)) ?? range?.sources[0];
  const model = recipe.baseModel ?? inRange?.model;
  if (model === undefined) throw new Error("a recipe has at least one source");
  return model;
}

/** The t of layer j among `count`, at which gradients are evaluated. */
function positionOf(j: number, count: number): number {
  return count === 1 ? 1 : Math.min(1, j / (count - 1));
}

function firstLayer(source: LayerSource): number {
  return source.layers?.first ?? 0;
}

/** Of the layers asked for, those that are there: a range past the end was reported, its tensors need not be as well. */
function availableLayers(source: LayerSource, stack: LayerStack | undefined): number {
  const end = Math.min(source.layers?.end ?? 0, stack?.layerCount ?? 0);
  return Math.max(0, end - firstLayer(source));
}

function layeredNames(layout: TensorLayout): string[] {
  return [...layout.stacks.values()].flatMap((stack) => [...stack.layers.values()].flat());
}

function isMatrixEmbedding(task: TensorTask): boolean {
  return task.shape.length === 2 && isEmbeddingLike(task.name);
}
