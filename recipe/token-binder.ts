import { type Checkpoint, type TensorEntry, vocabularySize } from "../checkpoint/index.ts";
import {
  commonestTemplate,
  type GatheredRows,
  type OutputVocabulary,
  outputVocabulary,
  RowGathering,
  type RowOf,
  type TokenConflict,
  type TokenRule,
  Vocabularies,
  type Vocabulary,
  type WrittenTokenizer,
  writtenTokenizer,
} from "../tokenizer/index.ts";
import type { Findings } from "./findings.ts";
import { mainEmbedding } from "./main-embedding.ts";
import { type ModelReference, sameModel } from "./model-reference.ts";
import { mergedModels, type Recipe, type RecipeInput } from "./recipe.ts";
import type { TokenizerSettings, TokenSetting } from "./tokenizer-settings.ts";

/** The output's vocabulary, where the recipe asks for one. */
export interface BoundTokenizer {
  readonly vocabulary: OutputVocabulary;
  /** Index of the input whose tokenizer files are the pattern of the output's. */
  readonly pattern: number;
  readonly written: WrittenTokenizer;
}

/** Brings embeddings into the order of the output's vocabulary. */
export interface TokenBinder {
  readonly bound: BoundTokenizer;
  /** Rows of a tensor of an input; `entry` finds that tensor in any input. */
  rows(input: number, entry: (input: number) => TensorEntry | undefined): GatheredRows;
  /** Rows of the output's embeddings. */
  readonly rowCount: number;
  /** Called once all tensors are bound: warns of tokens that no model has a row for. */
  finish(): void;
}

/** Undefined where the recipe has no tokenizer key, or where what it asks for cannot be had, which is then reported. */
export function maybeTokenBinder(
  recipe: Recipe,
  inputs: readonly RecipeInput[],
  definingInput: number,
  findings: Findings,
): TokenBinder | undefined {
  const { tokenizer: settings } = recipe;
  return settings && new Binder(recipe, settings, inputs, definingInput, findings).maybeBinder();
}

/** The chat template that the recipe asks for; undefined where it asks for none, or where no model has one. */
export function chatTemplateOf(recipe: Recipe, inputs: readonly RecipeInput[], findings: Findings): string | undefined {
  const { chatTemplate } = recipe;
  if (chatTemplate === undefined || chatTemplate.kind === "text") return chatTemplate?.text;
  const merged = mergedModels(recipe).map((model) => inputs.find(({ reference }) => sameModel(reference, model)));
  const commonest = commonestTemplate(merged.map((input) => input?.chatTemplate));
  if (commonest === undefined) {
    const message = '"chat_template" has no effect: none of the models has one';
    findings.warning("recipe/no-effect", chatTemplate.place, message, "Name a built-in template, or write one.");
  }
  return commonest;
}

/** A model's own vocabulary: what its config counts, but no more than its input embedding has rows. */
export function maybeVocabulary(input: RecipeInput, vocabularies: Vocabularies): Vocabulary | undefined {
  const { tokenizer, checkpoint } = input;
  return tokenizer && vocabularies.of(tokenizer.tokenizer, tokenCount(checkpoint));
}

/** The tokens of a model that count: those with a row. */
export function tokenCount(checkpoint: Checkpoint): number {
  const { config } = checkpoint;
  const rows = mainEmbedding(checkpoint)?.rows;
  return rows ?? (config && vocabularySize(config)) ?? Number.POSITIVE_INFINITY;
}

class Binder {
  readonly #recipe: Recipe;
  readonly #settings: TokenizerSettings;
  readonly #inputs: readonly RecipeInput[];
  readonly #definingInput: number;
  readonly #findings: Findings;
  readonly #known = new Vocabularies();

  constructor(
    recipe: Recipe,
    settings: TokenizerSettings,
    inputs: readonly RecipeInput[],
    definingInput: number,
    findings: Findings,
  ) {
    this.#recipe = recipe;
    this.#settings = settings;
    this.#inputs = inputs;
    this.#definingInput = definingInput;
    this.#findings = findings;
  }

  maybeBinder(): TokenBinder | undefined {
    const { source, padToMultipleOf, tokens } = this.#settings;
    const pattern = typeof source === "string" ? this.#definingInput : this.#inputOf(source);
    const patternTokenizer = this.#inputs[pattern]?.tokenizer;
    const vocabularies = this.#vocabularies();
    if (vocabularies === undefined || patternTokenizer === undefined) return undefined;
    const order = mergedModels(this.#recipe).map((model) => this.#inputOf(model));
    if (!order.includes(pattern)) order.push(pattern);
    const rules = this.#rules(vocabularies);
    if (rules === undefined) return undefined;
    this.#reportIdle(vocabularies, order);
    const listed = [...tokens].map(([token, setting]) => ({
      token,
      like: this.#like(token, setting, vocabularies, order),
    }));
    const extent = source === "union" ? "union" : "own";
    const request = { extent, pattern, vocabularies, order, listed, padToMultipleOf } as const;
    const { vocabulary, conflicts } = outputVocabulary(request);
    this.#reportConflicts(conflicts);
    const written = writtenTokenizer({ output: vocabulary, vocabularies, pattern: patternTokenizer });
    const base = this.#recipe.baseModel && this.#inputOf(this.#recipe.baseModel);
    return this.#binder({ vocabulary, pattern, written }, (tensorRows) => {
      return new RowGathering({ output: vocabulary, vocabularies, order, base, rules, tensorRows });
    });
  }

  /** A source is for models that lack the token, unless it is forced. */
  #reportIdle(vocabularies: readonly (Vocabulary | undefined)[], order: readonly number[]): void {
    for (const [token, { source, force, place }] of this.#settings.tokens) {
      if (source === undefined || force || !order.every((model) => vocabularies[model]?.ids.has(token))) continue;
      const message = `every model has the token "${token}": its source has no effect`;
      this.#findings.warning("recipe/no-effect", place, message, "force: true overrides the models' own rows.");
    }
  }

  #reportConflicts(conflicts: readonly TokenConflict[]): void {
    for (const other of new Set(conflicts.map((conflict) => conflict.other))) {
      const [first, ...more] = conflicts.filter((conflict) => conflict.other === other);
      if (first === undefined) continue;
      const { token, properties } = first;
      const also = more.length === 0 ? "" : ` (and ${counted(more.length, "more token")})`;
      const message = `"${this.#label(other)}" and "${this.#label(first.first)}" define the added token "${token}" with different ${properties.join(", ")}${also}`;
      const hint = "The first definition in the order of the recipe counts.";
      this.#findings.warning("recipe/token-conflict", this.#settings.place, message, hint);
    }
  }

  #binder(bound: BoundTokenizer, gathering: (tensorRows: (number | undefined)[]) => RowGathering): TokenBinder {
    // Embedding and output head mostly have the same rows, and then the same origins.
    const byRows = new Map<string, RowGathering>();
    return {
      bound,
      rowCount: bound.vocabulary.rows,
      rows: (input, entry) => {
        const tensorRows = this.#inputs.map((_, k) => entry(k)?.shape[0]);
        const key = tensorRows.join();
        const known = byRows.get(key) ?? gathering(tensorRows);
        byRows.set(key, known);
        return known.of(input);
      },
      finish: () => this.#finish(byRows),
    };
  }

  #finish(byRows: ReadonlyMap<string, RowGathering>): void {
    const { place, tokens } = this.#settings;
    if (byRows.size === 0) {
      const message = "no tensor is recognised as an embedding: there are no rows for the vocabulary";
      this.#findings.fault("recipe/tokenizer", place, message, "Leave the tokenizer key out for such models.");
    }
    const nowhere = new Set([...byRows.values()].flatMap((gathering) => [...gathering.nowhere]));
    const [token, ...more] = nowhere;
    if (token === undefined) return;
    const also = more.length === 0 ? "" : ` (and for ${counted(more.length, "more token")})`;
    const message = `no model has a row for the token "${token}"${also}: it is zero`;
    const hint = `Name a source for it: tokens: {${JSON.stringify(token)}: {source: ...}}.`;
    this.#findings.warning("recipe/token", tokens.get(token)?.place ?? place, message, hint);
  }

  /** Of every input. A model without a tokenizer is taken to have the defining one's. */
  #vocabularies(): (Vocabulary | undefined)[] | undefined {
    const { place, source } = this.#settings;
    const needed = new Set([
      this.#definingInput,
      typeof source === "string" ? this.#definingInput : this.#inputOf(source),
    ]);
    let isComplete = true;
    const vocabularies = this.#inputs.map((input, k) => {
      const own = maybeVocabulary(input, this.#known);
      if (own !== undefined) return own;
      const why = input.tokenizerFault ?? "it has no tokenizer.json";
      const hint =
        "save_pretrained of a fast tokenizer writes tokenizer.json; slow ones can be converted by loading them so.";
      const assumed = this.#inputs[this.#definingInput]?.tokenizer;
      if (needed.has(k) || input.tokenizerFault !== undefined || assumed === undefined) {
        isComplete = false;
        this.#findings.fault(
          "recipe/tokenizer",
          place,
          `the tokenizer of "${input.label}" cannot be used: ${why}`,
          hint,
        );
        return undefined;
      }
      const message = `"${input.label}" has no tokenizer.json: it is taken to have the tokens of "${this.#label(this.#definingInput)}"`;
      this.#findings.warning("recipe/tokenizer", place, message, hint);
      return this.#known.of(assumed.tokenizer, tokenCount(input.checkpoint));
    });
    return isComplete ? vocabularies : undefined;
  }

  /** The recipe's `tokens`, with rows in place of tokens. Undefined where one is not to be had. */
  #rules(vocabularies: readonly (Vocabulary | undefined)[]): ReadonlyMap<string, TokenRule> | undefined {
    const rules = new Map<string, TokenRule>();
    let isSound = true;
    for (const [token, setting] of this.#settings.tokens) {
      const source = this.#rowFor(token, setting, vocabularies);
      if (source === "none") isSound = false;
      else rules.set(token, { source, force: setting.force });
    }
    return isSound ? rules : undefined;
  }

  #rowFor(
    token: string,
    { source, place }: TokenSetting,
    vocabularies: readonly (Vocabulary | undefined)[],
  ): RowOf | "zero" | "none" | undefined {
    if (source === undefined || source.kind === "zero") return source?.kind;
    const model = this.#inputOf(source.model);
    const vocabulary = vocabularies[model];
    const wanted = source.kind === "model" ? token : source.token;
    if (typeof wanted === "number") {
      const input = this.#inputs[model];
      const count = (input && mainEmbedding(input.checkpoint)?.rows) ?? 0;
      if (wanted < count) return { model, row: wanted };
      const message = `token_id ${wanted} is past the end of the embedding of "${this.#label(model)}", which has ${count} rows`;
      this.#findings.fault("recipe/token", place, message, "Ids are counted from 0.");
      return "none";
    }
    const row = vocabulary?.ids.get(wanted);
    if (row !== undefined) return { model, row };
    const message = `"${this.#label(model)}" has no token "${wanted}", from which "${token}" should get its row`;
    this.#findings.fault("recipe/token", place, message, "Name a model that has the token, or another token of it.");
    return "none";
  }

  /** Whose properties a listed token takes over that the output would lack otherwise. */
  #like(
    token: string,
    { source }: TokenSetting,
    vocabularies: readonly (Vocabulary | undefined)[],
    order: readonly number[],
  ) {
    for (const model of order) {
      const own = vocabularies[model]?.added.get(token);
      if (own !== undefined) return own;
    }
    if (source?.kind !== "model_token") return undefined;
    const vocabulary = vocabularies[this.#inputOf(source.model)];
    const name = typeof source.token === "string" ? source.token : vocabulary?.tokens[source.token];
    return name === undefined ? undefined : vocabulary?.added.get(name);
  }

  #label(input: number): string {
    return this.#inputs[input]?.label ?? `input ${input}`;
  }

  #inputOf(model: ModelReference): number {
    const index = this.#inputs.findIndex((input) => sameModel(input.reference, model));
    if (index < 0) throw new Error(`the recipe's model "${model.text}" is not among the inputs`);
    return index;
  }
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
