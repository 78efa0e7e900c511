import { isTiedHead, textConfigs, vocabularySize, vocabularySizeKeys } from "../checkpoint/index.ts";
import type { TensorTask } from "../merge/work/index.ts";
import type { ConfigValue } from "./config-value.ts";
import type { TextPlace } from "./errors.ts";
import type { Findings } from "./findings.ts";
import { mainEmbedding } from "./main-embedding.ts";
import type { Recipe, RecipeInput } from "./recipe.ts";

type Config = Readonly<Record<string, unknown>>;

/** How many tokens some families count apart for the embeddings of each layer (Gemma 3n). */
const PER_LAYER_KEY = "vocab_size_per_layer_input";

/** How many rows the embedding of a kind of model has by design, of which not every one is for a token that it counts. */
interface RowsBeyond {
  /** For each token counted, and besides: of the part of the config that counts them. */
  readonly times?: (config: Config) => number;
  readonly plus?: (config: Config) => number;
}

const numberOf = (config: Config, key: string): number => Number(config[key] ?? Number.NaN);
const eightForPictures: RowsBeyond = { plus: () => 8 };
const additionalTokens: RowsBeyond = { plus: (config) => numberOf(config, "additional_vocab_size") };
const perCodebook: RowsBeyond = { times: (config) => numberOf(config, "num_codebooks") };

/** From the classes of transformers 5.24 (docs/fidelity.md), by `model_type` of the part of the config that counts. */
const rowsBeyond: ReadonlyMap<unknown, RowsBeyond> = new Map([
  ["cpmant", { plus: (config) => numberOf(config, "prompt_types") * numberOf(config, "prompt_length") }],
  ["csm", perCodebook],
  ["csm_depth_decoder_model", perCodebook],
  [
    "kyutai_speech_to_text",
    { plus: (config) => numberOf(config, "num_codebooks") * numberOf(config, "codebook_vocab_size") + 1 },
  ],
  ["mllama", eightForPictures],
  ["mllama_text_model", eightForPictures],
  ["molmo2", additionalTokens],
  ["molmo2_text", additionalTokens],
  ["moshi", { plus: () => 1 }],
]);

/** What the part of a config says from which a model's embedding is built. */
interface Design {
  /** Where it counts tokens, and how many; undefined where it leaves that to its class. */
  readonly counted?: { readonly key: string; readonly tokens: number } | undefined;
  /** Of a kind that has more rows than it counts; NaN: not known how many. */
  readonly rows?: number | undefined;
}

function designOf(config: Config): Design {
  const parts = textConfigs(config).map(({ path, config: part }) => ({ path, part }));
  const counting = parts.findLast(({ part }) => Number.isSafeInteger(part.vocab_size));
  const counted = counting && {
    key: [...counting.path, "vocab_size"].join("."),
    tokens: Number(counting.part.vocab_size),
  };
  const { part } = counting ?? parts.findLast(({ part: one }) => rowsBeyond.has(one.model_type)) ?? { part: config };
  const beyond = rowsBeyond.get(part.model_type) ?? rowsBeyond.get(config.model_type);
  const rows = beyond && (counted?.tokens ?? Number.NaN) * (beyond.times?.(part) ?? 1) + (beyond.plus?.(part) ?? 0);
  return { counted, rows };
}

const REFUSED =
  "Programs that load models by their config refuse this one, and the output: correct the model before it is merged.";

/**
 * Whether `vocab_size` is to be the rows of the output's embedding: not where the model has as many, and its kind counts another number
 * by design. Where the model contradicts itself, as nothing loads it then, the rows count, with a warning; unless an output head has the
 * number that is counted, and nothing can be right.
 */
export function countsRows(
  { label, checkpoint }: RecipeInput,
  rows: number,
  place: TextPlace,
  findings: Findings,
): boolean {
  const { config = {}, tensors } = checkpoint;
  const main = mainEmbedding(checkpoint);
  const { counted, rows: wanted } = designOf(config);
  if (main?.rows !== rows) return true;
  // Counted under other names alone (FSMT, RAG): nothing is to be added.
  if (counted === undefined && wanted === undefined) return !isCountedElsewhere(config, rows);
  if (counted === undefined || wanted === rows || Number.isNaN(wanted)) return false;
  const { key, tokens } = counted;
  const heads = [...tensors.values()].filter(({ name, shape }) => shape.length === 2 && isTiedHead(name));
  if (wanted === undefined && (tokens === rows || isCountedElsewhere(config, rows))) {
    // SigLIP's head makes no tokens.
    const other = heads.find(
      ({ name, shape: [own = 0] }) =>
        !/^head\b/.test(name) && own !== rows && own !== tokens && !isCountedElsewhere(config, own),
    );
    if (other !== undefined) {
      const message = `${key} in the config of "${label}" is ${tokens}, ${main.name} has ${rows} rows and ${other.name} ${other.shape[0]}: no config can count both`;
      findings.warning("recipe/vocabulary-count", place, message, REFUSED);
    }
    return Number(vocabularySize(config)) >= rows;
  }
  const head = heads.find(({ shape }) => shape[0] === tokens);
  const stays = wanted !== undefined || head !== undefined;
  const expected = wanted === undefined ? "" : `, which makes ${wanted} rows in its kind of model`;
  const also = head === undefined ? "" : ` (${head.name} has ${tokens})`;
  const message = `${key} in the config of "${label}" is ${tokens}${expected}, and ${main.name} has ${rows} rows${also}: ${stays ? `it stays ${tokens}` : `the output's config says ${rows}`}`;
  const hint = stays
    ? REFUSED
    : `Programs that load models by their config refuse this one as it stands.${tokens > rows ? "" : ` If its own code makes more rows than it counts tokens, write ${tokens} into the output's config.json.`}`;
  findings.warning("recipe/vocabulary-count", place, message, hint);
  return !stays;
}

/** Of another table (BLT's encoder, Marian's decoder, PI0's actions), or under the name that ChatGLM's code reads. */
function isCountedElsewhere(config: Config, rows: number): boolean {
  const own = new Set(vocabularySizeKeys(config).map((path) => path.join(".")));
  const search = (part: Config, path: readonly string[]): boolean =>
    Object.entries(part).some(([key, value]) => {
      const at = [...path, key];
      if (typeof value === "object" && value !== null && !Array.isArray(value)) return search(value as Config, at);
      const isOther = key === "padded_vocab_size" ? config.model_type === "chatglm" : !own.has(at.join("."));
      return /vocab/.test(key) && isOther && value === rows;
    });
  return search(config, []);
}

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
  const { config = {} } = checkpoint;
  const design = designOf(config);
  const own = mainEmbedding(checkpoint)?.rows;
  if (design.rows === undefined || own === undefined || own === rows) return;
  const message = `the embedding of "${label}" has ${own} rows, and its kind of model (${config.model_type}) more of them by design than its config counts tokens; ${rows} rows would be without these`;
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

/** Counts of the config besides `vocab_size` that follow the rows of the output. */
export function otherCounts({ label, checkpoint }: RecipeInput, tasks: Tables, place: TextPlace, findings: Findings) {
  const { config = {}, tensors } = checkpoint;
  const values = countsOf(config, tasks);
  for (const { path, value } of countsOf(config, [...tensors.values()])) {
    // Rows that the merge alters need not be those that the model counts.
    const isAsBefore = values.some((one) => one.path.join() === path.join() && one.value === value);
    if (!isAsBefore) continue;
    const message = `${path.join(".")} in the config of "${label}" is ${path.reduce<unknown>((part, key) => (part as Config)[key], config)}, and its table has ${value} rows: the output's config says ${value}`;
    const hint = "Programs that load models by their config refuse this one as it stands.";
    findings.warning("recipe/vocabulary-count", place, message, hint);
  }
  return values;
}

type Tables = readonly Pick<TensorTask, "name" | "shape">[];

function countsOf(config: Config, tables: Tables): ConfigValue[] {
  return [...perLayerCounts(config, tables), ...perTowerCounts(config, tables)];
}

/** Counts of the tokens of encoder and decoder, where the config has them. */
function perTowerCounts(config: Config, tables: Tables): ConfigValue[] {
  return towerCounts.flatMap(([key, pattern]): ConfigValue[] => {
    if (typeof config[key] !== "number") return [];
    const table = tables.find(({ name }) => pattern.test(name)) ?? tables.find(({ name }) => anyTowers.test(name));
    const rows = table?.shape[0];
    return rows === undefined || rows === config[key] ? [] : [{ path: [key], value: rows }];
  });
}

/** Counts of the tokens of tables that every layer has one of. */
function perLayerCounts(config: Config, tables: Tables): ConfigValue[] {
  const rows = tables.find(({ name }) => /(?:^|\.)embed_tokens_per_layer\.weight$/.test(name))?.shape[0];
  if (rows === undefined) return [];
  return vocabularySizeKeys(config).flatMap((path): ConfigValue[] => {
    const at = [...path.slice(0, -1), PER_LAYER_KEY];
    const count = at.reduce<unknown>((value, key) => (value as Config | undefined)?.[key], config);
    return typeof count === "number" && count !== rows ? [{ path: at, value: rows }] : [];
  });
}
