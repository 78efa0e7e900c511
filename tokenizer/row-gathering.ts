import type { RowRun } from "../merge/work/index.ts";
import type { OutputVocabulary } from "./output-vocabulary.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** A row of a model's embedding. Models are named by index. */
export interface RowOf {
  readonly model: number;
  readonly row: number;
}

/** What the recipe says of one token. */
export interface TokenRule {
  /** What models get that lack the token. */
  readonly source?: RowOf | "zero" | undefined;
  /** `source`, or what stands for it, is also for models that have the token. */
  readonly force: boolean;
}

export interface GatheringRequest {
  readonly output: OutputVocabulary;
  /** By index of the model; undefined for one that has no rows of its own to offer. */
  readonly vocabularies: readonly (Vocabulary | undefined)[];
  /** The models whose rows may stand in for another's, in the order of the recipe. */
  readonly order: readonly number[];
  /** The recipe's base_model; undefined where it has none. */
  readonly base: number | undefined;
  readonly rules: ReadonlyMap<string, TokenRule>;
  /** Rows of the tensor in each model: a token beyond them has none. Undefined: the model lacks the tensor. */
  readonly tensorRows: readonly (number | undefined)[];
}

/** All rows of one tensor of one model in the order of the output's vocabulary. */
export interface GatheredRows {
  /** Part 0 is the model's own matrix, part k + 1 that of `others[k]`. */
  readonly runs: readonly RowRun[];
  readonly others: readonly number[];
}

/** Runs of fewer rows are listed one by one. */
const RUN_ROWS_MIN = 4;

/**
 * Where the rows of one tensor come from, model by model (docs/spec/recipe.md, "Embeddings and tokenizer"): the model's own row; for a token
 * that it lacks what the recipe says; else the row of the only model that has it, else of the base, else the mean, else zeros.
 */
export class RowGathering {
  readonly #request: GatheringRequest;
  /** By output row; undefined for rows of no token. */
  readonly #tokens: readonly (string | undefined)[];
  readonly #absent = new Map<string, Absent>();
  /** Models of one vocabulary and size have the same runs. */
  readonly #known = new Map<Vocabulary | undefined, Map<number, GatheredRows>>();
  /** Tokens that get zeros since nothing else is there for them. */
  readonly nowhere = new Set<string>();

  constructor(request: GatheringRequest) {
    this.#request = request;
    const tokens = new Array<string | undefined>(request.output.rows).fill(undefined);
    for (const [token, id] of request.output.ids) tokens[id] = token;
    this.#tokens = tokens;
  }

  of(model: number): GatheredRows {
    const vocabulary = this.#request.vocabularies[model];
    const rows = this.#request.tensorRows[model] ?? 0;
    const bySize = this.#known.get(vocabulary) ?? new Map<number, GatheredRows>();
    this.#known.set(vocabulary, bySize);
    const known = bySize.get(rows) ?? this.#gathered(model);
    bySize.set(rows, known);
    return known;
  }

  #gathered(model: number): GatheredRows {
    const { rules } = this.#request;
    const runs = new RunList();
    for (const token of this.#tokens) {
      if (token === undefined) {
        runs.padding();
        continue;
      }
      const own = rules.get(token)?.force === true ? undefined : this.#row(model, token);
      if (own !== undefined) {
        runs.row(0, own);
        continue;
      }
      const absent = this.#forLacking(token);
      if (absent === "zero") runs.zero();
      else if ("row" in absent) runs.row(runs.partOf(absent.model), absent.row);
      else runs.mean(absent.mean.map(({ model: of, row }) => [runs.partOf(of), row]));
    }
    return runs.finished();
  }

  #row(model: number, token: string): number | undefined {
    const row = this.#request.vocabularies[model]?.ids.get(token);
    return row !== undefined && row < (this.#request.tensorRows[model] ?? 0) ? row : undefined;
  }

  #forLacking(token: string): Absent {
    const known = this.#absent.get(token);
    if (known !== undefined) return known;
    const found = this.#rowsForLacking(token);
    this.#absent.set(token, found);
    return found;
  }

  #rowsForLacking(token: string): Absent {
    const { rules, order, base, tensorRows } = this.#request;
    const source = rules.get(token)?.source;
    if (source === "zero") return "zero";
    // A tensor that has fewer rows than the model has tokens, or that the named model lacks: the rule says nothing of it.
    if (source !== undefined && source.row < (tensorRows[source.model] ?? 0)) return source;
    const have = order.flatMap((model): RowOf[] => {
      const row = this.#row(model, token);
      return row === undefined ? [] : [{ model, row }];
    });
    const only = have.find(({ model }) => model === base) ?? (have.length === 1 ? have[0] : undefined);
    if (only !== undefined) return only;
    if (have.length > 1) return { mean: have };
    this.nowhere.add(token);
    return "zero";
  }
}

type Absent = RowOf | { readonly mean: readonly RowOf[] } | "zero";

/** Gathers rows into runs as they come. */
class RunList {
  readonly #runs: RowRun[] = [];
  readonly #others: number[] = [];
  /** Rows of one part, not yet among the runs. */
  #part = -1;
  #rows: number[] = [];

  partOf(model: number): number {
    const known = this.#others.indexOf(model);
    return known >= 0 ? known + 1 : this.#others.push(model);
  }

  row(part: number, row: number): void {
    if (part !== this.#part) this.#flush();
    this.#part = part;
    this.#rows.push(row);
  }

  mean(of: readonly (readonly [part: number, row: number])[]): void {
    this.#flush();
    this.#runs.push({ mean: of });
  }

  zero(): void {
    this.#flush();
    const last = this.#runs.at(-1);
    const before = last !== undefined && "zero" in last ? last.zero : 0;
    if (before > 0) this.#runs.pop();
    this.#runs.push({ zero: before + 1 });
  }

  padding(): void {
    this.#flush();
    const last = this.#runs.at(-1);
    const before = last !== undefined && "padding" in last ? last.padding : 0;
    if (before > 0) this.#runs.pop();
    this.#runs.push({ padding: before + 1 });
  }

  finished(): GatheredRows {
    this.#flush();
    return { runs: this.#runs, others: this.#others };
  }

  /** Ascending neighbours become runs, what stands between them lists. */
  #flush(): void {
    const [part, rows] = [this.#part, this.#rows];
    let listedFrom = 0;
    let at = 0;
    while (at < rows.length) {
      const first = rows[at] ?? 0;
      let count = 1;
      while (rows[at + count] === first + count) count++;
      if (count >= RUN_ROWS_MIN || count === rows.length) {
        if (at > listedFrom) this.#runs.push({ part, rows: rows.slice(listedFrom, at) });
        this.#runs.push({ part, first, count });
        listedFrom = at + count;
      }
      at += count;
    }
    if (rows.length > listedFrom) this.#runs.push({ part, rows: rows.slice(listedFrom) });
    this.#rows = [];
  }
}
