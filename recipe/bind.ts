import {
  isAfterLayers,
  isEmbeddingLike,
  layerCount,
  type StackPlace,
  splitLayer,
  towersOf,
} from "../checkpoint/index.ts";
import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { PlanAdapter, PlanUsage, TensorTask } from "../merge/work/index.ts";
import type { TokenIds } from "../tokenizer/index.ts";
import { bindAdapters, maybePlainAdapter } from "./adapter-binder.ts";
import { checkArchitectures, isKnownArchitecture, isWithoutTokens } from "./architecture-check.ts";
import { maybeTokenIds, reportGoneIds, reportTemplate } from "./bound-ids.ts";
import { comparableModels } from "./comparable-models.ts";
import { checkAdapterBases, checkConfigs, checkFormats } from "./config-check.ts";
import type { ConfigValue, FileValue } from "./config-value.ts";
import { maybeCutTokenizer } from "./cut-tokenizer.ts";
import { withDecoderCount, withDecoderCounted } from "./decoder-count.ts";
import { earlierModel } from "./earlier-model.ts";
import type { Fault } from "./errors.ts";
import { Findings } from "./findings.ts";
import type { IntegerCopy } from "./integer-copies.ts";
import { withCopies } from "./kept-copies.ts";
import { reportLeftover, staleQuantization } from "./leftover-quantization.ts";
import { mainEmbedding } from "./main-embedding.ts";
import { checkMissingExperts } from "./missing-experts.ts";
import { checkMissingHeads } from "./missing-head.ts";
import { checkMissingLayers, countsTwice } from "./missing-layers.ts";
import { checkMissingParts } from "./missing-parts.ts";
import type { RecipeModel } from "./model-entry.ts";
import { type ModelReference, sameModel } from "./model-reference.ts";
import { assignModules, type ModuleAssignment, REST } from "./modules.ts";
import type { Note } from "./note.ts";
import { carriedMetadata, checkPacked } from "./packed-models.ts";
import { type BoundPartStack, type Part, PartBinder } from "./part-binder.ts";
import type { Participant, TensorPlace } from "./participant.ts";
import {
  isOfWholeModels,
  type LayerRange,
  modulesOf,
  type Recipe,
  type RecipeInput,
  type RecipeModule,
} from "./recipe.ts";
import { withoutScales } from "./scaled-model.ts";
import { StackCounts } from "./stack-counts.ts";
import { checkMergedKinds, type FollowedStack, followStack, isUnmoved, valuesOfAll } from "./stack-follower.ts";
import { stackedNames } from "./stacked-names.ts";
import { withoutCopies } from "./stored-ties.ts";
import { didYouMean, maybeMeant, quotedList } from "./suggestion.ts";
import { tableCounts } from "./table-counts.ts";
import { TensorBinder } from "./tensor-binder.ts";
import { layoutOf, mainStackOf, type TensorLayout } from "./tensor-layout.ts";
import { type BoundTokenizer, chatTemplateOf, maybeTokenBinder, type TokenBinder } from "./token-binder.ts";
import { checkPerLayerParts } from "./unlayered-fit.ts";
import { VocabularyCheck, type VocabularyOptions } from "./vocabulary-check.ts";
import { checkRowsBeyond, countsRows, otherCounts } from "./vocabulary-counts.ts";

/** What a recipe means for the models it names: one task per output tensor. Tasks are to be run only if there are no faults. */
export interface Binding {
  /** In the order of the output: pre, layers, post. */
  readonly tasks: readonly TensorTask[];
  /** Of the output; undefined where the models have no layers, or where the recipe has modules. */
  readonly layerCount: number | undefined;
  /** Of modules that are stacked from ranges of layers: the names before the number of the layer, and how many there are. */
  readonly stacks?: readonly BoundStack[];
  /** Whose config the output takes: the base, else the first source. Index into the inputs. */
  readonly definingInput: number;
  /** Whose tokenizer files and chat template it takes where they are not written: an adapter's, where it has some. */
  readonly tokenizerOf: number;
  readonly templateOf: number;
  /** How ids of tokens that the defining input's configs name are numbered in the output; undefined where they stay. */
  readonly tokenIds?: TokenIds;
  /** Rows of the output's input embedding, where the config is to count them: no tensor may be one, or the config counts otherwise. */
  readonly embeddingRows?: number;
  /** Where the output's tokenizer is written anew. */
  readonly tokenizer?: BoundTokenizer;
  /** Where the output is an adapter with a config. */
  readonly adapter?: PlanAdapter;
  /** Jinja; where the recipe asks for one. */
  readonly chatTemplate?: string;
  /** What the metadata of the output's files says; undefined where it is only their format. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** What the output's config says otherwise than the defining input's, of layers. */
  readonly configValues?: readonly ConfigValue[];
  /** The same of its other files about quantisation. */
  readonly fileValues?: readonly FileValue[];
  /** What is copied, skipped or cut, and why. */
  readonly notes: readonly Note[];
  /** What each model contributes. */
  readonly usage: readonly PlanUsage[];
  /** Integer tensors that are copied from one of several models. */
  readonly integers?: readonly IntegerCopy[];
  readonly faults: readonly Fault[];
  readonly warnings: readonly Fault[];
  /** Nothing was bound: what a model holds cannot be merged at all, and is among the faults. */
  readonly isRefused?: true;
}

export interface BoundStack {
  readonly prefix: string;
  readonly layerCount: number;
  /** In the defining model, and the config keys that say so, or list as many. */
  readonly layersBefore: number;
  readonly configKeys: readonly (readonly string[])[];
}

interface BoundParts {
  readonly layerCount: number | undefined;
  readonly stacks: readonly BoundStack[];
  readonly values: readonly ConfigValue[];
}

export interface BindOptions {
  readonly methods: ReadonlyMap<string, MethodDeclaration>;
  /** Ids that name different tokens in models that are merged are a warning instead of a fault. */
  readonly allowVocabularyMismatch?: boolean;
  /** Embeddings of different numbers of rows are cut to the rows that all have; that is a fault otherwise. */
  readonly cutEmbeddings?: boolean;
}

/**
 * A pure function of the recipe and the headers of its models: no tensor byte is read. `inputs`: of every model that
 * referencedModels names, in any order. All faults are reported at once.
 */
export function bindRecipe(recipe: Recipe, inputs: readonly RecipeInput[], options: BindOptions): Binding {
  const made = new Map<string, RecipeModel>();
  const bindings = new Map<string, Binding>();
  const findings = new Findings(recipe.fileName);
  for (const named of recipe.earlier ?? []) {
    const binding = withInherited(bindDocument(named.recipe, inputs, made, options), named.recipe, bindings);
    if (binding.isRefused === true) return binding;
    bindings.set(named.name, binding);
    const model = withoutScales(earlierModel(named, binding, inputs, findings));
    made.set(named.name, withoutCopies(model, named.place, findings));
  }
  const before = [...bindings.values()];
  const own = withInherited(bindDocument(recipe, inputs, made, options), recipe, bindings);
  const faults = [...before.flatMap((binding) => binding.faults), ...findings.faults];
  const tokenIds = boundIds(recipe, inputs, own, findings);
  const defining = inputs[own.definingInput];
  if (defining !== undefined && own.adapter === undefined && own.faults.length === 0)
    reportLeftover(defining, own.tasks, recipe.methodPlace, findings);
  const metadata = defining && carriedMetadata(recipe, defining, made);
  return {
    ...own,
    ...(tokenIds && { tokenIds }),
    ...(metadata && { metadata }),
    notes: [...before.flatMap(({ notes }) => notes), ...own.notes],
    usage: [...before.flatMap(({ usage }) => usage), ...own.usage],
    integers: [...before, own].flatMap(({ integers = [] }) => integers),
    // What a document lacks, those that build on it lack too: that need not be said again.
    faults: faults.length > 0 ? faults : own.faults,
    warnings: [...before.flatMap(({ warnings }) => warnings), ...own.warnings, ...findings.warnings],
  };
}

/** An output that is an adapter has no config of a model. */
function boundIds(
  recipe: Recipe,
  inputs: readonly RecipeInput[],
  { definingInput, tokenizerOf, templateOf, tokenizer, chatTemplate, tasks, embeddingRows, adapter }: Binding,
  findings: Findings,
): TokenIds | undefined {
  const defining = inputs[definingInput];
  if (defining === undefined || adapter !== undefined) return undefined;
  const output = { defining, bound: tokenizer, copied: inputs[tokenizerOf]?.tokenizer, tasks, embeddingRows };
  const text = chatTemplate ?? inputs[templateOf]?.chatTemplate;
  const place = recipe.chatTemplate?.place ?? recipe.tokenizer?.place ?? recipe.methodPlace;
  // A model that is copied as it is has the faults of its own template.
  if (chatTemplate !== undefined || tokenizer !== undefined || tokenizerOf !== templateOf)
    reportTemplate(output, { text, isForeign: recipe.chatTemplate?.kind === "text" }, inputs, place, findings);
  const ids = maybeTokenIds(output);
  if (ids !== undefined) reportGoneIds(output, ids, recipe.tokenizer?.place ?? recipe.methodPlace, findings);
  return ids;
}

/** With what the config of an earlier document says otherwise than the file that it was made from, where this one takes after it. */
function withInherited(own: Binding, recipe: Recipe, before: ReadonlyMap<string, Binding>): Binding {
  const { configValues = [], fileValues = [] } = before.get(definingModel(recipe).text) ?? {};
  return {
    ...own,
    ...(configValues.length > 0 && { configValues: [...configValues, ...(own.configValues ?? [])] }),
    ...(fileValues.length > 0 && { fileValues: [...fileValues, ...(own.fileValues ?? [])] }),
  };
}

/** `made`: what the documents before it make, as models. */
function bindDocument(
  recipe: Recipe,
  inputs: readonly RecipeInput[],
  made: ReadonlyMap<string, RecipeModel>,
  options: BindOptions,
): Binding {
  const method = options.methods.get(recipe.method);
  if (method === undefined) throw new Error(`${recipe.method} passed parseRecipe, but is no method`);
  const packed = new Findings(recipe.fileName);
  checkPacked(recipe, inputs, made, method, definingModel(recipe), packed);
  // Nothing else that could be said of codes would help.
  if (packed.faults.length > 0) return refused(packed);
  const { allowVocabularyMismatch: allowMismatch = false, cutEmbeddings: cutsRows = false } = options;
  return new RecipeBinder(recipe, inputs, made, method, {
    allowMismatch,
    cutsRows,
    isOfOneOrder: recipe.tokenizer !== undefined,
  }).bind();
}

function refused({ faults, warnings }: Findings): Binding {
  return {
    tasks: [],
    layerCount: undefined,
    definingInput: 0,
    tokenizerOf: 0,
    templateOf: 0,
    notes: [],
    usage: [],
    faults,
    warnings,
    isRefused: true,
  };
}

class RecipeBinder {
  readonly #recipe: Recipe;
  /** Every model as the recipe names it. */
  readonly #models: readonly RecipeModel[];
  readonly #inputs: readonly RecipeInput[];
  readonly #method: MethodDeclaration;
  readonly #findings: Findings;
  readonly #tensors: TensorBinder;
  readonly #definingModel: number;
  /** Whether the output's config ties embedding and head. */
  readonly #headValues: readonly ConfigValue[];
  /** Of that model, as it stands in its file. */
  readonly #storedConfig: Readonly<Record<string, unknown>> | undefined;
  readonly #tokens: TokenBinder | undefined;
  /** Stacks whose layers are others than in the model whose config the output has, or stand elsewhere. */
  readonly #moved: FollowedStack[] = [];

  constructor(
    recipe: Recipe,
    inputs: readonly RecipeInput[],
    made: ReadonlyMap<string, RecipeModel>,
    method: MethodDeclaration,
    vocabularyOptions: VocabularyOptions,
  ) {
    this.#recipe = recipe;
    this.#inputs = inputs;
    this.#method = method;
    const findings = new Findings(recipe.fileName);
    this.#findings = findings;
    const comparable = comparableModels(recipe, inputs, made, definingModel(recipe), method, findings);
    const { defining: at, values } = comparable;
    this.#definingModel = at;
    this.#headValues = values;
    this.#storedConfig = comparable.models[at]?.checkpoint.config;
    const models = comparable.models.map(withDecoderCounted);
    const defining = models[at];
    if (defining === undefined) throw new Error("the defining model is among the models");
    this.#models = models;
    checkArchitectures(recipe, models, defining, findings);
    checkConfigs(recipe, models, defining, findings);
    checkFormats(recipe, models, defining, findings);
    checkAdapterBases(recipe, models, findings);
    checkMissingLayers(recipe, this.#mergedModels(), findings);
    checkMissingExperts(recipe, this.#mergedModels(), findings);
    checkMissingParts(recipe, this.#mergedModels(), findings);
    checkMissingHeads(recipe, this.#mergedModels(), defining, findings);
    const tokens = maybeTokenBinder(recipe, models, this.#definingModel, findings);
    this.#tokens = tokens;
    const vocabularies = new VocabularyCheck(models, this.#definingModel, findings, vocabularyOptions);
    this.#tensors = new TensorBinder({
      ...{ recipe, inputs: models, method, findings, tokens, vocabularies },
      knowsArchitecture: isKnownArchitecture(defining),
      isTold: !isWithoutTokens(defining),
    });
  }

  bind(): Binding {
    if (this.#method.adapters === "only") return this.#bindAdapters();
    const adapter = maybePlainAdapter(this.#recipe, this.#mergedModels(), this.#findings);
    const { layerRanges, form } = this.#recipe;
    const { layerCount: layers, stacks, values } = form === "modules" ? this.#bindModules() : this.#bindAll();
    const { notes, usage } = this.#tensors;
    const tasks = withCopies(this.#tensors.tasks, form === "slices" ? new Map() : this.#copies);
    const defining = this.#models[this.#definingModel];
    const main = defining && mainEmbedding(defining.checkpoint)?.name;
    const embedding =
      tasks.find((task) => task.name === main && isMatrixEmbedding(task)) ??
      tasks.find((task) => isMatrixEmbedding(task) && !isAfterLayers(task.name));
    const embeddingRows = embedding?.shape[0];
    if (defining !== undefined && embeddingRows !== undefined)
      checkRowsBeyond(this.#recipe, defining, embeddingRows, this.#findings);
    const files = this.#inputs[this.#filesOf(this.#definingModel)];
    // What an earlier document makes was judged there.
    const counting = defining?.made === undefined ? this.#findings : new Findings(this.#recipe.fileName);
    const { methodPlace } = this.#recipe;
    const isCounted =
      embeddingRows !== undefined && files !== undefined && countsRows(files, embeddingRows, methodPlace, counting);
    const counts =
      files === undefined
        ? []
        : [...otherCounts(files, tasks, methodPlace, counting), ...tableCounts(files, tasks, methodPlace, counting)];
    const moved = this.#moved.map(({ stack }) => stack);
    const named =
      defining && stackedNames(defining, moved, () => staleQuantization(tasks, defining.checkpoint), this.#findings);
    const configValues = [...values, ...(named?.config ?? []), ...this.#headValues, ...counts];
    const fileValues = named?.files ?? [];
    const lastRange = layerRanges.findLast((range) => !isOfWholeModels(this.#recipe, range));
    this.#checkHead(tasks, embedding, lastRange?.place ?? this.#recipe.methodPlace);
    this.#tokens?.finish();
    this.#tensors.finish();
    if (this.#findings.faults.length === 0) usage.judge(this.#findings);
    const { tokenizer, chatTemplate, ...places } = this.#text(embeddingRows);
    return {
      tasks,
      layerCount: adapter === undefined ? layers : undefined,
      ...(stacks.length > 0 && { stacks }),
      ...(configValues.length > 0 && { configValues }),
      ...(fileValues.length > 0 && { fileValues }),
      ...(adapter && { adapter }),
      definingInput: this.#filesOf(this.#definingModel),
      ...places,
      ...(tokenizer && { tokenizer }),
      ...(chatTemplate !== undefined && { chatTemplate }),
      ...(isCounted && { embeddingRows }),
      notes,
      usage: usage.usage,
      integers: this.#tensors.integers,
      faults: this.#findings.faults,
      warnings: this.#findings.warnings,
    };
  }

  /** Second names in the defining model. */
  get #copies(): ReadonlyMap<string, string> {
    return this.#models[this.#definingModel]?.ties?.copies ?? new Map();
  }

  #bindAdapters(): Binding {
    const { tasks, adapter, usage } = bindAdapters(this.#recipe, this.#models, this.#method, this.#findings);
    const first = this.#recipe.layerRanges[0]?.sources[0];
    const defining = this.#filesOf(first === undefined ? 0 : this.#modelIndex(first.model));
    return {
      tasks,
      layerCount: undefined,
      ...(adapter && { adapter }),
      definingInput: defining,
      tokenizerOf: defining,
      templateOf: defining,
      notes: [],
      usage,
      faults: this.#findings.faults,
      warnings: this.#findings.warnings,
    };
  }

  /** The tokenizer and the chat template of the output: as the recipe asks, else as the defining model has them. */
  #text(embeddingRows: number | undefined): Pick<Binding, "tokenizer" | "chatTemplate" | "tokenizerOf" | "templateOf"> {
    const bound = this.#tokens?.bound;
    const patternAt = bound?.pattern ?? this.#definingModel;
    const pattern = this.#models[patternAt];
    if (pattern === undefined) throw new Error("the pattern of a vocabulary is among the models");
    const { tokenizerOf, templateOf, made } = pattern;
    const { methodPlace } = this.#recipe;
    const tokenizer = bound
      ? { ...bound, pattern: tokenizerOf }
      : (made?.tokenizer ??
        maybeCutTokenizer(this.#models, this.#definingModel, embeddingRows, methodPlace, this.#findings));
    const chatTemplate = chatTemplateOf(this.#recipe, this.#models, this.#findings) ?? made?.chatTemplate;
    return {
      ...{ tokenizerOf, templateOf },
      ...(tokenizer && { tokenizer }),
      ...(chatTemplate !== undefined && { chatTemplate }),
    };
  }

  /** Those that tensors are taken from. */
  #mergedModels(): RecipeModel[] {
    const { layerRanges, baseModel } = this.#recipe;
    const named = layerRanges.flatMap((range) => [range.baseModel, ...range.sources.map(({ model }) => model)]);
    return this.#models.filter(({ reference }) => [baseModel, ...named].some((model) => sameModel(model, reference)));
  }

  #bindAll(): BoundParts {
    const part = this.#partBinder({
      ranges: this.#recipe.layerRanges,
      layouts: this.#models.map((model) => this.#wholeLayout(model)),
      reference: this.#definingModel,
      configuredLayers: ({ checkpoint }) => layerCount(checkpoint),
    });
    const { layerCount: count, stack } = part.bind();
    if (stack !== undefined) this.#follow(stack, { prefix: stack.prefix, tower: "text", isMain: true });
    return { layerCount: count, stacks: [], values: this.#movedValues() };
  }

  /** Takes note of a stack, if it is another than the model's own. */
  #follow(stack: BoundPartStack, place: StackPlace): void {
    const model = this.#models[this.#definingModel];
    if (model === undefined) throw new Error("the defining model is among the models");
    const made = { ...stack, place, model, count: stack.layersBefore };
    checkMergedKinds(made, this.#findings);
    if (isUnmoved(made)) return;
    this.#reportTwins(model, stack);
    const [range] = this.#recipe.layerRanges;
    const unlayered = [...model.checkpoint.tensors.keys()].filter((name) => splitLayer(name) === undefined);
    const type = model.checkpoint.config?.model_type;
    if (range !== undefined && countsTwice.has(type)) {
      const message = `the config of "${model.label}" (${type}) counts a layer more than once, and cannot be made to say what the stacked layers are`;
      const hint = 'Models of this kind can be merged whole, with "models", but not stacked.';
      this.#findings.fault("recipe/layer-misfit", range.place, message, hint);
    }
    if (range !== undefined) checkPerLayerParts(model, unlayered, made.count, range, this.#findings);
    this.#moved.push(followStack(made, this.#findings));
  }

  /** What the config says of stacks that were moved, judged beside those that were not. */
  #movedValues(): readonly ConfigValue[] {
    const model = this.#models[this.#definingModel];
    if (model === undefined || this.#moved.length === 0) return [];
    const counts = new StackCounts(model.checkpoint);
    const moved = new Set(this.#moved.map(({ stack }) => stack.prefix));
    const unmoved = [...layoutOf(model.checkpoint.tensors.keys()).stacks].flatMap(([prefix, layers]) =>
      moved.has(prefix)
        ? []
        : [{ place: counts.placeOf(prefix), model, prefix, layers, count: layers.layerCount, origins: [] }],
    );
    return valuesOfAll(this.#moved, unmoved, this.#findings);
  }

  #reportTwins(model: RecipeModel, { prefix, layersBefore, origins }: BoundPartStack): void {
    const twins = new StackCounts(model.checkpoint).twinsOf(prefix);
    const [range] = this.#recipe.layerRanges;
    if (twins.length === 0 || range === undefined || origins.length === layersBefore) return;
    const message = `"${model.label}" has ${quotedList(twins)} beside ${prefix}, as many as it has layers (${layersBefore}), and they stay so many`;
    const hint = "What loads the output may want as many of them as there are layers now.";
    this.#findings.warning("recipe/layer-misfit", range.place, message, hint);
  }

  #wholeLayout({ checkpoint }: RecipeModel): TensorLayout {
    const layout = layoutOf(checkpoint.tensors.keys());
    const towerOf = towersOf(checkpoint.tensors.keys());
    const isOneTower = [...layout.stacks.keys()].every((prefix) => towerOf(`${prefix}.0.weight`) === "text");
    return this.#recipe.form === "slices" && isOneTower ? mainStackOf(layout, layerCount(checkpoint)) : layout;
  }

  /** One module after another; what none of them takes is copied from the base, or the first model. */
  #bindModules(): BoundParts {
    const modules = modulesOf(this.#recipe);
    const names = modules.map(({ module }) => module.name);
    const assignments = this.#models.map(({ checkpoint }) => assignModules(names, [...checkpoint.tensors.keys()]));
    const defining = this.#models[this.#definingModel];
    const ofDefining = assignments[this.#definingModel];
    if (defining === undefined || ofDefining === undefined) throw new Error("the defining model is among the models");
    const counts = new Map(this.#models.map(({ checkpoint }) => [checkpoint, new StackCounts(checkpoint)]));
    const countsOf = ({ checkpoint }: RecipeModel) => counts.get(checkpoint) ?? new StackCounts(checkpoint);
    const stacks: BoundStack[] = [];
    const parts = modules.map(({ module, layerRanges: ranges }, k) => {
      const layouts = this.#models.map(({ checkpoint }, model) =>
        layoutOf([...checkpoint.tensors.keys()].filter((name) => assignments[model]?.moduleOf(name) === k)),
      );
      const { pre = [], post = [], stacks: own = new Map() } = layouts[this.#definingModel] ?? {};
      const isEmpty = pre.length + post.length + own.size === 0;
      // Nothing left for the module of the rest is no mistake.
      if (isEmpty && module.name !== REST) this.#reportEmptyModule(module, defining, ofDefining);
      const configuredLayers: Part["configuredLayers"] = (input, prefix) => countsOf(input).configured(prefix);
      const binder = this.#partBinder({ ranges, layouts, reference: this.#definingModel, configuredLayers });
      const { layerCount: count, stack } = binder.bind();
      if (stack !== undefined && count !== undefined) {
        const { prefix, layersBefore } = stack;
        const holders = countsOf(defining).holders(prefix, layersBefore);
        const configKeys = holders.flatMap(({ path, keys, lists = [] }) =>
          [...keys, ...lists].map((key) => [...path, key]),
        );
        stacks.push({ prefix, layersBefore, layerCount: count, configKeys });
        this.#follow(stack, countsOf(defining).placeOf(prefix));
      }
      return binder;
    });
    const rest = [...defining.checkpoint.tensors.keys()].filter((name) => ofDefining.moduleOf(name) === undefined);
    const [place] = parts.map((part) => part.unlayeredPlace());
    if (place !== undefined) this.#copyRest(rest, place, defining, ofDefining);
    return {
      layerCount: undefined,
      stacks,
      values: withDecoderCount(this.#storedConfig, defining.checkpoint.config, this.#movedValues()),
    };
  }

  #copyRest(names: readonly string[], place: TensorPlace, model: RecipeModel, { known }: ModuleAssignment): void {
    const source: Participant = { ...place.defining, input: model, inputIndex: this.#definingModel };
    for (const name of names) {
      this.#tensors.copyRest(name, { ...place, defining: source });
      const message = `no module takes ${name}: it is copied from "${model.label}"`;
      const hint = `Modules of this model may be called ${quotedList(known, "or")}.`;
      const { methodPlace } = this.#recipe;
      this.#findings.repeated("warning", "no module", "recipe/tensor-skipped", methodPlace, message, hint);
    }
  }

  #reportEmptyModule({ name, place }: RecipeModule, model: RecipeModel, { known }: ModuleAssignment): void {
    const message = `"${model.label}" has no tensors of a module "${name}"${didYouMean(maybeMeant(name, known))}`;
    const hint = `Known there: ${quotedList(known)}; or the beginning of the names of tensors.`;
    this.#findings.fault("recipe/module", place, message, hint);
  }

  #partBinder(part: Part): PartBinder {
    return new PartBinder(this.#recipe, this.#models, this.#method, this.#findings, this.#tensors, part);
  }

  /** A stack takes its embedding from the first range and its output head from the last; an adapter may bring rows for one of them. */
  #checkHead(tasks: readonly TensorTask[], embedding: TensorTask | undefined, place: LayerRange["place"]): void {
    const head = tasks.find((task) => isMatrixEmbedding(task) && isAfterLayers(task.name));
    const [rows, headRows] = [embedding?.shape[0], head?.shape[0]];
    if (embedding === undefined || head === undefined || rows === headRows) return;
    const defining = this.#models[this.#definingModel];
    const stored = this.#inputs[this.#filesOf(this.#definingModel)];
    const [own, ownHead] = [embedding, head].map(
      ({ name }) => (stored?.checkpoint.tensors.get(name) ?? defining?.checkpoint.tensors.get(name))?.shape[0],
    );
    if (rows === own && headRows === ownHead) return; // by design: see countsRows
    const message = `the output's embedding ${embedding.name} would have ${rows} rows, its head ${head.name} ${headRows}`;
    const hint = "Take both from models of one vocabulary, or make it one: tokenizer_source: union.";
    this.#findings.fault("recipe/embedding-rows", place, message, hint);
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

function isMatrixEmbedding(task: TensorTask): boolean {
  return task.shape.length === 2 && task.shape[0] !== 1 && isEmbeddingLike(task.name);
}
