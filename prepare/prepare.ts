import {
  type Checkpoint,
  CheckpointError,
  companionKind,
  type Fetching,
  isQuantizerFile,
  locateModel,
  type ModelLocation,
  type ModelOrigin,
  type ModelReference,
  mayNameTokenIds,
  type OpenedFiles,
  openAdapter,
  openModelOrAdapter,
  type Surroundings,
  sha256Hex,
  TokenizerReader,
} from "../checkpoint/index.ts";
import { methodDeclarations } from "../merge/methods/index.ts";
import {
  type Failure,
  failureFrom,
  type InputDocument,
  type InputFile,
  type Json,
  type Plan,
  type PlanOptions,
  type PlanVocabulary,
} from "../merge/work/index.ts";
import { checkLayerCount, type OutputText } from "../output/index.ts";
import { buildPlan, planDigest } from "../plan/index.ts";
import {
  type Binding,
  type BoundTokenizer,
  bindRecipe,
  canonicalRecipe,
  checkFaults,
  type Fault,
  type IntegerCopy,
  labelsFor,
  type ParseOptions,
  parseRecipe,
  type Recipe,
  type RecipeInput,
  referencedModels,
} from "../recipe/index.ts";
import {
  boundedSource,
  inParallel,
  isHubPlace,
  nameOf,
  type Place,
  parentOf,
  placeFrom,
  placeOf,
  readWhole,
  type Source,
  schemeOf,
  Turns,
} from "../storage/index.ts";
import { besideWarnings } from "./beside-warnings.ts";
import { CALLS_AT_ONCE, TEXTS_AT_ONCE } from "./bounds.ts";
import { damagedFiles } from "./damaged-files.ts";
import { differingIntegers } from "./differing-integers.ts";
import { differingSettings } from "./differing-settings.ts";
import { differingTokenizers } from "./differing-tokenizers.ts";
import { InputsError } from "./errors.ts";
import { twiceNamed } from "./twice-named.ts";

/** A recipe is text that people write; a longer one is something else. */
const RECIPE_MAX_BYTES = 16 * 1024 * 1024;

export interface PrepareOptions extends PlanOptions {
  /** Decimal. */
  readonly seed: string;
  readonly allowUnknownKeys: boolean;
  /** Models whose tokenizers give one id to different tokens are merged all the same. */
  readonly allowVocabularyMismatch?: boolean | undefined;
  /** Without a tokenizer key embeddings are cut to the rows that all models have. */
  readonly cutEmbeddings?: boolean | undefined;
  readonly modelsRoot?: Place | undefined;
  readonly cwd: Place;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Finds models in place of the search on this machine; see `locateModel`. */
  readonly findModel?: FindModel | undefined;
  /**
   * Per model in recipe order: where an earlier run of the same merge found it. On the Hub it is read there again, at the same commit, and
   * elsewhere where it is not found otherwise. Asked for at most once, and only if it matters.
   */
  readonly recordedFolders?: (() => Promise<readonly Place[]>) | undefined;
  /** See `Surroundings`. */
  readonly fillHubCache?: Fetching | undefined;
}

/** Where a model is, by the name that a recipe gives it. @throws CheckpointError */
export type FindModel = (reference: ModelReference) => Promise<ModelLocation>;

/** A recipe that has been read, checked against its models and planned. No tensor byte has been read. */
export interface Prepared {
  readonly recipeText: string;
  readonly recipe: Recipe;
  readonly plan: Plan;
  readonly digest: string;
  readonly definingCheckpoint: Checkpoint;
  readonly text?: OutputText | undefined;
  /** As plan.inputs, with places and states. */
  readonly inputs: readonly {
    readonly label: string;
    readonly files: readonly InputFile[];
    readonly documents: readonly InputDocument[];
    readonly origin?: ModelOrigin | undefined;
  }[];
  readonly warnings: readonly Fault[];
  /** Integer tensors that are copied from one of several models. */
  readonly integers: readonly IntegerCopy[];
}

export async function readRecipe(store: Source, path: Place): Promise<string> {
  try {
    return new TextDecoder("utf-8").decode(await readWhole(store, path, RECIPE_MAX_BYTES));
  } catch (error) {
    throw new InputsError([failureFrom(error)]);
  }
}

/** @throws RecipeError with all faults of the recipe; InputsError where models cannot be opened */
export async function prepare(store: Source, recipePath: Place, options: PrepareOptions): Promise<Prepared> {
  return prepareText(store, await readRecipe(store, recipePath), recipePath, options);
}

/** `recipePath` names the recipe in messages; relative model paths are looked up from its folder too. */
export async function prepareText(
  store: Source,
  recipeText: string,
  recipePath: string,
  options: PrepareOptions,
): Promise<Prepared> {
  const parsed = await parseBeside(store, recipeText, recipePath, options);
  const { opened, failures, beside } = await openModels(store, parsed.recipe, recipePath, options);
  const [failure, ...others] = failures;
  if (failure !== undefined) {
    checkFaults(parsed.faults);
    throw new InputsError([failure, ...others]);
  }
  const prepared = planOpened(parsed, opened, options);
  const defining = opened[prepared.plan.definingInput];
  const rest = opened.filter((input) => input !== defining && input.adapter === undefined);
  const more = [
    ...(await differingIntegers(boundedSource(store, CALLS_AT_ONCE), prepared.integers, parsed.recipe.fileName)),
    ...(defining === undefined ? [] : await differingSettings(beside, parsed.recipe, defining, rest)),
    ...(await differingTokenizers(beside, parsed.recipe, opened, prepared.plan, prepared.text ?? {})),
    ...(await damagedFiles(beside, parsed.recipe, opened, prepared.plan, prepared.text ?? {})),
  ];
  return more.length === 0 ? prepared : { ...prepared, warnings: [...prepared.warnings, ...more] };
}

/** A recipe whose structure could be read; it may have faults all the same. */
export interface ParsedText {
  readonly recipe: Recipe;
  readonly faults: readonly Fault[];
  readonly warnings: readonly Fault[];
}

/** A path that is there counts as it stands, whatever "+" and "@" mean in a recipe otherwise: it is looked for first. */
export async function parseBeside(
  store: Source,
  text: string,
  path: string,
  options: OpenModelsOptions & Pick<PrepareOptions, "allowUnknownKeys">,
): Promise<ParsedText> {
  const { allowUnknownKeys } = options;
  const asked = new Set<string>();
  const isPath = (written: string) => !asked.add(written);
  parseRecipe(text, path, { methods: methodDeclarations(), allowUnknownKeys, isPath });
  const there = new Set<string>();
  const { cwd, recipeDirectory, modelsRoot = cwd } = surroundingsOf(path, options);
  const places = [...new Set([modelsRoot, cwd, recipeDirectory])];
  const isThere = async (written: string): Promise<boolean> => {
    if (options.findModel !== undefined) return (await options.findModel({ path: written })) !== undefined;
    const found = await Promise.all(places.map((place) => store.identity(placeFrom(place, written))));
    return found.some((identity) => identity !== undefined);
  };
  // What cannot be looked for is no path: as a model with an adapter it may be one. In an address "+" and "@" are encoded.
  for (const written of asked)
    if (schemeOf(placeOf(written)) === "file" && (await isThere(written).catch(() => false))) there.add(written);
  return parse(text, path, { allowUnknownKeys, isPath: (written) => there.has(written) });
}

function parse(
  text: string,
  path: string,
  { allowUnknownKeys, isPath }: Pick<PrepareOptions, "allowUnknownKeys"> & Pick<ParseOptions, "isPath">,
): ParsedText {
  const options = { methods: methodDeclarations(), allowUnknownKeys, ...(isPath && { isPath }) };
  const { recipe, faults, warnings } = parseRecipe(text, path, options);
  if (recipe !== undefined) return { recipe, faults, warnings };
  checkFaults(faults);
  throw new Error("a recipe without faults should have been read");
}

/** The plan for models that are open. @throws RecipeError with all faults; MethodError; PublishError `publish/layer-count` */
export function planOpened(
  { recipe, faults, warnings }: ParsedText,
  opened: readonly RecipeInput[],
  options: PlanOptions & Pick<PrepareOptions, "seed" | "allowVocabularyMismatch" | "cutEmbeddings">,
): Prepared {
  const { allowVocabularyMismatch = false, cutEmbeddings = false } = options;
  const methods = methodDeclarations();
  const binding = bindRecipe(recipe, opened, { methods, allowVocabularyMismatch, cutEmbeddings });
  checkFaults([...faults, ...binding.faults]);
  const labels = new Map(opened.map(({ reference, label }) => [reference.text, label]));
  const plan = buildPlan({
    recipe: canonicalRecipe(recipe, labels) as Json,
    seed: options.seed,
    options: {
      sliceBytes: options.sliceBytes,
      shardBytes: options.shardBytes,
      allowNonfinite: options.allowNonfinite,
      layout: options.layout,
    },
    inputs: opened,
    definingInput: binding.definingInput,
    layerCount: binding.layerCount,
    stacks: binding.stacks,
    configValues: binding.configValues,
    embeddingRows: binding.embeddingRows,
    metadata: binding.metadata,
    adapter: binding.adapter,
    vocabulary: binding.tokenizer && vocabularyOf(binding.tokenizer),
    chatTemplateSha256: binding.chatTemplate && sha256Hex(Buffer.from(binding.chatTemplate, "utf8")),
    tasks: binding.tasks,
    notes: binding.notes,
    usage: binding.usage,
  });
  const defining = opened[plan.definingInput];
  if (defining === undefined) throw new Error("the plan names no defining input");
  checkLayerCount(plan, defining.checkpoint);
  return {
    recipeText: recipe.text,
    recipe,
    plan,
    digest: planDigest(plan),
    definingCheckpoint: defining.checkpoint,
    text: textOf(binding, opened),
    inputs: opened.map(({ label, checkpoint }, input) => ({
      label,
      files: checkpoint.files.map(inputFileOf),
      documents: documentsOf(checkpoint, input === binding.definingInput || input === binding.tokenizer?.pattern),
      origin: checkpoint.origin,
    })),
    warnings: [
      ...warnings,
      ...twiceNamed(recipe, opened),
      ...binding.warnings,
      ...besideWarnings(recipe, opened, binding),
    ],
    integers: binding.integers ?? [],
  };
}

export interface OpenModelsOptions
  extends Pick<
    PrepareOptions,
    "cwd" | "environment" | "modelsRoot" | "findModel" | "recordedFolders" | "fillHubCache"
  > {}

/** Models that were opened, what could not be, and what reads the files beside them: those that were read already are not read again. */
export interface OpenedModels {
  readonly opened: readonly RecipeInput[];
  readonly failures: readonly Failure[];
  readonly beside: TokenizerReader;
}

/** Opens every model that a recipe names, headers only, and says what could not be opened. */
export async function openModels(
  store: Source,
  recipe: Recipe,
  recipePath: string,
  options: OpenModelsOptions,
): Promise<OpenedModels> {
  const references = referencedModels(recipe);
  const labels = labelsFor(references);
  const surroundings = surroundingsOf(recipePath, options);
  const bounded = boundedSource(store, CALLS_AT_ONCE);
  const tokenizers = new TokenizerReader(bounded);
  const texts = new Turns(TEXTS_AT_ONCE);
  let folders: Promise<readonly Place[]> | undefined;
  const recordedFolder = async (k: number) => {
    folders ??= options.recordedFolders?.();
    return (await folders)?.[k];
  };
  const results = await inParallel(references, CALLS_AT_ONCE, async (reference, k) => {
    const label = labels.get(reference.text) ?? reference.text;
    try {
      const recorded = () => recordedFolder(k);
      const location = await locate(bounded, { ...reference, recorded }, surroundings, options.findModel);
      const { checkpoint, adapter } =
        reference.isAdapter === true
          ? await adapterAt(bounded, location, label)
          : await openModelOrAdapter(bounded, location, label);
      const text = await texts.take(() => textOfInput(recipe, references.length, tokenizers, checkpoint, label));
      return { reference, label, checkpoint, ...(adapter && { adapter }), ...text };
    } catch (error) {
      return { failure: failureFrom(error) };
    }
  });
  const opened = results.flatMap((result) => ("failure" in result ? [] : [result]));
  const failures = results.flatMap((result) => ("failure" in result ? [result.failure] : []));
  return { opened: await withSlowVocabularies(recipe, opened, tokenizers), failures, beside: tokenizers };
}

/** Where a tokenizer.json is missing, ids are compared by the files for slow tokenizers, those of models that have one included. */
async function withSlowVocabularies(
  recipe: Recipe,
  opened: readonly RecipeInput[],
  tokenizers: TokenizerReader,
): Promise<readonly RecipeInput[]> {
  const isCompared = recipe.tokenizer === undefined && opened.length > 1;
  if (!isCompared || opened.every(({ tokenizer }) => tokenizer !== undefined)) return opened;
  return inParallel(opened, TEXTS_AT_ONCE, async (input) => {
    try {
      return { ...input, slowVocabularies: await tokenizers.slowVocabularies(input.checkpoint, input.label) };
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      return input; // too large to be one
    }
  });
}

function surroundingsOf(
  recipePath: string,
  { cwd, environment, modelsRoot, fillHubCache }: OpenModelsOptions,
): Surroundings {
  const recipeDirectory = parentOf(placeFrom(cwd, recipePath));
  return {
    cwd,
    recipeDirectory,
    environment,
    ...(modelsRoot !== undefined && { modelsRoot }),
    ...(fillHubCache && { fillHubCache }),
  };
}

async function adapterAt(store: Source, location: ModelLocation, label: string): Promise<OpenedFiles> {
  const adapter = await openAdapter(store, location, label);
  return { checkpoint: adapter.checkpoint, adapter };
}

/** A tokenizer is read where others are to be compared with it or made of it; one that is damaged matters only then. */
async function textOfInput(
  recipe: Recipe,
  inputCount: number,
  tokenizers: TokenizerReader,
  checkpoint: Checkpoint,
  label: string,
): Promise<Pick<RecipeInput, "tokenizer" | "tokenizerFault" | "chatTemplate" | "idFiles" | "quantizerFiles">> {
  const idFiles = await tokenizers.objects(checkpoint, label, mayNameTokenIds);
  const quantizerFiles = await tokenizers.objects(checkpoint, label, isQuantizerFile);
  try {
    const isNeeded = recipe.tokenizer !== undefined || recipe.chatTemplate !== undefined || inputCount > 1;
    return {
      ...{ idFiles, quantizerFiles },
      tokenizer: isNeeded ? await tokenizers.read(checkpoint, label) : undefined,
      chatTemplate: isNeeded ? await tokenizers.chatTemplate(checkpoint, label) : undefined,
    };
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    return { idFiles, quantizerFiles, tokenizerFault: error.message };
  }
}

function vocabularyOf({ pattern, vocabulary, written }: BoundTokenizer): PlanVocabulary {
  const files = [...written.files].map(([name, text]) => [name, sha256Hex(Buffer.from(text, "utf8"))]);
  return { pattern, size: vocabulary.size, files: Object.fromEntries(files) };
}

function textOf(binding: Binding, opened: readonly RecipeInput[]): OutputText {
  const { tokenizer, chatTemplate, tokenIds: ids, definingInput, tokenizerOf, templateOf, fileValues } = binding;
  const checkpointOf = (input: number): Checkpoint => {
    const { checkpoint } = opened[input] ?? {};
    if (checkpoint === undefined) throw new Error("what gives the output its text is among the inputs");
    return checkpoint;
  };
  if (tokenizer !== undefined) {
    const { files, slowFilesHold } = tokenizer.written;
    const [pattern, template] = [checkpointOf(tokenizer.pattern), checkpointOf(templateOf)];
    const written = { files, slowFilesHold, pattern, template };
    return { chatTemplate, ids, fileValues, tokenizer: written, tokenizerOf: tokenizer.pattern, templateOf };
  }
  return {
    ...{ chatTemplate, ids, fileValues, tokenizerOf, templateOf },
    tokenizerFrom: tokenizerOf === definingInput ? undefined : checkpointOf(tokenizerOf),
    templateFrom: templateOf === definingInput ? undefined : checkpointOf(templateOf),
  };
}

async function locate(
  store: Source,
  reference: ModelReference,
  surroundings: Surroundings,
  findModel: FindModel | undefined,
): Promise<ModelLocation> {
  try {
    return await (findModel?.(reference) ?? locateModel(store, reference, surroundings));
  } catch (error) {
    const recordedFolder = await reference.recorded?.();
    if (recordedFolder === undefined || isHubPlace(recordedFolder)) throw error;
    if ((await store.identity(recordedFolder)) === undefined) throw error;
    const isFile = reference.path.endsWith(".safetensors");
    return { root: recordedFolder, ...(isFile ? { file: nameOf(placeOf(reference.path)) } : {}) };
  }
}

/** Files beside the weights that the plan was made with; of models whose files are copied, all that are. */
function documentsOf({ sidecars }: Checkpoint, isCopied: boolean): readonly InputDocument[] {
  return [...(sidecars ?? [])].flatMap(([name, state]) => {
    const counts = isCopied || name === "README.md" || name.endsWith("config.json") || companionKind(name) !== "other";
    return counts ? [{ name, ...state }] : [];
  });
}

function inputFileOf({ path, sizeBytes, version }: InputFile): InputFile {
  return { path, sizeBytes, version };
}
