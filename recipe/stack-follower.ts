import {
  type CountHolder,
  countedInConfig,
  countHolders,
  isFloatDtype,
  partsCounting,
  type StackPlace,
  splitLayer,
  type Tower,
} from "../checkpoint/index.ts";
import { type ConfigValue, withConfigValues } from "./config-value.ts";
import { Findings } from "./findings.ts";
import { differingKeys, type FollowedConfig, followLayers } from "./layer-facts/follow-layers.ts";
import type { Config, Origin } from "./layer-facts/layer-rule.ts";
import { type Misfit, maybeUnexplained, misfitsOf, type StackLayer } from "./layer-facts/stack-fit.ts";
import type { ModelEntry, RecipeModel } from "./model-entry.ts";
import type { LayerRange } from "./recipe.ts";
import { shapeText } from "./shapes.ts";
import { quotedList } from "./suggestion.ts";
import type { LayerStack } from "./tensor-layout.ts";

/** Where a layer of a stack came from. */
export interface LayerOrigin {
  readonly input: RecipeModel;
  readonly layers: LayerStack;
  /** Of its model, and how many that counts. */
  readonly layer: number;
  readonly count: number;
  readonly range: LayerRange;
  /** Which entry of the recipe's list, from 1. */
  readonly slice: number;
  /** What is merged with it: layers of the slice's other sources. */
  readonly others: readonly Pick<LayerOrigin, "input" | "layer" | "count">[];
}

/** A stack that `slices` makes. */
export interface MadeStack {
  readonly place: StackPlace;
  /** Whose config the output has, its layers, and how many it counts. */
  readonly model: RecipeModel;
  readonly prefix: string;
  readonly layers: LayerStack;
  readonly count: number;
  readonly origins: readonly LayerOrigin[];
}

/** A stack, what the config says of it, and which keys would no longer say it in a config that others had their way with. */
export interface FollowedStack {
  readonly stack: MadeStack;
  readonly values: readonly ConfigValue[];
  readonly brokenIn: (edited: Config) => readonly string[];
}

/**
 * Judges a stack against the model whose config the output has, and says what the config says then: the number of layers wherever it
 * is counted, and what it holds of single layers. Reports layers that do not fit, and facts that cannot follow.
 */
export function followStack(stack: MadeStack, findings: Findings): FollowedStack {
  const { model, count, origins, place } = stack;
  const [first] = origins;
  if (first === undefined || model.adapter !== undefined) return { stack, values: [], brokenIn: () => [] };
  const views = new Map<RecipeModel, Config>();
  const viewOf = (input: RecipeModel, of: number) => {
    const view = views.get(input) ?? viewOfHolders(input, place, of);
    views.set(input, view);
    return view;
  };
  const config = viewOf(model, count);
  const followed = followLayers({
    config,
    count,
    origins: origins.map(({ input, layer, count: of }): Origin => ({ config: viewOf(input, of), count: of, layer })),
    isOther: (key) => isOfOtherTower(key, place.tower),
  });
  reportLost(stack, followed, findings);
  reportMisfits(stack, followed, findings);
  checkSharedAdapters(stack, (input, of) => viewOf(input, of), findings);
  return {
    stack,
    values: valuesOf(stack, followed),
    brokenIn: (edited) => followed.brokenIn(viewAt(edited, holdersOf(model, place, count))),
  };
}

/**
 * What the config says of all stacks of one output: each was followed by itself, and what one needs may be in the way of another, also of
 * one that stays as it is (`unmoved`).
 */
export function valuesOfAll(
  followed: readonly FollowedStack[],
  unmoved: readonly MadeStack[],
  findings: Findings,
): readonly ConfigValue[] {
  const values = followed.flatMap((one) => one.values);
  const [moved] = followed;
  if (moved === undefined || values.length === 0) return values;
  const { model, origins } = moved.stack;
  const edited = withConfigValues(model.checkpoint.config ?? {}, values);
  const [first] = origins;
  if (first === undefined) return values;
  const warn = (message: string) => {
    const hint = "What loads the output may build other layers there than the weights are of: look at its config.json.";
    findings.warning("recipe/layer-facts", first.range.place, message, hint);
  };
  for (const { stack, brokenIn } of followed.length < 2 ? [] : followed) {
    const broken = brokenIn(edited);
    if (broken.length > 0)
      warn(
        `${quotedList(broken, "and")} in the config of "${model.label}" cannot say what the layers of ${stack.prefix} are and what those of another stack of the recipe are: it says the latter`,
      );
  }
  for (const { path, keys } of unclaimed(followed, unmoved)) {
    const key = [...path, keys[0]].join(".");
    warn(
      `"${key}" in the config of "${model.label}" may be about the layers of ${moved.stack.prefix}, of which there were as many (${moved.stack.count}), and its part stays as it is`,
    );
  }
  for (const stack of unmoved) {
    const own = stack.layers;
    const stay = Array.from({ length: stack.count }, (_, layer) => ({ ...first, input: model, layers: own, layer }));
    const ofStack = { ...stack, origins: stay.map((one) => ({ ...one, count: stack.count, others: [] })) };
    const broken = followStack(ofStack, new Findings("")).brokenIn(edited);
    if (broken.length > 0)
      warn(
        `${quotedList(broken, "and")} in the config of "${model.label}" ${broken.length === 1 ? "follows" : "follow"} the layers of ${followed.map((one) => one.stack.prefix).join(", ")}, and no longer ${broken.length === 1 ? "says" : "say"} what those of ${stack.prefix} are, which stay as they are`,
      );
  }
  return values;
}

/** Parts of the config that count as many layers as a stack had that has others now, and are known to be about no stack of the model. */
function unclaimed(followed: readonly FollowedStack[], unmoved: readonly MadeStack[]): readonly CountHolder[] {
  const stacks = [...followed.map(({ stack }) => stack), ...unmoved];
  const claimed = new Set(
    stacks.flatMap(({ model, place, count }) =>
      countHolders(model.checkpoint.config ?? {}, place, count).map(({ path }) => path.join(".")),
    ),
  );
  const found = followed.flatMap(({ stack: { model, count } }) => partsCounting(model.checkpoint.config ?? {}, count));
  const byPath = new Map(found.map((part) => [part.path.join("."), part]));
  return [...byPath].flatMap(([path, part]) => (claimed.has(path) ? [] : [part]));
}

/** Says where layers are merged with such as are of another kind by their models' configs: names and shapes may be the same. */
export function checkMergedKinds({ origins, place }: MadeStack, findings: Findings): void {
  const views = new Map<RecipeModel, Config>();
  const asOrigin = ({ input, layer, count }: Pick<LayerOrigin, "input" | "layer" | "count">): Origin => {
    const config = views.get(input) ?? viewOfHolders(input, place, count);
    views.set(input, config);
    return { config, count, layer };
  };
  for (const origin of origins) {
    for (const other of origin.others) {
      if (other.layer === origin.layer) continue; // then the configs differ, which is told as such
      const keys = differingKeys(asOrigin(origin), asOrigin(other));
      if (keys.length === 0) continue;
      const message = `slice ${origin.slice}: layer ${other.layer} of "${other.input.label}" is merged with layer ${origin.layer} of "${origin.input.label}", and is of another kind by ${quotedList(keys, "and")} in their configs`;
      const hint = "Line the ranges up so that layers of one kind meet.";
      const key = `${origin.slice} kinds ${other.input.label}`;
      findings.repeated("warning", key, "recipe/layer-facts", origin.range.place, message, hint);
    }
  }
}

/** Whether each layer stands where it stood in the model whose config the output has. */
export function isUnmoved({ model, count, origins }: MadeStack): boolean {
  return origins.length === count && origins.every(({ input, layer }, j) => input === model && layer === j);
}

/** Where the config counts the layers of the stack; of a config that does not, the whole, unless that is about another stack. */
function holdersOf({ checkpoint }: RecipeModel, place: StackPlace, count: number) {
  const config = checkpoint.config ?? {};
  const holders = countHolders(config, place, count);
  return holders.length > 0 || isAboutOthers(config, place, count) ? holders : [{ path: [], keys: [] }];
}

function isAboutOthers(config: Config, { tower, isMain }: StackPlace, count: number): boolean {
  if (!isMain) return true;
  if (tower === "text" || tower === "encoder" || tower === "decoder") return false;
  return countedInConfig(config, { prefix: "", tower: "text", isMain: true }, count) !== undefined;
}

/** All that the parts of a config that count the stack say, as one. */
function viewOfHolders(model: RecipeModel, place: StackPlace, count: number): Config {
  return viewAt(model.checkpoint.config ?? {}, holdersOf(model, place, count));
}

function viewAt(config: Config, holders: ReturnType<typeof holdersOf>): Config {
  return Object.assign({}, ...holders.map(({ path }) => partAt(config, path))) as Config;
}

function partAt(config: Config, path: readonly string[]): Config {
  return path.reduce((part, key) => part[key] as Config, config);
}

function isOfOtherTower(key: string, tower: Tower): boolean {
  if (tower === "encoder") return /(?:^|_)decoder_/.test(key);
  // LED's window is that of its encoder's layers.
  return tower === "decoder" && /(?:^|_)encoder_|^attention_window$/.test(key);
}

/** The new values, in every part that has them; a key that none has goes to the innermost. */
function valuesOf({ model, place, count, origins }: MadeStack, { values }: FollowedConfig): readonly ConfigValue[] {
  const config = model.checkpoint.config;
  if (config === undefined) return [];
  const holders = holdersOf(model, place, count);
  const counts = holders.flatMap(({ path, keys }) =>
    keys.map((key) => ({ path: [...path, key], value: origins.length })),
  );
  const facts = Object.entries(values).flatMap(([key, value]) => {
    const having = holders.filter(({ path }) => Object.hasOwn(partAt(config, path), key));
    return (having.length > 0 ? having : holders.slice(-1)).map(({ path }) => ({ path: [...path, key], value }));
  });
  return [...(origins.length === count ? [] : counts), ...facts];
}

function reportLost({ model, origins }: MadeStack, { lost }: FollowedConfig, findings: Findings): void {
  for (const { keys, layers } of lost) {
    const place = origins[layers[0] ?? 0]?.range.place ?? { line: 1, column: 1 };
    const named = keys.length === 1 ? `"${keys[0]}"` : keys.map((key) => `"${key}"`).join(", ");
    const what = `of ${layersText(layers)} it says something else than of where ${layers.length === 1 ? "it" : "they"} came from`;
    const message = keys.includes("model_type")
      ? `"model_type" in the config of "${model.label}": such layers depend on their place in the whole, and ${layersText(layers)} of the output came from other places`
      : layers.length === 0
        ? `${named} in the config of "${model.label}" may be about single layers, and stays as it is`
        : `${named} in the config of "${model.label}" cannot say what the stacked layers are: ${what}`;
    const hint = "What loads the output may build other layers there than the weights are of: look at its config.json.";
    findings.warning("recipe/layer-facts", place, message, hint);
  }
}

function reportMisfits(stack: MadeStack, followed: FollowedConfig, findings: Findings): void {
  const { model, layers, count, origins, prefix } = stack;
  const output = origins.map(
    ({ input, layers: own, layer }, j): StackLayer => ({
      shapes: shapesOf(input, own, layer, prefix),
      kind: followed.kindOf(j),
    }),
  );
  const reference = Array.from(
    { length: count },
    (_, k): StackLayer => ({ shapes: shapesOf(model, layers, k, prefix), kind: followed.kindBefore(k) }),
  );
  for (const misfit of misfitsOf(output, reference)) {
    const origin = origins[misfit.layer];
    if (origin !== undefined) reportMisfit(misfit, origin, { model, prefix }, findings);
  }
  const unexplained = maybeUnexplained(output, reference);
  const origin = unexplained === undefined ? undefined : origins[unexplained];
  if (origin === undefined) return;
  const message = `the layers of "${model.label}" are not all of the same tensors, and nothing in its config tells why: layer ${unexplained} of the output (slice ${origin.slice}) has others than layer ${unexplained} has there`;
  const hint = "Look whether what loads the output expects these tensors in this layer.";
  findings.warning("recipe/layer-misfit", origin.range.place, message, hint);
}

function reportMisfit(
  { layer, suffix, what, found, expected, like }: Misfit,
  { input, layer: from, range, slice }: LayerOrigin,
  { model, prefix }: Pick<MadeStack, "model" | "prefix">,
  findings: Findings,
): void {
  const [list, rest] = suffix.includes(" ") ? suffix.split(" ") : [prefix, suffix];
  const name = `${list}.${layer}.${rest}`;
  const origin = `layer ${from} of "${input.label}"`;
  const owner = `"${model.label}", whose config the output has`;
  const key = `${slice} ${what}`;
  switch (what) {
    case "shape": {
      const message = `slice ${slice}: ${name} would have the shape ${shapeText(found ?? [])} (${origin}); in ${owner}, it is ${shapeText(expected ?? [])}`;
      const hint = "All slices of a stack must be of models of one size.";
      findings.repeated("fault", key, "recipe/shape-mismatch", range.place, message, hint);
      return;
    }
    case "lacks": {
      const message = `slice ${slice}: layer ${layer} of the output (${origin}) would lack ${name}, ${shapeText(expected ?? [])}, which ${owner}, has in such a layer (its layer ${like})`;
      const hint =
        "What loads the output would make up the tensor. Take a layer that has it, or leave this one where it stands in its model.";
      findings.repeated("fault", key, "recipe/layer-misfit", range.place, message, hint);
      return;
    }
    case "has":
    case "place": {
      const message = `slice ${slice}: layer ${layer} of the output (${origin}) has ${name}, ${shapeText(found ?? [])}, which ${owner}, has in no such layer (compared with its layer ${like})`;
      const hint = "What loads the output would ignore the tensor, or fail.";
      findings.repeated(what === "has" ? "fault" : "warning", key, "recipe/layer-misfit", range.place, message, hint);
    }
  }
}

/**
 * Adapters of blocks that several layers share are numbered by these layers, one for each (Zamba2): a stack must have as many of them, in
 * their order.
 */
function checkSharedAdapters(
  { model, count, origins, layers }: MadeStack,
  viewOf: (input: RecipeModel, count: number) => Config,
  findings: Findings,
): void {
  const numbered = [...layers.layers.values()].flat().filter((name) => /_adapter_list\.\d+\./.test(name));
  const [anyName] = numbered;
  const usersOf = (config: Config): readonly number[] => {
    const types = config.layers_block_type ?? config.layer_types;
    return Array.isArray(types) ? types.flatMap((type, layer) => (type === "hybrid" ? [layer] : [])) : [];
  };
  const wanted = usersOf(viewOf(model, count)).length;
  if (anyName === undefined || wanted === 0) return;
  const found = origins.flatMap(({ input, layer, count: of, range, slice }, j) => {
    const number = usersOf(viewOf(input, of)).indexOf(layer);
    return number < 0 ? [] : [{ j, number, range, slice, layer, label: input.label }];
  });
  const at = found.findIndex(({ number }, k) => number !== k || k >= wanted);
  const first = found[at < 0 ? found.length - 1 : at];
  if (first === undefined || (at < 0 && found.length === wanted)) return;
  const name = numbered.find((one) => one.includes(`_adapter_list.${first.number}.`)) ?? anyName;
  const message = `slice ${first.slice}: ${name} of "${model.label}" is one of ${wanted} adapters, numbered by the layers that share blocks; layer ${first.j} of the output (layer ${first.layer} of "${first.label}", number ${first.number}) would be number ${found.indexOf(first)} of ${found.length}`;
  const hint = "Stack such models so that the layers with shared blocks are as many as before, in their order.";
  findings.fault("recipe/layer-misfit", first.range.place, message, hint);
}

/** Buffers that are made anew when a model is loaded, if they are stored at all. */
const buffers = /(?:^|\.)(?:rotary_emb\..*|inv_freq|masked_bias|position_ids|num_batches_tracked)$/;

function shapesOf(
  { checkpoint }: RecipeModel,
  { layers }: LayerStack,
  layer: number,
  prefix: string,
): StackLayer["shapes"] {
  const shapes = new Map<string, readonly number[]>();
  for (const name of layers.get(layer) ?? []) {
    const entry: ModelEntry | undefined = checkpoint.tensors.get(name);
    const split = splitLayer(name);
    if (entry === undefined || split === undefined || !isFloatDtype(entry.dtype) || buffers.test(name)) continue;
    if (entry.isMeasured === true) continue;
    // GPT-2's causal mask is called like a bias.
    if (/attn\.bias$/.test(name) && entry.shape.length > 2) continue;
    // Where several lists have parts of a layer, their names tell these apart.
    shapes.set(split.prefix === prefix ? split.suffix : `${split.prefix} ${split.suffix}`, entry.shape);
  }
  return shapes;
}

function layersText(layers: readonly number[]): string {
  const shown = layers.slice(0, 6).join(", ");
  return `layer${layers.length === 1 ? "" : "s"} ${shown}${layers.length > 6 ? `, … (${layers.length} in all)` : ""}`;
}
