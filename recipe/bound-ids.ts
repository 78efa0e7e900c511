import { type JsonObject, type ModelTokenizer, parsePythonJson, vocabularySize } from "../checkpoint/index.ts";
import type { TensorTask } from "../merge/work/index.ts";
import { rolesOf, type TokenIdChange, type TokenIds, tokenIdChanges, Vocabularies } from "../tokenizer/index.ts";
import type { Place } from "./errors.ts";
import type { Findings } from "./findings.ts";
import { mainEmbedding } from "./main-embedding.ts";
import type { RecipeInput } from "./recipe.ts";
import { type BoundTokenizer, tokenCount } from "./token-binder.ts";

/** The text of an output, as far as ids depend on it. */
export interface OutputTokens {
  /** Whose configs the output has. */
  readonly defining: RecipeInput;
  /** Where it is written anew. */
  readonly bound: BoundTokenizer | undefined;
  /** Where it is copied: from the defining input, or from an adapter on it. */
  readonly copied: ModelTokenizer | undefined;
  readonly tasks: readonly TensorTask[];
  readonly embeddingRows: number | undefined;
}

/** Undefined where nothing is known of rows, or where nothing is named by id. */
export function maybeTokenIds(output: OutputTokens): TokenIds | undefined {
  const { defining, bound, copied, tasks, embeddingRows } = output;
  const { checkpoint, tokenizer: own } = defining;
  const embedding = mainEmbedding(checkpoint);
  const rows = tasks.find(({ name }) => name === embedding?.name)?.shape[0] ?? embeddingRows;
  if (checkpoint.config === undefined || embedding === undefined || rows === undefined) return undefined;
  const known = new Vocabularies();
  const after = bound?.vocabulary.ids ?? (copied && copied !== own ? known.of(copied.tokenizer, rows).ids : undefined);
  const before = own && after && known.of(own.tokenizer, tokenCount(checkpoint)).tokens;
  const counted = vocabularySize(checkpoint.config);
  return {
    rows,
    rowsBefore: embedding.rows,
    counts: [embedding.rows, ...(counted === undefined ? [] : [counted])],
    ...(after && before && { tokens: { before, after } }),
    roles: rolesOf(settingsOf(output), after ?? (own ? known.of(own.tokenizer, rows).ids : new Map())),
  };
}

function settingsOf({ defining, bound, copied }: OutputTokens): readonly (JsonObject | undefined)[] {
  const written =
    bound && ["tokenizer_config.json", "special_tokens_map.json"].map((name) => bound.written.files.get(name));
  if (written !== undefined)
    return written.map((text) => (text === undefined ? undefined : (parsePythonJson(text) as JsonObject)));
  const beside = copied ?? defining.tokenizer;
  return [beside?.config, beside?.specialTokensMap];
}

/** Warns of ids in the defining input's configs whose tokens the output lacks. */
export function reportGoneIds(
  { defining, bound }: OutputTokens,
  ids: TokenIds,
  place: Place,
  findings: Findings,
): void {
  const files = new Map([["config.json", defining.checkpoint.config ?? {}], ...(defining.idFiles ?? [])]);
  for (const [name, config] of files) {
    for (const change of tokenIdChanges(config, ids)) reportChange(name, change, place, findings);
  }
  for (const [role, token] of bound?.written.dropped ?? []) {
    const message = `the tokenizer's ${role} is "${token}", which has no row in the output`;
    findings.warning("recipe/token-id", place, message, "It is left out of the tokenizer's settings.");
  }
}

function reportChange(file: string, { path, value, gone }: TokenIdChange, place: Place, findings: Findings): void {
  const [first, ...others] = gone;
  if (first === undefined) return;
  const key = path.join(".");
  const token = first.token === undefined ? "" : ` ("${first.token}")`;
  const more = others.length === 0 ? "" : ` and ${others.length} more`;
  const message = `${key} in ${file} names the id ${first.id}${token}${more}, which the output has no token for`;
  const now = nowText(value, first.now);
  const hint = `In the output ${now}. tokenizer_source: union keeps the tokens of all models.`;
  findings.warning("recipe/token-id", place, message, hint);
}

/** `own`: the output's own token of that use. */
function nowText(value: TokenIdChange["value"], own: number | undefined): string {
  if (value === null) return "it is null";
  if (typeof value !== "number") return "the list is without it";
  if (value < 0) return `it is ${value}, which no token has`;
  return own === undefined ? `it is ${value}, as its kind of model takes no null there` : `it is ${value}`;
}
