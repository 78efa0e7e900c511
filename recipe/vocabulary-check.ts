import { isAfterLayers, isEmbeddingLike, type TensorEntry } from "../checkpoint/index.ts";
import { maybeMismatch, Vocabularies, type Vocabulary } from "../tokenizer/index.ts";
import type { Findings } from "./findings.ts";
import type { LayerSource, RecipeInput } from "./recipe.ts";
import { maybeVocabulary, tokenCount } from "./token-binder.ts";

export interface VocabularyOptions {
  /** Ids that name different tokens in models that are merged are a warning instead of a fault. */
  readonly allowMismatch: boolean;
  /** Embeddings of different numbers of rows are cut to the rows that all have. */
  readonly cutsRows: boolean;
  /** A tokenizer key brings rows into one order: there is nothing to compare. */
  readonly isOfOneOrder: boolean;
}

interface Source {
  readonly source: LayerSource;
  readonly inputIndex: number;
}

/**
 * Without a tokenizer key, row r of one model's embedding is merged with row r of another's, and the output has the tokenizer of the
 * model that defines it: that has a meaning only where all give the id r to the same token, and have as many rows. Rows that the
 * output does not have do not matter, nor do ids that one of the models does not use.
 */
export class VocabularyCheck {
  readonly cutsRows: boolean;
  readonly #inputs: readonly RecipeInput[];
  readonly #findings: Findings;
  readonly #allowed: boolean;
  readonly #isOfOneOrder: boolean;
  readonly #known = new Vocabularies();
  readonly #definingInput: number;

  /** `definingInput`: the model whose config and tokenizer the output has. */
  constructor(
    inputs: readonly RecipeInput[],
    definingInput: number,
    findings: Findings,
    { allowMismatch, cutsRows, isOfOneOrder }: VocabularyOptions,
  ) {
    this.cutsRows = cutsRows;
    this.#isOfOneOrder = isOfOneOrder;
    this.#inputs = inputs;
    this.#findings = findings;
    this.#allowed = allowMismatch;
    this.#definingInput = definingInput;
  }

  /** `rows`: of the tensor in the output, which is merged from these. */
  check(name: string, rows: number, sources: readonly Source[]): void {
    if (this.#isOfOneOrder || !isEmbeddingLike(name)) return;
    const [source] = sources;
    const definingAt = sources.findIndex(({ inputIndex }) => inputIndex === this.#definingInput);
    const before: RecipeInput[] = [];
    // The model that gives the tokenizer counts as one that is merged.
    const all =
      definingAt >= 0 || source === undefined ? sources : [{ ...source, inputIndex: this.#definingInput }, ...sources];
    for (const { source, inputIndex } of all) {
      const input = this.#inputs[inputIndex];
      if (input === undefined) continue;
      const first = before.find((one) => this.#pairs(one, input).length > 0);
      before.push(input);
      if (first === undefined) continue;
      const [mismatch] = this.#pairs(first, input).flatMap(([a, b]) => maybeMismatch(a, b, rows) ?? []);
      if (mismatch === undefined) continue;
      const { id, tokens, count } = mismatch;
      const others = count === 1 ? "" : `; ${count} ids below ${rows} differ`;
      const message = `the id ${id} is "${tokens[0]}" in "${first.label}" and "${tokens[1]}" in "${input.label}"${others}`;
      const union = [first, input].every(({ tokenizer }) => tokenizer !== undefined)
        ? "tokenizer_source: union brings the rows into one order"
        : "tokenizer_source: union brings the rows into one order, once both have a tokenizer.json (save_pretrained of a fast tokenizer)";
      const hint = this.#allowed
        ? "Rows of different tokens are merged with each other."
        : `${union}; --allow-vocabulary-mismatch merges them as they stand.`;
      const severity = this.#allowed ? "warning" : "fault";
      this.#findings.repeated(severity, input.label, "recipe/vocabulary-mismatch", source.place, message, hint);
    }
    // Heads are compared with the output's embedding where they come from elsewhere.
    if (definingAt >= 0 || source === undefined || isAfterLayers(name)) return;
    const own = this.#inputs[this.#definingInput]?.checkpoint.tensors.get(name)?.shape[0];
    if (own !== undefined && own !== rows)
      this.#reportSize(
        name,
        source.source,
        this.#sized(source.inputIndex, rows),
        this.#sized(this.#definingInput, own),
      );
  }

  /**
   * What of two models can be compared: tokenizer.json of both, else files for slow tokenizers of one name. Ids in vocab.json and
   * vocab.txt are those of the model, so that these can be compared with a tokenizer.json, too.
   */
  #pairs(a: RecipeInput, b: RecipeInput): (readonly [Vocabulary, Vocabulary])[] {
    const [ofA, ofB] = [maybeVocabulary(a, this.#known), maybeVocabulary(b, this.#known)];
    if (ofA !== undefined && ofB !== undefined) return [[ofA, ofB]];
    const names = new Set([...(a.slowVocabularies?.keys() ?? []), ...(b.slowVocabularies?.keys() ?? [])]);
    return [...names].flatMap((name) => {
      const [one, other] = [a, b].map((input) => {
        const slow = input.slowVocabularies?.get(name);
        if (slow !== undefined) return this.#known.of(slow, tokenCount(input.checkpoint));
        return /^vocab\.(?:json|txt)$/.test(name) ? maybeVocabulary(input, this.#known) : undefined;
      });
      return one === undefined || other === undefined ? [] : [[one, other] as const];
    });
  }

  /** Embeddings of one tensor that have different numbers of rows. */
  refuseSizes(name: string, sources: readonly (Source & { readonly entry: TensorEntry })[]): void {
    // That what a tokenizer key asks for cannot be had was reported.
    if (this.#isOfOneOrder) return;
    const [one, ...others] = sources;
    if (one === undefined) return;
    const first = this.#sized(one.inputIndex, one.entry.shape[0] ?? 0);
    for (const { source, inputIndex, entry } of others) {
      const other = this.#sized(inputIndex, entry.shape[0] ?? 0);
      if (other.rows !== first.rows) this.#reportSize(name, source, other, first);
    }
  }

  #sized(inputIndex: number, rows: number): Sized {
    const input = this.#inputs[inputIndex];
    if (input === undefined) throw new Error(`there is no input ${inputIndex}`);
    return { label: input.label, rows, vocabulary: maybeVocabulary(input, this.#known) };
  }

  #reportSize(name: string, { place }: LayerSource, model: Sized, first: Sized): void {
    const message = `"${model.label}" has ${model.rows} rows in ${name}, "${first.label}" has ${first.rows}`;
    const rows = Math.min(model.rows, first.rows);
    const [a, b] = [first.vocabulary, model.vocabulary];
    const hint =
      a !== undefined && b !== undefined && haveSameTokens(a, b)
        ? `Both have the same ${a.ids.size} tokens, and padding of different lengths: tokenizer_source: base leaves the padding out.`
        : `tokenizer_source: union keeps the tokens of all models, tokenizer_source: base those of the base. --cut-embeddings takes the first ${rows} rows of each.`;
    const severity = this.cutsRows ? "warning" : "fault";
    this.#findings.repeated(severity, model.label, "recipe/vocabulary-size", place, message, hint);
  }
}

interface Sized {
  readonly label: string;
  readonly rows: number;
  readonly vocabulary?: Vocabulary | undefined;
}

function haveSameTokens(a: Vocabulary, b: Vocabulary): boolean {
  return a.ids.size === b.ids.size && [...a.ids].every(([token, id]) => b.ids.get(token) === id);
}
