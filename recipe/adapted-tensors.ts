import {
  type Adapter,
  alignNames,
  headBeside,
  isTiedHead,
  otherHeadBias,
  rankAndScale,
  type TensorEntry,
  tiedHeadName,
  towersOf,
} from "../checkpoint/index.ts";
import type { AdapterSource, RowRun, RowsSource } from "../merge/work/index.ts";
import { type ModelEntry, type RecipeModel, sourceOfEntry, storedSource } from "./model-entry.ts";
import { shapeText } from "./shapes.ts";

/** A model with an adapter on it: what the adapter changes, and what of it fits nowhere. */
export interface AdaptedTensors {
  /** By name in the base. */
  readonly tensors: ReadonlyMap<string, ModelEntry>;
  /** Sentences without the names of model and adapter. The model is not to be merged. */
  readonly faults: readonly string[];
  /** Tensors the adapter would replace, and the base lacks. */
  readonly unused: readonly string[];
  /** The output head that it gives to a model whose head was its embedding: the output is no longer tied. */
  readonly head?: string;
}

/** `adapterIndex`: into the plan's inputs. `label`: of the adapter. */
export function adaptedTensors(
  base: RecipeModel,
  adapter: Adapter,
  adapterIndex: number,
  label: string,
): AdaptedTensors {
  const modules = [...adapter.pairs.keys(), ...adapter.tokenRows.keys()];
  const otherBiases = [...adapter.saved.keys()].flatMap((name) => otherHeadBias(name) ?? []);
  const wanted = [...adapter.saved.keys(), ...otherBiases, ...modules.map((module) => `${module}.weight`)];
  const nameInBase = baseNames(base.checkpoint.tensors, wanted);
  const tensors = new Map<string, ModelEntry>();
  let head: string | undefined;
  /** A head that is tied is the embedding until the adapter makes it one of its own. */
  const entryFor = (name: string): ModelEntry | undefined => {
    const found = nameInBase(name);
    if (found !== undefined) return base.checkpoint.tensors.get(found);
    const embedding = base.ties?.isTied === true && isTiedHead(name) ? base.ties.embedding : undefined;
    const entry = embedding === undefined ? undefined : base.checkpoint.tensors.get(embedding);
    if (entry === undefined || embedding === undefined) return undefined;
    head = headBeside(embedding, name);
    return { ...entry, name: head, source: sourceOfEntry(entry, base.filesOf) };
  };
  const faults: string[] = [];
  const unused: string[] = [];
  for (const [name, saved] of adapter.saved) {
    // The layer within a head has a bias of its own where it was trained apart from the embedding.
    const own = entryFor(name)?.name ?? otherHeadBias(nameInBase(otherHeadBias(name) ?? "") ?? "");
    if (own === undefined) unused.push(name);
    else tensors.set(own, { ...saved, name: own, source: storedSource(saved, adapterIndex) });
  }
  for (const [module, rows] of adapter.tokenRows) {
    const target = nameInBase(`${module}.weight`);
    const own = target === undefined ? undefined : base.checkpoint.tensors.get(target);
    const entry = own && (tensors.get(own.name) ?? own);
    const indices = rowsOfModule(adapter, module);
    const wrong = entry === undefined ? `there is no ${module}.weight` : maybeMisfit(entry, rows, indices);
    if (entry === undefined || wrong !== undefined) {
      faults.push(`has trained rows of ${module}, and ${wrong}`);
      continue;
    }
    const width = entry.shape[1] ?? 1;
    const source: RowsSource = {
      ...{ kind: "rows", dtype: "F32", tensor: entry.name, storedRowLength: width, width },
      parts: [sourceOfEntry(entry, base.filesOf), storedSource(rows, adapterIndex)],
      runs: runsWith(indices, entry.shape[0] ?? 0),
    };
    tensors.set(entry.name, { ...entry, source });
  }
  for (const [module, { a, b, isEmbedding, magnitudes }] of adapter.pairs) {
    const entry = entryFor(`${module}.weight`);
    if (entry === undefined) {
      faults.push(`adapts ${module}, and there is no ${module}.weight`);
      continue;
    }
    const { rank, scale } = rankAndScale(adapter.config, module, a.shape[0] ?? 0, label);
    const isTurned = isEmbedding === true || isStoredTurned(entry.name, base, adapter);
    const fit = fitOf(entry.shape, a.shape, b.shape, rank, isTurned);
    if (typeof fit === "string") {
      faults.push(`adapts ${module}, and ${fit}`);
      continue;
    }
    const source: AdapterSource = {
      kind: "adapter",
      tensor: entry.name,
      dtype: "F32",
      storedRowLength: entry.shape.at(-1) ?? 1,
      base: sourceOfEntry(tensors.get(entry.name) ?? entry, base.filesOf),
      ...fit,
      rank,
      scale,
      a: storedSource(a, adapterIndex),
      b: storedSource(b, adapterIndex),
    };
    if (magnitudes === undefined) {
      tensors.set(entry.name, { ...entry, source });
      continue;
    }
    const misfit = maybeNoDora(entry.shape, magnitudes, fit);
    if (misfit !== undefined) {
      faults.push(`adapts ${module}, and ${misfit}`);
      continue;
    }
    const { rows, columns: storedRowLength } = fit;
    const stored = storedSource(magnitudes, adapterIndex);
    const normed = { kind: "normed", tensor: entry.name, dtype: "F32", rows, storedRowLength } as const;
    tensors.set(entry.name, { ...entry, source: { ...normed, values: source, magnitudes: stored } });
  }
  const kept = maybeKeptHead(base, adapter, tensors);
  if (head === undefined && kept !== undefined) {
    head = kept.name;
    tensors.set(head, kept);
  }
  return { tensors, faults, unused, ...(head !== undefined && { head }) };
}

/**
 * What is trained of an embedding that is its head as well is trained apart from the head, which stays as the base has it; unless the
 * adapter was made to keep the two one.
 */
function maybeKeptHead(
  { ties, filesOf, checkpoint }: RecipeModel,
  { config, pairs, saved }: Adapter,
  adapted: ReadonlyMap<string, ModelEntry>,
): ModelEntry | undefined {
  const embedding = ties?.isTied === true ? ties.embedding : undefined;
  const entry = embedding === undefined ? undefined : checkpoint.tensors.get(embedding);
  const found = embedding === undefined ? undefined : adapted.get(embedding);
  if (config === undefined || config.keepsTies || embedding === undefined || entry === undefined) return undefined;
  if (found === undefined) return undefined;
  const isSaved = config.modulesToSave.some((end) => `.${embedding}`.endsWith(`.${end}.weight`));
  const isAdapted = [...pairs.values()].some(({ isEmbedding }) => isEmbedding === true);
  // An embedding that was only made longer is saved with the adapter, too, and is the head.
  const isOfAll = found.shape[0] === entry.shape[0];
  if (!(isOfAll && ((isSaved && saved.size > 0) || isAdapted))) return undefined;
  const name = tiedHeadName(embedding, checkpoint.tensors, checkpoint.config);
  return adapted.has(name) ? undefined : { ...entry, name, source: sourceOfEntry(entry, filesOf) };
}

/** A sentence that says why rows cannot be given these lengths. */
function maybeNoDora(
  weight: readonly number[],
  magnitudes: TensorEntry,
  { rows, transposed }: Pick<AdapterSource, "rows" | "transposed">,
): string | undefined {
  if (weight.length !== 2 || transposed)
    return `its DoRA is of a weight ${shapeText(weight)} that is stored as [in, out] or is a convolution, which is not supported`;
  if (magnitudes.elementCount === rows) return undefined;
  return `it has ${magnitudes.elementCount} magnitudes for ${rows} rows`;
}

/** Of a list for the input embedding, that; of lists by module, the one whose name the module's ends with. */
function rowsOfModule({ config }: Adapter, module: string): readonly number[] {
  const lists = [...(config?.tokenRows ?? [])];
  const [, own] = lists.find(([key]) => key === module || module.endsWith(`.${key}`)) ?? [];
  return own ?? config?.tokenRows.get("") ?? [];
}

/** A sentence that says why rows cannot stand in an embedding. */
function maybeMisfit(embedding: ModelEntry, rows: TensorEntry, indices: readonly number[]): string | undefined {
  const [count = 0, width] = embedding.shape;
  if (rows.shape[0] !== indices.length) return `there are ${rows.shape[0]} for ${indices.length} indices`;
  if (embedding.shape.length !== 2 || rows.shape.length !== 2 || rows.shape[1] !== width)
    return `they are ${shapeText(rows.shape)} for a matrix ${shapeText(embedding.shape)}`;
  const beyond = indices.find((row) => row >= count);
  return beyond === undefined ? undefined : `the row ${beyond} is past the end of its ${count}`;
}

/** All rows of part 0, those at the indices out of part 1. Of an index that stands twice the last counts. */
function runsWith(indices: readonly number[], count: number): RowRun[] {
  const trained = [...new Map(indices.map((row, k) => [row, k]))].sort(([a], [b]) => a - b);
  const runs: RowRun[] = [];
  let done = 0;
  for (const [row, k] of trained) {
    if (row > done) runs.push({ part: 0, first: done, count: row - done });
    runs.push({ part: 1, first: k, count: 1 });
    done = row + 1;
  }
  if (done < count) runs.push({ part: 0, first: done, count: count - done });
  return runs;
}

/** The adapted weight as a matrix, or a sentence that says what does not fit. */
function fitOf(
  weight: readonly number[],
  a: readonly number[],
  b: readonly number[],
  rank: number,
  fanInFanOut: boolean,
): Pick<AdapterSource, "rows" | "columns" | "transposed"> | string {
  const [rankOfA = 0, ...inner] = a;
  const [outer = 0, rankOfB = 0, ...ones] = b;
  if (rankOfA !== rank || rankOfB !== rank || ones.some((size) => size !== 1)) {
    return `its A ${shapeText(a)} and B ${shapeText(b)} are not of rank ${rank}, which adapter_config.json gives it`;
  }
  const [rows = 0, ...rest] = weight;
  const columns = rest.reduce((product, size) => product * size, 1);
  const plain = weight.length === a.length && rows === outer && rest.every((size, k) => size === inner[k]);
  const turned = weight.length === 2 && a.length === 2 && rows === inner[0] && columns === outer;
  if (!plain && !turned) {
    return `B A would have the shape ${shapeText([outer, ...inner])}, the weight has ${shapeText(weight)}`;
  }
  // PEFT goes by the kind of module, and corrects the flag where it is wrong; the shape tells the kind unless it is square.
  return { rows, columns, transposed: turned && (fanInFanOut || !plain) };
}

/** Types whose linear modules are transformers' Conv1D, with weights of [in, out], and what these are called. */
const turnedTypes: readonly unknown[] = ["gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp_decoder"];
const turnedName = /\.(?:c_attn|q_attn|c_proj|c_fc)\.weight$/;
/** No Conv1D is called so. */
const plainName = /\.(?:(?:[qkvo]|out|qkv|up|down|gate|gate_up)_proj|query|key|value|dense|fc\d)\.weight$/;

/** Whether a weight is stored as [in, out]. PEFT goes by the kind of module, and by the flag only where that is neither of two kinds. */
function isStoredTurned(name: string, { checkpoint }: RecipeModel, { config }: Adapter): boolean {
  if (turnedTypes.includes(checkpoint.config?.model_type) && turnedName.test(name)) return true;
  return config?.fanInFanOut === true && !plainName.test(name);
}

/**
 * What the base calls the tensors of an adapter, which was trained on a model that wraps it, or is wrapped by it, under other names.
 * Undefined: no name, or several, could be meant.
 */
function baseNames(
  base: ReadonlyMap<string, ModelEntry>,
  wanted: readonly string[],
): (name: string) => string | undefined {
  const aligned = alignNames(base, new Map(wanted.map((name) => [name, {}])));
  const found = new Map([...aligned.names].map(([name, asked]) => [asked, name]));
  const towerInBase = towersOf(base.keys());
  const towerInAdapter = towersOf(wanted);
  let endings: ReadonlyMap<string, readonly string[]> | undefined;
  return (name) => {
    const known = found.get(name);
    if (known !== undefined) return known;
    endings ??= namesByEnding(base.keys());
    // One of the two lies deeper, in modules that are not known as wrappers; those of another tower are no wrappers.
    const candidates = [...endingsOf(name).filter((ending) => base.has(ending)), ...(endings.get(name) ?? [])];
    const [only, another] = candidates.filter((candidate) => towerInBase(candidate) === towerInAdapter(name));
    return another === undefined ? only : undefined;
  };
}

function namesByEnding(names: Iterable<string>): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const name of names) {
    for (const ending of endingsOf(name)) {
      const same = found.get(ending);
      if (same === undefined) found.set(ending, [name]);
      else same.push(name);
    }
  }
  return found;
}

/** What is left of a name without its first module, without its first two, … as long as there are two. */
function endingsOf(name: string): string[] {
  const modules = name.split(".");
  return modules.slice(1, -1).map((_, k) => modules.slice(k + 1).join("."));
}
