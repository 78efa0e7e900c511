import { maybeMismatch, Vocabularies, type Vocabulary } from "../tokenizer/index.ts";
import type { Findings } from "./findings.ts";
import type { LayerSource, RecipeInput } from "./recipe.ts";
import { maybeVocabulary } from "./token-binder.ts";

/**
 * Without a tokenizer key, row r of one model's embedding is merged with row r of another's: that has a meaning only where both give
 * the id r to the same token. Rows that the output does not have do not matter, nor do ids that one of the models does not use.
 */
export class VocabularyCheck {
  readonly #inputs: readonly RecipeInput[];
  readonly #findings: Findings;
  readonly #allowed: boolean;
  readonly #known = new Vocabularies();

  constructor(inputs: readonly RecipeInput[], findings: Findings, allowed: boolean) {
    this.#inputs = inputs;
    this.#findings = findings;
    this.#allowed = allowed;
  }

  /** `rows`: of the tensor in the output, which is merged from these. */
  check(rows: number, sources: readonly { readonly source: LayerSource; readonly inputIndex: number }[]): void {
    let first: { readonly label: string; readonly vocabulary: Vocabulary } | undefined;
    for (const { source, inputIndex } of sources) {
      const input = this.#inputs[inputIndex];
      const vocabulary = input && maybeVocabulary(input, this.#known);
      if (input === undefined || vocabulary === undefined) continue;
      first ??= { label: input.label, vocabulary };
      const mismatch = maybeMismatch(first.vocabulary, vocabulary, rows);
      if (mismatch === undefined) continue;
      const { id, tokens, count } = mismatch;
      const others = count === 1 ? "" : `; ${count} ids below ${rows} differ`;
      const message = `the id ${id} is "${tokens[0]}" in "${first.label}" and "${tokens[1]}" in "${input.label}"${others}`;
      const hint = this.#allowed
        ? "Rows of different tokens are merged with each other."
        : "tokenizer_source: union brings the rows into one order; --allow-vocabulary-mismatch merges them as they stand.";
      const severity = this.#allowed ? "warning" : "fault";
      this.#findings.repeated(severity, input.label, "recipe/vocabulary-mismatch", source.place, message, hint);
    }
  }
}
