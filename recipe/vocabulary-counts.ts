import { vocabularySize, vocabularySizeKeys } from "../checkpoint/index.ts";
import type { TensorTask } from "../merge/work/index.ts";
import type { ConfigValue } from "./config-value.ts";
import type { Findings } from "./findings.ts";
import { mainEmbedding } from "./main-embedding.ts";
import type { Recipe, RecipeInput } from "./recipe.ts";

type Config = Readonly<Record<string, unknown>>;

/** How many tokens some families count apart for the embeddings of each layer (Gemma 3n). */
const PER_LAYER_KEY = "vocab_size_per_layer_input";

/**
 * Whether `vocab_size` is to be the rows of the output's embedding: not where the model has as many, and counts another number by
 * design (Mllama has eight rows more, for pictures). Fewer rows than are counted are never by design.
 */
export function countsRows({ checkpoint }: RecipeInput, rows: number): boolean {
  const counted = checkpoint.config && vocabularySize(checkpoint.config);
  return counted === undefined || counted >= rows || mainEmbedding(checkpoint)?.rows !== rows;
}

/** Kinds of models that are built with rows beyond those of their tokens, for pictures, and how many. */
const rowsBeyond = new Map([
  ["mllama", 8],
  ["mllama_text_model", 8],
]);

/**
 * Rows that are for no token would be lost where the embedding gets one a token, or is cut; the output could not be loaded. `rows`: of
 * the output's embedding.
 */
export function checkRowsBeyond(
  { tokenizer, methodPlace }: Pick<Recipe, "tokenizer" | "methodPlace">,
  { label, checkpoint }: RecipeInput,
  rows: number,
  findings: Findings,
): void {
  const beyond = rowsBeyond.get(String(checkpoint.config?.model_type));
  const own = mainEmbedding(checkpoint)?.rows;
  if (beyond === undefined || own === undefined || own === rows) return;
  const message = `the embedding of "${label}" has ${own} rows, the last ${beyond} of them for pictures and for no token; ${rows} rows would be without them, and its kind of model (${checkpoint.config?.model_type}) cannot be`;
  const hint = "Merge models of one vocabulary, without a tokenizer key and --cut-embeddings.";
  findings.fault("recipe/embedding-rows", tokenizer?.place ?? methodPlace, message, hint);
}

/** How families count the tokens of one tower, and of which tensor that is; where it is not stored, it is the other tower's, too (FSMT, Marian). */
const towerCounts = [
  ["src_vocab_size", /(?:^|\.)encoder\.embed_tokens\.weight$/],
  ["tgt_vocab_size", /(?:^|\.)decoder\.embed_tokens\.weight$/],
  ["decoder_vocab_size", /(?:^|\.)decoder\.embed_tokens\.weight$/],
] as const;

const anyTowers = /(?:^|\.)(?:encoder\.embed_tokens|decoder\.embed_tokens|shared)\.weight$/;

/** Counts of the tokens of encoder and decoder, where the config has them, that follow the rows of the output. */
export function perTowerCounts(config: Config, tasks: readonly TensorTask[]): ConfigValue[] {
  return towerCounts.flatMap(([key, pattern]): ConfigValue[] => {
    if (typeof config[key] !== "number") return [];
    const task = tasks.find(({ name }) => pattern.test(name)) ?? tasks.find(({ name }) => anyTowers.test(name));
    const rows = task?.shape[0];
    return rows === undefined || rows === config[key] ? [] : [{ path: [key], value: rows }];
  });
}

/** Counts of the config besides `vocab_size` that follow the rows of the output. */
export function perLayerCounts(config: Config, tasks: readonly TensorTask[]): ConfigValue[] {
  const rows = tasks.find(({ name }) => /(?:^|\.)embed_tokens_per_layer\.weight$/.test(name))?.shape[0];
  if (rows === undefined) return [];
  return vocabularySizeKeys(config).flatMap((path): ConfigValue[] => {
    const at = [...path.slice(0, -1), PER_LAYER_KEY];
    const count = at.reduce<unknown>((value, key) => (value as Config | undefined)?.[key], config);
    return typeof count === "number" && count !== rows ? [{ path: at, value: rows }] : [];
  });
}
