import {
  type Adapter,
  type LoraPair,
  moduleOf,
  rankAndScale,
  splitLayer,
  type TensorEntry,
} from "../checkpoint/index.ts";
import type { MethodDeclaration } from "../merge/methods/index.ts";
import type { ParameterValue, PlanAdapter, PlanUsage, TensorSource, TensorTask } from "../merge/work/index.ts";
import { ConditionUse } from "./condition-use.ts";
import type { Findings } from "./findings.ts";
import { dtypeOf, type RecipeModel, storedSource } from "./model-entry.ts";
import { sameModel } from "./model-reference.ts";
import { faulty, resolveParameter } from "./parameters.ts";
import { type LayerRange, type LayerSource, type Recipe, settingsInOrder } from "./recipe.ts";
import { sameShape, shapeText } from "./shapes.ts";
import { UsageLedger } from "./usage-ledger.ts";

/** What helps where something of an adapter cannot be merged apart from its model. */
const APPLY_FIRST = "Apply the adapters to their model (model+adapter) and merge the models.";

export interface BoundAdapters {
  readonly tasks: readonly TensorTask[];
  readonly adapter?: PlanAdapter;
  readonly usage: readonly PlanUsage[];
}

/** One adapter of the recipe. */
interface Member {
  readonly source: LayerSource;
  readonly model: RecipeModel;
  readonly adapter: Adapter;
}

/** A and B of one module in one adapter, and what they are multiplied with. */
interface Term extends Member, LoraPair {
  readonly rank: number;
  readonly scale: number;
  readonly weight: number;
}

/**
 * Adapters in, one adapter out, by `cat` or `svd`: two tasks for each module that any of them adapts, copies of factors that are
 * made while they are read.
 */
export function bindAdapters(
  recipe: Recipe,
  models: readonly RecipeModel[],
  method: MethodDeclaration,
  findings: Findings,
): BoundAdapters {
  const members = membersOf(recipe, models, method, findings);
  const [range] = recipe.layerRanges;
  if (members === undefined || range === undefined) return { tasks: [], usage: [] };
  const ledger = new UsageLedger();
  const modules = [...new Set(members.flatMap(({ adapter }) => [...adapter.pairs.keys()]))];
  const layers = 1 + Math.max(-1, ...modules.map((module) => splitLayer(`${module}.weight`)?.layer ?? -1));
  const tasks: TensorTask[] = [];
  const ranks = new Map<string, number>();
  const conditions = new ConditionUse();
  for (const module of modules) {
    const layer = splitLayer(`${module}.weight`)?.layer;
    const t = layer === undefined ? 0 : layers === 1 ? 1 : layer / (layers - 1);
    const bound = new ModuleBinder(recipe, range, method, findings, ledger, conditions, t).bind(module, members);
    if (bound === undefined) continue;
    tasks.push(...bound.tasks);
    ranks.set(module, bound.rank);
  }
  if (findings.faults.length === 0) ledger.judge(findings);
  conditions.report(recipe, method, findings);
  const { usage } = ledger;
  if (members.some(({ adapter }) => adapter.config === undefined)) return { tasks, usage };
  return { tasks, usage, adapter: { ranks: commonRank(ranks), ...targetsOf(members, modules) } };
}

/** Undefined where something other than plain adapters is to be merged, which is reported. */
function membersOf(
  recipe: Recipe,
  models: readonly RecipeModel[],
  method: MethodDeclaration,
  findings: Findings,
): readonly Member[] | undefined {
  if (recipe.form === "slices") {
    const hint = 'List the adapters under "models".';
    findings.fault("recipe/adapter", recipe.methodPlace, `${method.name} merges whole adapters, no layer ranges`, hint);
    return undefined;
  }
  const members: Member[] = [];
  let isSound = true;
  const refuse = (source: LayerSource, message: string, hint: string) => {
    isSound = false;
    findings.fault("recipe/adapter", source.place, message, hint);
  };
  for (const source of recipe.layerRanges[0]?.sources ?? []) {
    const model = models.find(({ reference }) => sameModel(reference, source.model));
    if (model?.adapter === undefined) {
      const message = `"${model?.label ?? source.model.text}" is no LoRA adapter, and ${method.name} merges nothing else`;
      refuse(source, message, "Name adapters as PEFT writes them: folders, or files with lora_A and lora_B.");
      continue;
    }
    const { adapter } = model;
    const [saved, ...others] = [...adapter.saved.keys(), ...adapter.tokenRows.keys()];
    if (saved !== undefined) {
      const also = others.length === 0 ? "" : ` and ${others.length} more`;
      const message = `"${model.label}" holds ${saved}${also} besides A and B, which ${method.name} cannot merge`;
      refuse(source, message, APPLY_FIRST);
    }
    const magnitudes = magnitudesIn(adapter);
    if (magnitudes !== undefined) {
      const message = `"${model.label}" is a DoRA (${magnitudes.name}): what it does is no sum of B A, which ${method.name} merges`;
      refuse(source, message, APPLY_FIRST);
    }
    members.push({ source, model, adapter });
  }
  return isSound ? members : undefined;
}

/** Of a DoRA, the first of them. */
function magnitudesIn({ pairs }: Adapter): TensorEntry | undefined {
  return [...pairs.values()].find(({ magnitudes }) => magnitudes !== undefined)?.magnitudes;
}

class ModuleBinder {
  readonly #recipe: Recipe;
  readonly #range: LayerRange;
  readonly #method: MethodDeclaration;
  readonly #findings: Findings;
  readonly #ledger: UsageLedger;
  readonly #t: number;
  readonly #conditions: ConditionUse;

  constructor(
    recipe: Recipe,
    range: LayerRange,
    method: MethodDeclaration,
    findings: Findings,
    ledger: UsageLedger,
    conditions: ConditionUse,
    t: number,
  ) {
    this.#conditions = conditions;
    this.#ledger = ledger;
    this.#recipe = recipe;
    this.#range = range;
    this.#method = method;
    this.#findings = findings;
    this.#t = t;
  }

  bind(module: string, members: readonly Member[]): { tasks: TensorTask[]; rank: number } | undefined {
    const terms = members.flatMap((member) => this.#term(module, member) ?? []);
    const [first] = terms;
    if (first === undefined || !terms.every((term) => this.#fits(module, term, first))) return undefined;
    for (const { model, source, weight, a, b } of terms) {
      for (const factor of [a, b])
        this.#ledger.use({ input: model, source }, factor.name, factor, weight === 0 ? "weight 0" : undefined);
    }
    const factors = this.#factors(terms, first);
    const inner = first.a.shape.slice(1);
    const ones = first.b.shape.slice(2);
    const [rows = 0] = first.b.shape;
    const columns = inner.reduce((product, size) => product * size, 1);
    const all = terms.reduce((sum, term) => sum + term.rank, 0);
    const rank = this.#method.name === "svd" ? Math.min(this.#rank(first), all, rows, columns) : all;
    const dtype = this.#recipe.outDtype ?? this.#recipe.dtype ?? dtypeOf(first.a);
    const task = (entry: TensorEntry, shape: readonly number[], base: TensorSource): TensorTask => ({
      // Of a module that the first adapter lacks, as it would call it.
      name: entry.name.replace(moduleOf(first), module),
      kind: "copy",
      method: this.#method.name,
      dtype,
      shape,
      parameters: {},
      base,
      models: [],
    });
    const ofA = [rank, ...inner];
    const ofB = [rows, rank, ...ones];
    const rest = (entry: TensorEntry, shape: readonly number[]) =>
      ({ tensor: entry.name, dtype: "F32", storedRowLength: shape.at(-1) ?? 1 }) as const;
    const stored = ({ model }: Term, entry: TensorEntry) => storedSource(entry, model.filesOf);
    if (this.#method.name === "svd") {
      const parts = terms.map((term, k) => ({
        ...{ a: stored(term, term.a), b: stored(term, term.b) },
        ...{ rank: term.rank, factor: factors[k] ?? 0 },
      }));
      const product = { kind: "product", rows, columns, rank, terms: parts } as const;
      return {
        tasks: [
          task(first.a, ofA, { ...product, ...rest(first.a, ofA), side: "right" as const }),
          task(first.b, ofB, { ...product, ...rest(first.b, ofB), side: "left" as const }),
        ],
        rank,
      };
    }
    const below: TensorSource = {
      ...rest(first.a, ofA),
      kind: "rows",
      width: columns,
      parts: terms.map((term) => stored(term, term.a)),
      runs: terms.map((term, part) => ({ part, first: 0, count: term.rank })),
    };
    const beside: TensorSource = {
      ...rest(first.b, ofB),
      kind: "columns",
      width: rank,
      parts: terms.map((term, k) => ({ source: stored(term, term.b), columns: term.rank, factor: factors[k] ?? 0 })),
    };
    return { tasks: [task(first.a, ofA, below), task(first.b, ofB, beside)], rank };
  }

  #term(module: string, member: Member): Term | undefined {
    const pair = member.adapter.pairs.get(module);
    if (pair === undefined) return undefined;
    const { rank, scale } = rankAndScale(
      member.adapter.config,
      moduleOf(pair),
      pair.a.shape[0] ?? 0,
      member.model.label,
    );
    const weight = this.#resolve("weight", member.source, pair.b.name);
    return { ...member, ...pair, rank, scale, weight: typeof weight === "number" ? weight : 0 };
  }

  #fits(module: string, term: Term, first: Term): boolean {
    const { a, b, rank, model, source } = term;
    const ones = b.shape.slice(2);
    const isPair = a.shape[0] === rank && b.shape[1] === rank && ones.every((size) => size === 1);
    const isSame = sameShape(a.shape.slice(1), first.a.shape.slice(1)) && b.shape[0] === first.b.shape[0];
    if (isPair && isSame) return true;
    const shapes = `A ${shapeText(a.shape)} and B ${shapeText(b.shape)}`;
    const message = isPair
      ? `"${model.label}" has ${shapes} for ${module}, "${first.model.label}" A ${shapeText(first.a.shape)} and B ${shapeText(first.b.shape)}`
      : `"${model.label}" has ${shapes} for ${module}, which are not of rank ${rank}`;
    const hint = "Only adapters of one model can be merged.";
    this.#findings.repeated("fault", model.label, "recipe/adapter-mismatch", source.place, message, hint);
    return false;
  }

  /** Weight times scale of each, in float64; weights divided by their sum where the recipe says so. */
  #factors(terms: readonly Term[], { b, source }: Term): number[] {
    const normalize = this.#resolve("normalize", undefined, b.name);
    const total = terms.reduce((sum, { weight }) => sum + weight, 0);
    if (normalize !== true) return terms.map(({ weight, scale }) => weight * scale);
    if (total === 0) {
      const message = `the weights of ${b.name} sum to 0: they cannot be normalized`;
      this.#findings.repeated("fault", "sum", "recipe/wrong-value", source.place, message, "Set normalize: false.");
    }
    return terms.map(({ weight, scale }) => (weight / total) * scale);
  }

  #rank({ b }: Term): number {
    const rank = this.#resolve("rank", undefined, b.name);
    if (typeof rank !== "number") return 1;
    const wrong = this.#method.check?.({ rank }, {});
    if (wrong !== undefined) {
      this.#findings.repeated(
        "fault",
        "rank",
        "recipe/wrong-value",
        this.#recipe.methodPlace,
        wrong,
        "Write rank: 16.",
      );
    }
    return Math.max(1, Math.trunc(rank));
  }

  #resolve(parameter: string, source: LayerSource | undefined, name: string): ParameterValue | undefined {
    const declaration = this.#method.parameters[parameter];
    if (declaration === undefined) throw new Error(`${this.#method.name} has no parameter ${parameter}`);
    const levels = settingsInOrder(this.#recipe, this.#range, source);
    this.#conditions.add(levels, declaration.scope, name);
    const value = resolveParameter(parameter, declaration, levels, name, this.#t);
    if (value === faulty) return undefined;
    if (value !== undefined || declaration.required !== true) return value;
    const place = source?.place ?? this.#recipe.methodPlace;
    const message = `${this.#method.name} needs "${parameter}", which is not set for ${name}`;
    const hint = `Add it to the parameters: ${declaration.documentation}`;
    this.#findings.repeated("fault", `${parameter} ${place.line}`, "recipe/missing-parameter", place, message, hint);
    return undefined;
  }
}

/** The rank that most modules have, and those of the others. */
function commonRank(ranks: ReadonlyMap<string, number>): NonNullable<PlanAdapter["ranks"]> {
  const counts = new Map<number, number>();
  for (const rank of ranks.values()) counts.set(rank, (counts.get(rank) ?? 0) + 1);
  const [[common] = [1]] = [...counts].sort(([, a], [, b]) => b - a);
  return { rank: common, pattern: Object.fromEntries([...ranks].filter(([, rank]) => rank !== common)) };
}

/** Which modules the output adapts: as the first adapter says it, if all say the same. */
function targetsOf(members: readonly Member[], modules: readonly string[]): Pick<PlanAdapter, "targetModules"> {
  const said = members.map(({ adapter: { checkpoint } }) =>
    JSON.stringify(
      ["target_modules", "layers_to_transform", "layers_pattern", "exclude_modules"].map((key) => {
        const value = checkpoint.config?.[key] ?? null;
        return Array.isArray(value) ? [...value].sort() : value;
      }),
    ),
  );
  return said.every((text) => text === said[0]) ? {} : { targetModules: [...modules].sort() };
}

/**
 * Adapters merged tensor by tensor, by any other method: only where all scale their modules alike. Undefined where the models are no
 * adapters, or bare files.
 */
export function maybePlainAdapter(
  recipe: Recipe,
  models: readonly RecipeModel[],
  findings: Findings,
): PlanAdapter | undefined {
  const [first, ...others] = models.filter(({ adapter }) => adapter !== undefined);
  if (first?.adapter === undefined) return undefined;
  const place = recipe.methodPlace;
  const whole = models.find(({ adapter, reference }) => adapter === undefined && reference.adapter === undefined);
  if (whole !== undefined) {
    const message = `"${first.label}" is an adapter, "${whole.label}" a whole model`;
    findings.fault("recipe/adapter", place, message, "Write model+adapter to have an adapter applied to its model.");
    return undefined;
  }
  for (const { label, adapter } of others.length === 0 ? [] : [first, ...others]) {
    const magnitudes = adapter && magnitudesIn(adapter);
    if (magnitudes === undefined) continue;
    const message = `"${label}" is a DoRA (${magnitudes.name}): lengths of rows and what they are of cannot be merged apart from each other`;
    findings.fault("recipe/adapter", place, message, APPLY_FIRST);
  }
  for (const other of others) {
    const [rows, others] = [first, other].map(({ adapter }) => JSON.stringify([...(adapter?.config?.tokenRows ?? [])]));
    if (rows !== others) {
      const message = `"${first.label}" and "${other.label}" hold trained rows of different tokens: ${recipe.method} merges them row by row as they stand`;
      findings.fault("recipe/adapter-mismatch", place, message, APPLY_FIRST);
    }
    for (const [module, own] of first.adapter.pairs) {
      const pair = other.adapter?.pairs.get(module);
      if (pair === undefined) continue;
      const one = rankAndScale(first.adapter.config, moduleOf(own), own.a.shape[0] ?? 0, first.label);
      const two = rankAndScale(other.adapter?.config, moduleOf(pair), pair.a.shape[0] ?? 0, other.label);
      if (one.rank === two.rank && one.scale === two.scale) continue;
      const message = `"${first.label}" has rank ${one.rank} and scale ${one.scale} for ${module}, "${other.label}" ${two.rank} and ${two.scale}: ${recipe.method} merges A and B as they stand`;
      const hint = "Use merge_method: cat or svd, which merge what adapters do.";
      findings.repeated("fault", other.label, "recipe/adapter-mismatch", place, message, hint);
    }
  }
  return [first, ...others].every(({ adapter }) => adapter?.config !== undefined) ? {} : undefined;
}
