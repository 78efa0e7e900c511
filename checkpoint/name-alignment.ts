import { isEmbeddingLike, splitLayer } from "./architecture.ts";
import { modalityOf } from "./towers.ts";

/** Names of one model's tensors and their shapes, as far as they are known. */
export type NamedShapes = ReadonlyMap<string, { readonly shape?: readonly number[] | undefined }>;

export interface NameAlignment {
  /** By the name that the target has: the name of the same tensor in the other. What only one of them has is missing. */
  readonly names: ReadonlyMap<string, string>;
  /** Names of the target that several of the other's could be, or of several of which the other's one could be either. */
  readonly ambiguous: readonly { readonly name: string; readonly candidates: readonly string[] }[];
}

/**
 * Modules that a model lies in, in one file and not in another of the same architecture: what its class with a head calls the rest
 * (base_model_prefix in transformers), what models of several towers call the language model, what trainers put around it.
 */
const wrappers: ReadonlySet<string> = new Set(
  (
    "model transformer backbone language_model text_model llm llm_model thinker base_model module pretrained_model auto_model " +
    "albert bert big_bird biogpt camembert convbert data2vec_text deberta distilbert electra ernie esm fnet funnel gpt_neox " +
    "gpt_neox_japanese ibert layoutlm led lilt longformer luke mega mobilebert mpnet mra nezha nomic_bert nystromformer " +
    "prophetnet reformer rembert roberta roberta_prelayernorm roc_bert roformer rwkv splinter tapas xlm_roberta xmod yoso"
  ).split(" "),
);

/** What compilers and parallel training put between modules, anywhere in a name. */
const inserted: ReadonlySet<string> = new Set(["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"]);

/** The name without what it may be wrapped in: equal for the same tensor in files of one architecture. */
export function bareName(name: string): string {
  const modules = name.split(".").filter((module) => !inserted.has(module));
  let first = 0;
  while (first < modules.length - 1 && wrappers.has(modules[first] ?? "")) first++;
  const bare = modules.slice(first);
  // The tower of CLIP and SigLIP lies in a module of its own until transformers 5.
  if (/^vision_(?:tower|encoder)$/.test(bare[0] ?? "") && bare[1] === "vision_model") bare.splice(1, 1);
  const last = bare.at(-1);
  if (/norm/i.test(bare.at(-2) ?? "") && (last === "gamma" || last === "beta")) {
    bare[bare.length - 1] = last === "gamma" ? "weight" : "bias"; // BERT, as it was converted from TensorFlow
  }
  const normed = /^original([01])$/.exec(last ?? "")?.[1];
  if (normed !== undefined && bare.at(-3) === "parametrizations")
    bare.splice(-3, 3, `${bare.at(-2)}_${normed === "0" ? "g" : "v"}`); // torch's weight norm, of which there are two
  return bare.join(".").replace(/\.(lora_[AB])\.default\./, ".$1.");
}

/**
 * Which tensor of `other` is which of `target`: names that are equal, then names that are equal but for known wrappers, then names that
 * are equal but for one beginning, where shapes confirm it. Never a guess: what could be several is reported.
 */
export function alignNames(target: NamedShapes, other: NamedShapes): NameAlignment {
  const names = new Map<string, string>();
  for (const name of other.keys()) if (target.has(name)) names.set(name, name);
  // Mostly, and of hundreds of adapters on one model: nothing is left to look for.
  if (names.size === other.size) return { names, ambiguous: [] };
  const ambiguous: { name: string; candidates: readonly string[] }[] = [];
  const left = byBareName([...target.keys()].filter((name) => !names.has(name)));
  const right = byBareName([...other.keys()].filter((name) => !names.has(name)));
  for (const [bare, ours] of left) {
    const theirs = right.get(bare);
    if (theirs === undefined) continue;
    const [name = "", ...more] = ours;
    const [candidate = "", ...others] = theirs;
    if (more.length === 0 && others.length === 0) {
      names.set(name, candidate);
      continue;
    }
    const pairs = ours.flatMap((one) => theirs.map((two) => [one, two] as const));
    const fitting = pairs.filter(([one, two]) => fits(one, target.get(one)?.shape, other.get(two)?.shape));
    const [pair, another] = fitting;
    if (pair !== undefined && another === undefined) names.set(pair[0], pair[1]);
    else ambiguous.push({ name, candidates: theirs });
  }
  const taken = new Set(names.values());
  const unsure = new Set(ambiguous.flatMap(({ name, candidates }) => [name, ...candidates]));
  const rest = (models: NamedShapes, isTaken: (name: string) => boolean) =>
    new Map([...models].filter(([name]) => !isTaken(name) && !unsure.has(name)));
  const oneBeginning = byOneBeginning(
    rest(target, (name) => names.has(name)),
    rest(other, (name) => taken.has(name)),
  );
  for (const [name, found] of oneBeginning) names.set(name, found);
  return { names, ambiguous };
}

/** What the target would call a tensor of the other that it lacks, as far as the tensors around it tell: "bert.pooler" from "bert.encoder". */
export function namesInTarget({ names }: Pick<NameAlignment, "names">): (unmatched: string) => string {
  const beginnings = new Map<string, string>();
  for (const [target, other] of names) {
    const [ours, theirs] = [target.split("."), other.split(".")];
    let same = 0;
    while (same < ours.length && same < theirs.length && ours.at(-1 - same) === theirs.at(-1 - same)) same++;
    const beginning = (modules: string[]) =>
      modules
        .slice(0, modules.length - same)
        .map((module) => `${module}.`)
        .join("");
    beginnings.set(beginning(theirs), beginning(ours));
  }
  return (unmatched) => {
    const fitting = [...beginnings.keys()].filter((beginning) => unmatched.startsWith(beginning));
    const longest = fitting.reduce((best, beginning) => (beginning.length > best.length ? beginning : best), "");
    return (beginnings.get(longest) ?? longest) + unmatched.slice(longest.length);
  };
}

function byBareName(names: readonly string[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const name of names) {
    const bare = bareName(name);
    const same = found.get(bare);
    if (same === undefined) found.set(bare, [name]);
    else same.push(name);
  }
  return found;
}

/** Beginnings of up to so many modules are tried, and of so many the most frequent. */
const BEGINNING_MODULES = 3;
const BEGINNINGS_TRIED = 12;

/**
 * One beginning of the other's names for one of the target's, such that all shapes agree and all layers of one of the two are found in
 * the other; undecided where several would do.
 */
function byOneBeginning(target: NamedShapes, other: NamedShapes): ReadonlyMap<string, string> {
  let best = new Map<string, string>();
  let isUnsure = false;
  if (!hasLayers(target) || !hasLayers(other)) return best;
  for (const from of beginningsOf(other)) {
    for (const to of beginningsOf(target)) {
      if (from === to || !isSamePart(from, to)) continue;
      const found = replaced(target, other, from, to);
      if (found === undefined || found.size < best.size) continue;
      if (found.size > best.size) isUnsure = false;
      else if ([...found].some(([name, theirs]) => best.get(name) !== theirs)) isUnsure = true;
      best = found;
    }
  }
  return isUnsure ? new Map() : best;
}

/** Whether two beginnings may be those of the same part of a model: no tower is another, no encoder a decoder. */
function isSamePart(from: string, to: string): boolean {
  const partOf = (beginning: string) => /(?:^|\.)(encoder|decoder)\.(?!.*\b(?:encoder|decoder)\.)/.exec(beginning)?.[1];
  const isPair = partOf(from) !== undefined && partOf(to) !== undefined && partOf(from) !== partOf(to);
  return !isPair && modalityOf(`${from}0`) === modalityOf(`${to}0`);
}

function replaced(target: NamedShapes, other: NamedShapes, from: string, to: string): Map<string, string> | undefined {
  const found = new Map<string, string>();
  let layered = 0;
  let layeredOfOther = 0;
  for (const [name, { shape }] of other) {
    if (!name.startsWith(from)) continue;
    const isLayered = isOfLayers(name);
    if (isLayered) layeredOfOther++;
    const renamed = to + name.slice(from.length);
    const entry = target.get(renamed);
    if (entry === undefined) continue;
    if (!fits(renamed, entry.shape, shape)) return undefined;
    found.set(renamed, name);
    if (isLayered) layered++;
  }
  if (layered === 0) return undefined;
  if (layered === layeredOfOther) return found;
  let layeredOfTarget = 0;
  for (const name of target.keys()) if (name.startsWith(to) && isOfLayers(name)) layeredOfTarget++;
  return layered === layeredOfTarget ? found : undefined;
}

/** Experts lie apart in one file and together in another: they tell nothing. */
function isOfLayers(name: string): boolean {
  return splitLayer(name) !== undefined && !/\.experts\./.test(name);
}

function hasLayers(names: NamedShapes): boolean {
  for (const name of names.keys()) if (splitLayer(name) !== undefined) return true;
  return false;
}

/** Of the names with layers: "", "model.", "model.decoder.", the most frequent first. */
function beginningsOf(names: NamedShapes): string[] {
  const counts = new Map<string, number>();
  for (const name of names.keys()) {
    const modules = splitLayer(name)?.prefix.split(".") ?? [];
    for (let length = 0; length <= Math.min(BEGINNING_MODULES, modules.length); length++) {
      const beginning = modules
        .slice(0, length)
        .map((module) => `${module}.`)
        .join("");
      counts.set(beginning, (counts.get(beginning) ?? 0) + 1);
    }
  }
  const sorted = [...counts].sort(([, a], [, b]) => b - a).map(([beginning]) => beginning);
  return sorted.slice(0, BEGINNINGS_TRIED);
}

/** Whether shapes agree as far as they are known; vocabularies may be of different sizes. */
function fits(name: string, a: readonly number[] | undefined, b: readonly number[] | undefined): boolean {
  if (a === undefined || b === undefined) return true;
  const free = isEmbeddingLike(name) ? 1 : 0;
  return a.length === b.length && a.every((size, axis) => axis < free || size === b[axis]);
}
