import {
  ADDED_TOKENS_NAME,
  isAfterLayers,
  isEmbeddingLike,
  type TensorEntry,
  TOKENIZER_CONFIG_NAME,
} from "../checkpoint/index.ts";
import {
  isReserved,
  mismatchOf,
  type NamedId,
  type TokenDifference,
  Vocabularies,
  type Vocabulary,
} from "../tokenizer/index.ts";
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

/** So large a share of tokens in common, or shifted alike, is no chance. */
const MOST = 0.8;

/** Files that hold only what is added to another file's tokens. */
const addedNames: ReadonlySet<string> = new Set([ADDED_TOKENS_NAME, TOKENIZER_CONFIG_NAME]);

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
    // The model that gives the tokenizer counts as one that is merged, and the others are compared with it.
    const given = sources[definingAt] ?? (source && { ...source, inputIndex: this.#definingInput });
    const all = given === undefined ? sources : [given, ...sources.filter((_, k) => k !== definingAt)];
    const names = new Map<number, { readonly token: string; readonly model: RecipeInput }>();
    for (const { source, inputIndex } of all) {
      const input = this.#inputs[inputIndex];
      if (input === undefined) continue;
      this.#reportUnread(input, source);
      const comparable = hasTokens(input) ? this.#firstComparable(before, input) : undefined;
      if (comparable === undefined) this.#reportUncompared(before, input, source);
      if (hasTokens(input)) before.push(input);
      if (comparable === undefined) continue;
      const { first, pairs } = comparable;
      const mismatches = pairs.map(([a, b]) => mismatchOf(a, b, rows));
      const different = mismatches.find((one) => one.different.length > 0)?.different ?? [];
      const renamed = mismatches.find((one) => one.renamed.length > 0)?.renamed ?? [];
      this.#reportDifferent(different, [first, input], rows, source);
      this.#reportRenamed(renamed, [first, input], source);
      // Files of slow tokenizers hold no tokens that were added.
      const isOfFast = first.tokenizer !== undefined && input.tokenizer !== undefined;
      if (first === this.#inputs[this.#definingInput]) {
        if (isOfFast) this.#reportUnnamed(mismatches[0]?.unnamed ?? [], [first, input], source);
        const foreign = isOfFast ? (mismatches[0]?.foreign ?? []) : this.#foreignOfSlow(first, input, rows);
        this.#reportForeign(foreign, [first, input], source);
      }
      for (const { id, tokens } of renamed) {
        // What two models have taken from one reserve for uses of their own are rows of different tokens again.
        const token = tokens.find((one) => !isReserved(one)) ?? tokens[1];
        const other = names.get(id);
        const pair: TokenDifference = { id, tokens: [other?.token ?? token, token] };
        if (other !== undefined && other.token !== token)
          this.#reportDifferent([pair], [other.model, input], rows, source);
        else names.set(id, { token, model: tokens[1] === token ? input : first });
      }
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

  #firstComparable(before: readonly RecipeInput[], input: RecipeInput) {
    for (const first of before) {
      const pairs = this.#pairs(first, input);
      if (pairs.length > 0) return { first, pairs };
    }
    return undefined;
  }

  /**
   * What of two models can be compared: tokenizer.json of both, else files for slow tokenizers of one name, else such as write tokens
   * alike. Ids in vocab.json and vocab.txt are those of the model, so that these can be compared with a tokenizer.json, too.
   */
  #pairs(a: RecipeInput, b: RecipeInput): (readonly [Vocabulary, Vocabulary])[] {
    const [ofA, ofB] = [maybeVocabulary(a, this.#known), maybeVocabulary(b, this.#known)];
    if (ofA !== undefined && ofB !== undefined) return [[ofA, ofB]];
    const named = this.#namedPairs(a, b);
    return named.length > 0 ? named : this.#likePairs(a, b);
  }

  #namedPairs(a: RecipeInput, b: RecipeInput): (readonly [Vocabulary, Vocabulary])[] {
    const names = new Set([...(a.slowVocabularies?.keys() ?? []), ...(b.slowVocabularies?.keys() ?? [])]);
    names.delete(TOKENIZER_CONFIG_NAME);
    return [...names].flatMap((name) => {
      const [one, other] = [a, b].map((input) => {
        const slow = input.slowVocabularies?.get(name);
        if (slow !== undefined) return this.#known.of(slow, tokenCount(input.checkpoint));
        return /^vocab\.(?:json|txt)$/.test(name) ? maybeVocabulary(input, this.#known) : undefined;
      });
      return one === undefined || other === undefined ? [] : [[one, other] as const];
    });
  }

  /**
   * A tokenizer.json and a file for a slow tokenizer, where they write tokens in one way: most tokens are in both. Where all ids differ
   * by one number, the tokenizer's class may make up for it.
   */
  #likePairs(a: RecipeInput, b: RecipeInput): (readonly [Vocabulary, Vocabulary])[] {
    const [ofA, ofB] = [this.#files(a), this.#files(b)];
    const pairs = ofA.flatMap(([, one]) => ofB.map(([, other]) => [one, other] as const));
    return pairs.filter(([one, other]) => {
      const { shared, shift, shifted } = this.#known.likeness(one, other);
      return shared >= MOST && (shift === 0 || shifted < MOST);
    });
  }

  /** The vocabularies of a model by the files that hold them, tokens added to another file's aside. */
  #files(input: RecipeInput): (readonly [file: string, vocabulary: Vocabulary])[] {
    const fast = maybeVocabulary(input, this.#known);
    const count = tokenCount(input.checkpoint);
    const slow = [...(input.slowVocabularies ?? [])].filter(([name]) => !addedNames.has(name));
    return [
      ...(fast === undefined ? [] : [["tokenizer.json", fast] as const]),
      ...slow.map(([name, tokenizer]) => [name, this.#known.of(tokenizer, count)] as const),
    ];
  }

  /** What of a model's tokens another has neither by name nor by id, where they stand in several files. */
  #foreignOfSlow(first: RecipeInput, input: RecipeInput, rows: number): NamedId[] {
    const [known, own] = [first, input].map((model) => [
      ...(maybeVocabulary(model, this.#known)?.ids ?? []),
      ...[...(model.slowVocabularies?.values() ?? [])].flatMap(({ normal }) => [...normal]),
    ]);
    const [names, taken] = [new Set(known?.map(([token]) => token)), new Set(known?.map(([, id]) => id))];
    return [...new Map(own)].flatMap(([token, id]) =>
      id >= rows || names.has(token) || taken.has(id) || isReserved(token) ? [] : [{ id, token }],
    );
  }

  #reportUnread({ label, tokenizerFault }: RecipeInput, { place }: LayerSource): void {
    if (tokenizerFault === undefined || this.#inputs.length === 1) return;
    const message = `the tokens of "${label}" were not compared with those of other models: ${tokenizerFault}`;
    const hint = "Get the file again. Where the output takes its tokenizer from that model, it is copied as it stands.";
    this.#findings.repeated("warning", `${label} unread`, "recipe/vocabulary-not-compared", place, message, hint);
  }

  #reportUncompared(before: readonly RecipeInput[], input: RecipeInput, { place }: LayerSource): void {
    const [[file, own] = []] = this.#files(input);
    const other = before.find((one) => this.#files(one).length > 0);
    const [[otherFile, others] = []] = other === undefined ? [] : this.#files(other);
    if (own === undefined || other === undefined || others === undefined) return;
    const { shared, shift } = this.#known.likeness(others, own);
    const why =
      shared >= MOST
        ? `most ids differ by ${Math.abs(shift)}, for which their tokenizers may make up or not`
        : "they write tokens in different ways, or have different ones";
    const message = `the tokens of "${input.label}" (${file}) were not compared with those of "${other.label}" (${otherFile}): ${why}`;
    const lacking = [input, other].filter(({ tokenizer }) => tokenizer === undefined).map(({ label }) => `"${label}"`);
    const hint = `Rows of embeddings are merged as they stand. Give ${lacking.join(" and ")} a tokenizer.json (save_pretrained of a fast tokenizer), and they are compared.`;
    this.#findings.repeated("warning", input.label, "recipe/vocabulary-not-compared", place, message, hint);
  }

  #reportDifferent(
    different: readonly TokenDifference[],
    models: readonly [RecipeInput, RecipeInput],
    rows: number,
    { place }: LayerSource,
  ): void {
    const [first] = different;
    if (first === undefined) return;
    const { id, tokens } = first;
    const [one, other] = models;
    const others = different.length === 1 ? "" : `; ${different.length} ids below ${rows} differ`;
    const message = `the id ${id} is "${tokens[0]}" in "${one.label}" and "${tokens[1]}" in "${other.label}"${others}`;
    const union = models.every(({ tokenizer }) => tokenizer !== undefined)
      ? "tokenizer_source: union brings the rows into one order"
      : "tokenizer_source: union brings the rows into one order, once both have a tokenizer.json (save_pretrained of a fast tokenizer)";
    const hint = this.#allowed
      ? "Rows of different tokens are merged with each other."
      : `${union}; --allow-vocabulary-mismatch merges them as they stand.`;
    const severity = this.#allowed ? "warning" : "fault";
    this.#findings.repeated(severity, other.label, "recipe/vocabulary-mismatch", place, message, hint);
  }

  /** The output has the names of the first. */
  #reportRenamed(
    renamed: readonly TokenDifference[],
    models: readonly [RecipeInput, RecipeInput],
    { place }: LayerSource,
  ): void {
    const [first] = renamed;
    if (first === undefined) return;
    const namedAt = isReserved(first.tokens[1]) ? 0 : 1;
    const [named, kept] = [models[namedAt].label, models[1 - namedAt]?.label];
    const [name, reserved] = [first.tokens[namedAt], first.tokens[1 - namedAt]];
    const more = renamed.length === 1 ? "" : `, and ${renamed.length - 1} more like it`;
    const message = `"${named}" calls the id ${first.id} "${name}", which "${kept}" keeps in reserve ("${reserved}")${more}: the output has the names of "${models[0].label}"`;
    const hint = `tokenizer_source: with the path of "${named}" gives the output its names, and takes their rows from it alone.`;
    this.#findings.repeated(
      "warning",
      `${models[1].label} renamed`,
      "recipe/vocabulary-mismatch",
      place,
      message,
      hint,
    );
  }

  /** Tokens of the output for which a model has rows that nobody trained. */
  #reportUnnamed(
    unnamed: readonly NamedId[],
    [defining, { label }]: readonly [RecipeInput, RecipeInput],
    { place }: LayerSource,
  ): void {
    const [first] = unnamed;
    if (first === undefined) return;
    const more = unnamed.length === 1 ? "" : `, and for ${unnamed.length - 1} more`;
    const message = `"${label}" has a row and no token for the id ${first.id}, "${first.token}" of "${defining.label}"${more}: padding is merged with the rows of tokens`;
    const hint = "tokenizer_source: base, or union, takes these rows from the models that have the tokens.";
    this.#findings.repeated("warning", `${label} unnamed`, "recipe/vocabulary-mismatch", place, message, hint);
  }

  /** Tokens of a model at whose ids the output has rows, and no tokens. */
  #reportForeign(
    foreign: readonly NamedId[],
    [defining, { label }]: readonly [RecipeInput, RecipeInput],
    { place }: LayerSource,
  ): void {
    const [first] = foreign;
    if (first === undefined) return;
    const shown = foreign.slice(0, 3).map(({ id, token }) => `"${token}" (${id})`);
    const more = foreign.length > shown.length ? ` and ${foreign.length - shown.length} more` : "";
    const what = foreign.length === 1 ? "a token" : `${foreign.length} tokens`;
    const without = foreign.length === 1 ? "it: its row is" : "them: their rows are";
    const message = `"${label}" has ${what} that "${defining.label}" lacks: ${shown.join(", ")}${more}. The output has the tokenizer of "${defining.label}", without ${without} of no use`;
    const hint = `tokenizer_source: union keeps the tokens of all models; with the path of "${label}" the output has those of that model.`;
    this.#findings.repeated("warning", `${label} foreign`, "recipe/vocabulary-mismatch", place, message, hint);
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

/** Whether any file of a model tells of tokens: those of the others are compared with nothing. */
function hasTokens({ tokenizer, slowVocabularies }: RecipeInput): boolean {
  return tokenizer !== undefined || (slowVocabularies?.size ?? 0) > 0;
}

interface Sized {
  readonly label: string;
  readonly rows: number;
  readonly vocabulary?: Vocabulary | undefined;
}

function haveSameTokens(a: Vocabulary, b: Vocabulary): boolean {
  return a.ids.size === b.ids.size && [...a.ids].every(([token, id]) => b.ids.get(token) === id);
}
