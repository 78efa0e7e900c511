import { isFloatDtype, renumbered, splitLayer } from "../checkpoint/index.ts";
import type { RowRun, RowsSource } from "../merge/work/index.ts";
import { type ModelEntry, type RecipeModel, sourceOfEntry } from "./model-entry.ts";
import { sameShape } from "./shapes.ts";

/**
 * The three matrices of an expert, as families call them where each is a tensor of its own: gate and up [inner, hidden], down [hidden,
 * inner]. Together in one tensor they are `experts.gate_up_proj` [experts, 2 inner, hidden], every expert's gate above its up, and
 * `experts.down_proj` [experts, hidden, inner], as transformers 5 holds them.
 */
const triples = [
  ["gate_proj", "up_proj", "down_proj"], // Qwen2-MoE, Qwen3-MoE, DeepSeek, GLM-4, OLMoE, ERNIE 4.5, Jamba
  ["w1", "w3", "w2"], // Mixtral, MiniMax, Phi-3.5-MoE, LFM2
] as const;

/** Modules that hold experts under two names: the Hub's, and that of transformers 5. */
const modulesByOtherName: readonly (readonly [string, string])[] = [["block_sparse_moe", "mlp"]]; // Mixtral, MiniMax

const apartPattern = /^(.*\.experts)\.(\d{1,9})\.([^.]+)\.weight$/s;
const togetherPattern = /^(.*\.experts)\.(gate_up_proj|down_proj)$/s;

/**
 * `model` as one whose experts lie as those of `like` do: apart, a tensor each, or together in one tensor a layer. What differs is made
 * of the model's own rows while it is read. The model itself, where nothing is to be changed; what cannot be matched stays as it is
 * and is found to be missing.
 */
export function withExpertsLike(model: RecipeModel, like: RecipeModel): RecipeModel {
  if (model === like) return model;
  const own = new OwnExperts(model);
  if (!own.hasExperts) return model;
  const made = new Map<string, ModelEntry>();
  const used = new Set<string>();
  const { tensors } = like.checkpoint;
  for (const [alike, { shape }] of tensors) {
    const experts = countOfExperts(alike, tensors);
    for (const name of [alike, ...own.furtherLayers(alike, tensors)]) {
      if (model.checkpoint.tensors.has(name)) continue;
      const found = own.maybe(name, shape, experts);
      if (found === undefined) continue;
      made.set(name, found.entry);
      for (const part of found.parts) used.add(part);
    }
  }
  if (made.size === 0) return model;
  const kept = [...model.checkpoint.tensors].filter(([name]) => !used.has(name));
  return { ...model, checkpoint: { ...model.checkpoint, tensors: new Map([...kept, ...made]) } };
}

interface Found {
  readonly entry: ModelEntry;
  /** Names of the model's tensors that it is made of. */
  readonly parts: readonly string[];
}

/** A model's experts, to be had in either layout and under either name of their module. */
class OwnExperts {
  readonly #model: RecipeModel;
  readonly #tensors: ReadonlyMap<string, ModelEntry>;
  /** By name with the module's other name. */
  readonly #renamed = new Map<string, ModelEntry>();
  /** Numbers of layers, by what stands before them. */
  readonly #layers = new Map<string, Set<number>>();
  readonly hasExperts: boolean;

  constructor(model: RecipeModel) {
    this.#model = model;
    this.#tensors = model.checkpoint.tensors;
    const holders = new Set<string>();
    for (const name of this.#tensors.keys()) {
      const prefix = (apartPattern.exec(name) ?? togetherPattern.exec(name))?.[1];
      if (prefix !== undefined) holders.add(prefix.slice(0, -".experts".length));
    }
    this.hasExperts = holders.size > 0;
    for (const [name, entry] of this.#tensors) {
      const split = splitLayer(name);
      if (split !== undefined) {
        const numbers = this.#layers.get(split.prefix) ?? new Set();
        this.#layers.set(split.prefix, numbers.add(split.layer));
      }
      for (const [one, other] of modulesByOtherName) {
        const at = maybeModuleEnd(name, one) ?? maybeModuleEnd(name, other);
        if (at === undefined || !holders.has(name.slice(0, at))) continue;
        const isOne = name.slice(0, at).endsWith(`.${one}`);
        const prefix = name.slice(0, at - (isOne ? one : other).length);
        this.#renamed.set(`${prefix}${isOne ? other : one}${name.slice(at)}`, entry);
      }
    }
  }

  /** What `name` is called in this model's layers that the other model, whose name it is, does not have. */
  furtherLayers(name: string, others: ReadonlyMap<string, unknown>): string[] {
    const split = splitLayer(name);
    if (split === undefined) return [];
    const numbers = [...(this.#layers.get(split.prefix) ?? [])];
    return numbers.map((layer) => renumbered(name, layer)).filter((further) => !others.has(further));
  }

  /** The tensor that the other model calls `name`. `experts`: how many there are of the tensor's kind. */
  maybe(name: string, shape: readonly number[], experts: number): Found | undefined {
    const entry = this.#own(name);
    if (entry !== undefined) return this.#as(name, entry);
    const apart = apartPattern.exec(name);
    if (apart !== null) {
      const [, prefix = "", expert = "", kind = ""] = apart;
      const otherwise = this.#otherwiseNamed(prefix, expert, kind);
      if (otherwise !== undefined) return this.#as(name, otherwise);
      return this.#ofTogether(name, shape, prefix, Number(expert), kind, experts);
    }
    const together = togetherPattern.exec(name);
    return together === null ? undefined : this.#ofApart(name, shape, together[1] ?? "", together[2] === "down_proj");
  }

  #own(name: string): ModelEntry | undefined {
    return this.#tensors.get(name) ?? this.#renamed.get(name);
  }

  /** An expert's gate, up or down under another family's name for it. */
  #otherwiseNamed(prefix: string, expert: string, kind: string): ModelEntry | undefined {
    const at = triples.map((names) => (names as readonly string[]).indexOf(kind)).find((index) => index >= 0);
    if (at === undefined) return undefined;
    const entries = triples.map((names) => this.#own(`${prefix}.${expert}.${names[at]}.weight`));
    return entries.find((entry) => entry !== undefined);
  }

  #as(name: string, entry: ModelEntry): Found {
    const source = sourceOfEntry(entry, this.#model.filesOf);
    return { entry: { ...entry, name, source }, parts: [entry.name] };
  }

  /** Every expert's gate above its up, or the experts' down matrices one after another. */
  #ofApart(name: string, shape: readonly number[], prefix: string, isDown: boolean): Found | undefined {
    const [count = 0, rows = 0, width = 0] = shape;
    if (shape.length !== 3) return undefined;
    for (const [gate, up, down] of triples) {
      const kinds = isDown ? [down] : [gate, up];
      const parts: ModelEntry[] = [];
      for (let expert = 0; expert < count; expert++) {
        for (const kind of kinds) {
          const entry = this.#own(`${prefix}.${expert}.${kind}.weight`);
          if (entry !== undefined && sameShape(entry.shape, [rows / kinds.length, width])) parts.push(entry);
        }
      }
      const isMore = this.#own(`${prefix}.${count}.${down}.weight`) !== undefined;
      if (parts.length !== count * kinds.length || isMore) continue;
      const runs = parts.map((entry, part) => ({ part, first: 0, count: entry.shape[0] ?? 0 }));
      return this.#gathered(name, shape, parts, runs);
    }
    return undefined;
  }

  /** One expert's matrix out of the tensor that holds all. */
  #ofTogether(
    name: string,
    shape: readonly number[],
    prefix: string,
    expert: number,
    kind: string,
    experts: number,
  ): Found | undefined {
    const triple = triples.find((names) => (names as readonly string[]).includes(kind));
    const [rows = 0, width = 0] = shape;
    if (triple === undefined || shape.length !== 2) return undefined;
    const isDown = kind === triple[2];
    const entry = this.#own(`${prefix}.${isDown ? "down_proj" : "gate_up_proj"}`);
    const halves = isDown ? 1 : 2;
    if (entry === undefined || !sameShape(entry.shape, [experts, halves * rows, width])) return undefined;
    const first = expert * halves * rows + (kind === triple[1] ? rows : 0);
    return this.#gathered(name, shape, [entry], [{ part: 0, first, count: rows }]);
  }

  #gathered(
    name: string,
    shape: readonly number[],
    parts: readonly ModelEntry[],
    runs: readonly RowRun[],
  ): Found | undefined {
    const [like] = parts;
    if (like === undefined || !parts.every(({ dtype }) => isFloatDtype(dtype))) return undefined;
    const width = shape.at(-1) ?? 1;
    const source: RowsSource = {
      kind: "rows",
      dtype: "F32",
      tensor: name,
      storedRowLength: width,
      width,
      parts: parts.map((part) => sourceOfEntry(part, this.#model.filesOf)),
      runs,
    };
    const elementCount = shape.reduce((product, size) => product * size, 1);
    const { scaled: _, ...plain } = like;
    return { entry: { ...plain, name, shape, elementCount, source }, parts: parts.map((part) => part.name) };
  }
}

/** Where the name's module `module` ends, without its dot; undefined where it has none. */
function maybeModuleEnd(name: string, module: string): number | undefined {
  const at = name.indexOf(`.${module}.`);
  return at < 0 ? undefined : at + 1 + module.length;
}

/** How many experts stand beside this one, each a tensor of the same kind. */
function countOfExperts(name: string, names: ReadonlyMap<string, unknown>): number {
  const apart = apartPattern.exec(name);
  if (apart === null) return 0;
  let count = 0;
  while (names.has(`${apart[1]}.${count}.${apart[3]}.weight`)) count++;
  return count;
}
