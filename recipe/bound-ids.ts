import { type JsonObject, type ModelTokenizer, parsePythonJson, vocabularySize } from "../checkpoint/index.ts";
import type { TensorTask } from "../merge/work/index.ts";
import {
  marksWithoutToken,
  rolesOf,
  type TokenIdChange,
  type TokenIds,
  tokenIdChanges,
  Vocabularies,
} from "../tokenizer/index.ts";
import type { TextPlace } from "./errors.ts";
import type { Findings } from "./findings.ts";
import { mainEmbedding } from "./main-embedding.ts";
import type { RecipeInput } from "./recipe.ts";
import { quotedList } from "./suggestion.ts";
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

/** Warns of tokens that the output's chat template writes and its tokenizer lacks. `others`: all models of the merge. */
export function reportTemplate(
  { bound, copied }: Pick<OutputTokens, "bound" | "copied">,
  template: { readonly text: string | undefined; readonly isForeign: boolean },
  others: readonly RecipeInput[],
  place: TextPlace,
  findings: Findings,
): void {
  const own = copied?.tokenizer;
  const ids = bound?.vocabulary.ids ?? (own && new Vocabularies().of(own, Number.POSITIVE_INFINITY).ids);
  if (template.text === undefined || ids === undefined) return;
  const added = others.flatMap(({ tokenizer }) => tokenizer?.tokenizer.added.map(({ content }) => content) ?? []);
  const missing = marksWithoutToken(template.text, new Set(added), ids, template.isForeign);
  if (missing.length === 0) return;
  const more = missing.length > 6 ? ` and ${missing.length - 6} more` : "";
  const message = `the chat template of the output writes ${quotedList(missing.slice(0, 6))}${more}, which ${missing.length === 1 ? "is no token" : "are no tokens"} of its tokenizer`;
  const hint =
    "They are cut into pieces there. Take the tokens as well (tokenizer_source: union), or another template.";
  findings.warning("recipe/token", place, message, hint);
}

/** Warns of ids in the defining input's configs whose tokens the output lacks. */
export function reportGoneIds(
  { defining, bound }: OutputTokens,
  ids: TokenIds,
  place: TextPlace,
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
  const unprocessed = bound?.written.unprocessed ?? [];
  if (unprocessed.length > 0) {
    const message = `the tokenizer adds ${quotedList(unprocessed)} to every text, which ${unprocessed.length === 1 ? "has" : "have"} no row in the output`;
    const hint = "It adds them no longer. tokenizer_source: union keeps the tokens of all models.";
    findings.warning("recipe/token-id", place, message, hint);
  }
}

function reportChange(file: string, { path, value, gone }: TokenIdChange, place: TextPlace, findings: Findings): void {
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
