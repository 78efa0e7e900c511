import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { TextPlace } from "./errors.ts";
import type { Difference, DifferenceKind } from "./migration.ts";
import { maybeNumberFromText } from "./scalars.ts";
import type { YamlEntry, YamlMap, YamlNode } from "./yaml.ts";

/** Releases of mergekit that a recipe may come from; the newest is what is meant where nothing is said. */
export const peerVersions = ["0.1.4", "0.1.5"] as const;
export type PeerVersion = (typeof peerVersions)[number];

/** Looks at a recipe's text for one thing that a release of mergekit does otherwise. */
export type MigrationRule = (
  root: YamlMap,
  methods: ReadonlyMap<string, MethodDeclaration>,
  from: PeerVersion,
) => readonly Difference[];

/** What stands in docs/methods.md under "Where mergekit has a defect" and in docs/methods-notes.md, each as a rule. */
export const migrationRules: readonly MigrationRule[] = [
  roundedArithmetic,
  unseededMasks,
  collapsedRanks,
  arbitraryTies,
  sampledQuantiles,
  unlistedBase,
  sameModelTwice,
  ownParameters,
  ownMethods,
  unorderedUnion,
  adapterDtype,
  ...[zeroGamma, singleCondition, iterationsAsFloat, listsOfWords, zeroToken, opposedStock].map(until014),
  ...[promotedDtype].map(since015),
];

/** A rule about what release 0.1.5 no longer does. */
function until014(rule: MigrationRule): MigrationRule {
  return (root, methods, from) => (from === "0.1.4" ? rule(root, methods, from) : []);
}

function since015(rule: MigrationRule): MigrationRule {
  return (root, methods, from) => (from === "0.1.4" ? [] : rule(root, methods, from));
}

function zeroGamma(root: YamlMap): Difference[] {
  if (!methodOf(root).startsWith("breadcrumbs")) return [];
  return settingsNamed(root, "gamma").flatMap((entry) =>
    scalarsOf(entry.value)
      .filter((node) => numberOf(node) === 0)
      .map((node) =>
        difference(
          "defect",
          node.place,
          "gamma: 0",
          "no outliers are removed",
          "the model has no effect at all: its mask comes out empty",
        ),
      ),
  );
}

/** linear and slerp of 0.1.5 compute in float32 and round once; its other methods round at every step, as all did before. */
function roundedArithmetic(root: YamlMap, _: unknown, from: PeerVersion): Difference[] {
  const entry = root.entries.get("dtype");
  const dtype = entry === undefined ? "" : textOf(entry.value).replace(/^torch\./, "");
  if (entry === undefined || !["bfloat16", "float16"].includes(dtype)) return [];
  return [
    difference(
      "arithmetic",
      entry.place,
      `dtype: ${dtype}`,
      "arithmetic is float32, rounded once at the end; dtype only names the dtype of the output",
      from === "0.1.5" && ["linear", "slerp"].includes(methodOf(root))
        ? `inputs are rounded to ${dtype} before anything is computed, and the result once more: models of another dtype lose bits first`
        : `every step rounds to ${dtype}: results differ in the last bits, and lie further from the exact ones`,
    ),
  ];
}

function promotedDtype(root: YamlMap): Difference[] {
  const method = root.entries.get("merge_method");
  if (method === undefined || root.entries.has("dtype") || root.entries.has("out_dtype")) return [];
  if (["passthrough", "cat", "svd"].includes(methodOf(root))) return [];
  return [
    difference(
      "arithmetic",
      method.place,
      "no dtype",
      "the output has the dtypes of the base, or of the first model",
      "where the models' dtypes differ they are promoted to a common one (bfloat16 and float16 give float32), which the output keeps",
    ),
  ];
}

function unseededMasks(root: YamlMap): Difference[] {
  const method = root.entries.get("merge_method");
  if (method === undefined || !/^(?:dare|della)/.test(methodOf(root))) return [];
  return [
    difference(
      "arithmetic",
      method.place,
      `merge_method: ${methodOf(root)}`,
      "masks depend on the recipe and --random-seed alone: the same bytes every time",
      "masks depend on the order in which tensors are computed; no two runs need agree, and only statistics can be compared",
    ),
  ];
}

function collapsedRanks(root: YamlMap): Difference[] {
  const method = root.entries.get("merge_method");
  if (method === undefined || !methodOf(root).startsWith("della")) return [];
  return [
    difference(
      "defect",
      method.place,
      `merge_method: ${methodOf(root)}`,
      "ranks within a row are whole numbers",
      "ranks are held in the dtype of the deltas: in bfloat16 ranks above 256 collapse, and many elements share a probability",
    ),
  ];
}

function arbitraryTies(root: YamlMap, _: unknown, from: PeerVersion): Difference[] {
  const method = root.entries.get("merge_method");
  if (method === undefined || !["ties", "breadcrumbs", "breadcrumbs_ties"].includes(methodOf(root))) return [];
  return [
    difference(
      "arithmetic",
      method.place,
      `merge_method: ${methodOf(root)}`,
      "of equal magnitudes at the threshold the lower index stays",
      `an unstable sort decides which of them stay (in bfloat16 checkpoints commonly hundreds a tensor)${from === "0.1.4" ? "; a density that keeps nothing ends the run" : ""}`,
    ),
  ];
}

function sampledQuantiles(root: YamlMap): Difference[] {
  const method = root.entries.get("merge_method");
  if (method === undefined || methodOf(root) !== "arcee_fusion") return [];
  return [
    difference(
      "arithmetic",
      method.place,
      "merge_method: arcee_fusion",
      "quantiles are exact",
      "quantiles of tensors of more than 1,000,000 elements come from a random sample",
    ),
  ];
}

function opposedStock(root: YamlMap): Difference[] {
  const method = root.entries.get("merge_method");
  if (method === undefined || methodOf(root) !== "model_stock") return [];
  return [
    difference(
      "defect",
      method.place,
      "merge_method: model_stock",
      "a tensor whose deltas are opposed so far that no step is defined stays at the base, with a warning",
      "such a tensor becomes NaN or takes a huge step",
    ),
  ];
}

/** 0.1.4 stops at a base that is not listed; 0.1.5 lists it, as one more model that linear needs a weight for. */
function unlistedBase(root: YamlMap, _: unknown, from: PeerVersion): Difference[] {
  const base = root.entries.get("base_model");
  const method = methodOf(root);
  if (base === undefined || !["linear", "passthrough"].includes(method)) return [];
  const models = mapsIn(root.entries.get("models")?.value);
  if (models.length === 0 || models.some((entry) => modelTextOf(entry) === textOf(base.value))) return [];
  const subject = `base_model: ${textOf(base.value)}`;
  const global = root.entries.get("parameters")?.value;
  const hasWeight = global?.kind === "map" && global.entries.has("weight");
  if (from === "0.1.5" && method === "linear" && hasWeight) {
    const here = 'refused: list the base among "models" to merge it, or give each model its own weight';
    const there = "adds the base as one more model, with the weight at the top of the recipe";
    return [difference("refused-here", base.place, subject, here, there)];
  }
  const here = "takes no part; config and tokenizer come from it";
  const there =
    from === "0.1.4"
      ? `stops: ${method} finds no input for the base that "models" does not list`
      : `adds the base as one more model and stops: ${method === "linear" ? "it has no weight" : "passthrough takes one model"}`;
  return [difference("fails-there", base.place, subject, here, there)];
}

function singleCondition(root: YamlMap): Difference[] {
  return parameterMaps(root).flatMap((parameters) =>
    [...parameters.entries.values()]
      .filter(({ value }) => value.kind === "map" && value.entries.has("value"))
      .map(({ key, value }) =>
        difference(
          "fails-there",
          value.place,
          `${key} with one condition outside of a list`,
          "counts as a list of one",
          "stops with a type error",
        ),
      ),
  );
}

function iterationsAsFloat(root: YamlMap): Difference[] {
  if (methodOf(root) !== "karcher") return [];
  return settingsNamed(root, "max_iter").map(({ place, value }) =>
    difference(
      "fails-there",
      place,
      `max_iter: ${textOf(value)}`,
      "is the number of iterations",
      "stops: the number arrives as a float, and range() refuses it",
    ),
  );
}

function listsOfWords(root: YamlMap): Difference[] {
  return parameterMaps(root).flatMap((parameters) =>
    [...parameters.entries.values()]
      .filter(({ value }) => value.kind === "list" && value.items.length > 0 && value.items.every(isWord))
      .map(({ key, place }) =>
        difference(
          "fails-there",
          place,
          `${key} as a list of words`,
          "each word has its stretch of the layers",
          "stops: every list is made one of numbers first",
        ),
      ),
  );
}

function sameModelTwice(root: YamlMap): Difference[] {
  return mapsIn(root.entries.get("slices")?.value).flatMap((range) => {
    const sources = mapsIn(range.entries.get("sources")?.value);
    const texts = sources.map(modelTextOf);
    return sources
      .filter((_, k) => texts.indexOf(texts[k] ?? "") < k)
      .map((source) =>
        difference(
          "fails-there",
          source.place,
          `${modelTextOf(source)} twice in one slice`,
          "each entry is a source of its own",
          "keeps sources by model: the later entry takes the place of the earlier",
        ),
      );
  });
}

const parametersOfOurs: ReadonlySet<string> = new Set([
  ...["rescale_mode", "window_size", "drop_smallest", "drop_largest", "scope"],
]);

function ownParameters(root: YamlMap): Difference[] {
  return parameterMaps(root).flatMap((parameters) =>
    [...parameters.entries.values()]
      .filter(({ key }) => parametersOfOurs.has(key))
      .map(({ key, place }) => difference("ignored-there", place, key, "counts", "ignores the key without a word")),
  );
}

function ownMethods(root: YamlMap): Difference[] {
  const method = root.entries.get("merge_method");
  if (method === undefined || !["magmax", "consensus", "cat", "svd"].includes(methodOf(root))) return [];
  return [
    difference(
      "fails-there",
      method.place,
      `merge_method: ${methodOf(root)}`,
      "is merged",
      "does not have this method",
    ),
  ];
}

function zeroToken(root: YamlMap): Difference[] {
  return [...tokenEntries(root)].flatMap(({ key, value }) => {
    const source = value.kind === "map" ? value.entries.get("source") : undefined;
    const kind = source?.value.kind === "map" ? source.value.entries.get("kind") : undefined;
    if (kind === undefined || textOf(kind.value) !== "zero") return [];
    return [
      difference(
        "fails-there",
        kind.place,
        `token ${key} of kind zero`,
        "its row is zero",
        "stops: every token of kind zero fails in release 0.1.4",
      ),
    ];
  });
}

function unorderedUnion(root: YamlMap): Difference[] {
  const source = root.entries.get("tokenizer_source") ?? tokenizerEntry(root, "source");
  if (source === undefined || textOf(source.value) !== "union") return [];
  return [
    difference(
      "arithmetic",
      source.place,
      "a union of vocabularies",
      "tokens that the base lacks follow in the order of the recipe",
      "takes the models from a set: the ids of added tokens may differ from run to run",
    ),
  ];
}

function adapterDtype(root: YamlMap): Difference[] {
  const texts = [
    ...mapsIn(root.entries.get("models")?.value),
    ...mapsIn(root.entries.get("slices")?.value).flatMap((range) => mapsIn(range.entries.get("sources")?.value)),
  ];
  return texts
    .filter((entry) => modelTextOf(entry).includes("+"))
    .map((entry) =>
      difference(
        "arithmetic",
        entry.place,
        modelTextOf(entry),
        "the adapter is added in float64 and rounded once to float32",
        "rounds model and adapter to the model's dtype first, unless run with --lora-merge-dtype float32",
      ),
    );
}

// ---- what the rules share

function difference(
  kind: DifferenceKind,
  { line, column }: TextPlace,
  subject: string,
  here: string,
  mergekit: string,
): Difference {
  return { kind, line, column, subject, here, mergekit };
}

function methodOf(root: YamlMap): string {
  const entry = root.entries.get("merge_method");
  return entry === undefined ? "" : textOf(entry.value);
}

function textOf(node: YamlNode): string {
  return node.kind === "scalar" ? node.text : `a ${node.kind}`;
}

function numberOf(node: YamlNode): number | undefined {
  if (node.kind !== "scalar") return undefined;
  return typeof node.value === "number" ? node.value : maybeNumberFromText(node.text);
}

function isWord(node: YamlNode): boolean {
  return node.kind === "scalar" && typeof node.value === "string" && maybeNumberFromText(node.value) === undefined;
}

/** Model of an entry of `models` or `sources`, as it is written. */
function modelTextOf(entry: YamlMap): string {
  const model = entry.entries.get("model");
  return model === undefined ? "" : textOf(model.value);
}

function mapsIn(node: YamlNode | undefined): YamlMap[] {
  return node?.kind === "list" ? node.items.filter((item) => item.kind === "map") : [];
}

/** Every map under a key `parameters`, at whatever level. */
function parameterMaps(node: YamlNode): YamlMap[] {
  if (node.kind === "scalar") return [];
  if (node.kind === "list") return node.items.flatMap(parameterMaps);
  return [...node.entries.values()].flatMap(({ key, value }) =>
    key === "parameters" ? (value.kind === "map" ? [value] : []) : parameterMaps(value),
  );
}

function settingsNamed(root: YamlMap, name: string): YamlEntry[] {
  return parameterMaps(root).flatMap((parameters) => parameters.entries.get(name) ?? []);
}

/** Every value that a setting names: of gradients and conditions too. */
function scalarsOf(node: YamlNode): YamlNode[] {
  if (node.kind === "scalar") return [node];
  if (node.kind === "list") return node.items.flatMap(scalarsOf);
  const value = node.entries.get("value");
  return value === undefined ? [] : scalarsOf(value.value);
}

function tokenizerEntry(root: YamlMap, key: string): YamlEntry | undefined {
  const tokenizer = root.entries.get("tokenizer")?.value;
  return tokenizer?.kind === "map" ? tokenizer.entries.get(key) : undefined;
}

function tokenEntries(root: YamlMap): Iterable<YamlEntry> {
  const tokens = tokenizerEntry(root, "tokens")?.value;
  return tokens?.kind === "map" ? tokens.entries.values() : [];
}
