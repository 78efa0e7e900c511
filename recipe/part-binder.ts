import { type Checkpoint, renumbered } from "../checkpoint/index.ts";
import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { Findings } from "./findings.ts";
import { missingLayersOf } from "./missing-layers.ts";
import type { RecipeModel } from "./model-entry.ts";
import { type ModelReference, sameModel } from "./model-reference.ts";
import type { Participant, TensorPlace } from "./participant.ts";
import { baseOf, isOfWholeModels, type LayerRange, type LayerSource, type Recipe } from "./recipe.ts";
import { checkStackCodes } from "./stack-codes.ts";
import type { LayerOrigin } from "./stack-follower.ts";
import type { TensorBinder } from "./tensor-binder.ts";
import { countedLayers, type LayerStack, type TensorLayout } from "./tensor-layout.ts";
import { checkEnd, checkLayersBeyond } from "./unlayered-fit.ts";

/** What a part of the recipe is bound with: all of the models, or one module of them. */
export interface Part {
  /** In order; never empty. Either one for whole models, or a stack of layers. */
  readonly ranges: readonly LayerRange[];
  /** The tensors of each model that belong to the part. */
  readonly layouts: readonly TensorLayout[];
  /** Index of the model whose config the output has. */
  readonly reference: number;
  /** How many layers the config of a model counts for a stack of the part; undefined where it does not. */
  readonly configuredLayers: (input: RecipeModel, prefix: string) => number | undefined;
}

/** What a part has come to. */
export interface BoundPart {
  /** Of the output; undefined where the models have no layers. */
  readonly layerCount: number | undefined;
  readonly stack?: BoundPartStack;
}

/** A stack that `slices` makes. */
export interface BoundPartStack {
  /** Of the names of the model whose config the output has, before the number of the layer. */
  readonly prefix: string;
  /** Of that model, and how many it counts. */
  readonly layers: LayerStack;
  readonly layersBefore: number;
  readonly origins: readonly LayerOrigin[];
}

/** Binds one part of a recipe: its tensors before the layers, the layers, what follows them. */
export class PartBinder {
  readonly #recipe: Recipe;
  readonly #models: readonly RecipeModel[];
  readonly #method: MethodDeclaration;
  readonly #findings: Findings;
  readonly #tensors: TensorBinder;
  readonly #part: Part;

  constructor(
    recipe: Recipe,
    models: readonly RecipeModel[],
    method: MethodDeclaration,
    findings: Findings,
    tensors: TensorBinder,
    part: Part,
  ) {
    this.#recipe = recipe;
    this.#models = models;
    this.#method = method;
    this.#findings = findings;
    this.#tensors = tensors;
    this.#part = part;
  }

  bind(): BoundPart {
    const { ranges } = this.#part;
    const [firstRange] = ranges;
    const lastRange = ranges.at(-1);
    if (firstRange === undefined || lastRange === undefined) throw new Error("a recipe has at least one layer range");
    const isWhole = isOfWholeModels(this.#recipe, firstRange);
    this.#bindUnlayered(firstRange, "pre");
    const bound = isWhole ? this.#bindWholeModels(firstRange) : this.#bindStack();
    this.#bindUnlayered(lastRange, "post");
    if (!isWhole) this.#checkEnds(firstRange, lastRange);
    return bound;
  }

  /** Where tensors of the defining model stand that belong to no layer. */
  unlayeredPlace(): TensorPlace {
    const [range] = this.#part.ranges;
    if (range === undefined) throw new Error("a recipe has at least one layer range");
    return this.#unlayeredPlace(range);
  }

  /** Tensors before the layers, merged from the sources of the first range, or after them, from those of the last. */
  #bindUnlayered(range: LayerRange, side: "pre" | "post"): void {
    const place = this.#unlayeredPlace(range);
    const { participants, defining } = place;
    const names = this.#layout(defining)[side];
    for (const name of names) this.#tensors.bind(name, () => name, place);
    const known = new Set(names);
    for (const other of participants) {
      for (const name of this.#layout(other)[side])
        if (!known.has(name)) this.#tensors.skipExtra(name, other, defining);
    }
  }

  /** What the first and the last range give the stack, against the model whose config the output has. */
  #checkEnds(firstRange: LayerRange, lastRange: LayerRange): void {
    const { reference, layouts, ranges } = this.#part;
    const [model, layout] = [this.#models[reference], layouts[reference]];
    if (model === undefined || layout === undefined) return;
    for (const [range, side] of [[firstRange, "pre"] as const, [lastRange, "post"] as const]) {
      const defining = this.#defining(this.#participants(range));
      const names = this.#layout(defining)[side];
      const slice = ranges.indexOf(range) + 1;
      checkEnd({ input: defining.input, names, range, slice }, model, layout[side], this.#findings);
    }
  }

  #unlayeredPlace(range: LayerRange): TensorPlace {
    const participants = this.#participants(range);
    const defining = this.#defining(participants);
    return { range, participants, defining, t: 0, silentBase: this.#silentBase(range) };
  }

  /** `models`: every stack of layers of the defining model, each over all of its layers. */
  #bindWholeModels(range: LayerRange): BoundPart {
    const participants = this.#participants(range);
    const defining = this.#defining(participants);
    const silentBase = this.#silentBase(range);
    const { stacks } = this.#layout(defining);
    const [firstPrefix = ""] = stacks.keys();
    const configured = this.#part.configuredLayers(defining.input, firstPrefix) ?? 0;
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
    return { layerCount: configured === 0 ? undefined : configured };
  }

  /** Of the layers that configs count: of those beyond, which predict further tokens, fine-tunes often have none. */
  #checkSameDepth(
    prefix: string,
    stack: LayerStack,
    participants: readonly Participant[],
    defining: Participant,
  ): void {
    const depthOf = ({ input }: Participant, layers: LayerStack) =>
      countedLayers(layers, this.#part.configuredLayers(input, prefix));
    const depth = depthOf(defining, stack);
    for (const participant of participants) {
      const { source, input } = participant;
      const other = this.#part.layouts[this.#modelIndex(source.model)]?.stacks.get(prefix);
      if (other === undefined || depthOf(participant, other) === depth) continue;
      const message = `"${input.label}" has ${depthOf(participant, other)} layers under ${prefix}, "${defining.input.label}" has ${depth}`;
      const hint = 'Merge models of one depth, or take ranges of their layers with "slices".';
      this.#findings.fault("recipe/layer-range", source.place, message, hint);
    }
  }

  /** `slices`: ranges of layers, stacked in order. */
  #bindStack(): BoundPart {
    const origins: LayerOrigin[] = [];
    for (const [k, range] of this.#part.ranges.entries()) {
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
          this.#tensors.bind(renumbered(name, origins.length), inputName, place);
        }
        this.#skipExtraOfLayer(participants, stacks, defining, inputLayer);
        const placed = (one: Participant, stack: LayerStack) => ({
          input: one.input,
          layer: inputLayer(one),
          count: this.#countOf(one, stack),
        });
        const others = participants.flatMap((one, i) => {
          const own = stacks[i];
          return one === defining || own === undefined ? [] : [placed(one, own)];
        });
        origins.push({ ...placed(defining, definingStack), layers: definingStack, range, slice: k + 1, others });
      }
    }
    this.#bindBeyond(origins.length);
    const stack = this.#stackOf(origins);
    return { layerCount: origins.length, ...(stack && { stack }) };
  }

  /** Layers beyond the count of the last range's model follow the stack as they followed its own layers. */
  #bindBeyond(layerCount: number): void {
    const range = this.#part.ranges.at(-1);
    if (range === undefined) return;
    const participants = this.#participants(range);
    const defining = this.#defining(participants);
    const [stack] = this.#layout(defining).stacks.values();
    if (stack === undefined) return;
    const count = this.#countOf(defining, stack);
    const place = { range, participants, defining, silentBase: undefined, t: 1 };
    for (let layer = count; layer < stack.layerCount; layer++) {
      for (const name of stack.layers.get(layer) ?? []) {
        const inputName = ({ source, input }: Participant) => {
          const [own] = this.#layout({ source, input }).stacks.values();
          const beyond = own === undefined ? 0 : this.#countOf({ source, input }, own) - count;
          return renumbered(name, layer + beyond);
        };
        this.#tensors.bind(renumbered(name, layerCount + layer - count), inputName, place);
      }
    }
  }

  #stackOf(origins: readonly LayerOrigin[]): BoundPartStack | undefined {
    const model = this.#models[this.#part.reference];
    const [entry] = this.#part.layouts[this.#part.reference]?.stacks ?? [];
    if (model === undefined || entry === undefined) return undefined;
    const [prefix, layers] = entry;
    checkStackCodes(this.#recipe, model, layers, origins, this.#findings);
    this.#checkBeyond(model, layers, prefix);
    // Of a model that is not whole, ranges may be taken of what is there.
    const missing = missingLayersOf(model).find((one) => one.isSure && one.prefix === prefix);
    const layersBefore = missing?.count ?? countedLayers(layers, this.#part.configuredLayers(model, prefix));
    return { prefix, layers, layersBefore, origins };
  }

  /** Layers beyond the count come from the last range's model, and are to be those of the model whose config the output has. */
  #checkBeyond(model: RecipeModel, layers: LayerStack, prefix: string): void {
    const range = this.#part.ranges.at(-1);
    if (range === undefined) return;
    const defining = this.#defining(this.#participants(range));
    const [stack] = this.#layout(defining).stacks.values();
    if (stack === undefined || defining.input === model) return;
    const count = countedLayers(layers, this.#part.configuredLayers(model, prefix));
    const given = { input: defining.input, layers: stack, count: this.#countOf(defining, stack) };
    checkLayersBeyond(
      given,
      { input: model, layers, count },
      { range, slice: this.#part.ranges.length },
      this.#findings,
    );
  }

  /** The layers of a model's stack: layers beyond what its config counts predict further tokens, and are none of them. */
  #countOf(participant: Pick<Participant, "source" | "input">, stack: LayerStack): number {
    const [prefix = ""] = this.#layout(participant).stacks.keys();
    return countedLayers(stack, this.#part.configuredLayers(participant.input, prefix));
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
      const message = `"${input.label}" has several stacks of layers (${prefixes}); a layer_range needs one`;
      const hint =
        'Say with "modules" which part of the models the slices are of, or merge whole models with "models".';
      this.#findings.fault("recipe/layer-range", place, message, hint);
      return undefined;
    }
    const end = source.layers?.end ?? 0;
    const count = this.#countOf({ source, input }, stack);
    if (end > count) {
      const beyond = stack.layerCount > count ? "; those beyond that its config does not count" : "";
      const message = `layer_range [${firstLayer(source)}, ${end}] goes past the end of "${input.label}", which has ${count} layers${beyond}`;
      const hint = `The end may be ${count} at most; it is not part of the range.`;
      this.#findings.fault("recipe/layer-range", place, message, hint);
    }
    return { ...stack, layerCount: count };
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
      this.#tensors.usage.open({ input, source });
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
    if (base === undefined || !isOfWholeModels(this.#recipe, range)) return undefined;
    const takesPart = range.sources.some((source) => sameModel(source.model, base));
    return takesPart ? undefined : this.#models[this.#modelIndex(base)]?.checkpoint;
  }

  #layout({ source }: Pick<Participant, "source" | "input">): TensorLayout {
    const layout = this.#part.layouts[this.#modelIndex(source.model)];
    if (layout === undefined) throw new Error("every input has a layout");
    return layout;
  }

  #modelIndex(model: ModelReference): number {
    const index = this.#models.findIndex((other) => sameModel(other.reference, model));
    if (index < 0) throw new Error(`the recipe's model "${model.text}" is not among the models`);
    return index;
  }
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
