import { CheckpointError, quoted } from "./errors.ts";

export const ADAPTER_CONFIG_NAME = "adapter_config.json";

/** What adapter_config.json says of a LoRA, as far as merging goes. */
export interface AdapterConfig {
  /** Of modules that no pattern names. */
  readonly rank: number;
  readonly alpha: number;
  readonly rankPattern: ReadonlyMap<string, number>;
  readonly alphaPattern: ReadonlyMap<string, number>;
  /** Scale alpha / sqrt(rank) instead of alpha / rank. */
  readonly rslora: boolean;
  /** Weights of the base are stored as [in, out]. */
  readonly fanInFanOut: boolean;
  /** DoRA: rows of the sum are given lengths of their own. */
  readonly isDora: boolean;
  /** Whether a head that is its embedding stays so where only one of the two is trained. */
  readonly keepsTies: boolean;
  /** Ends of the names of modules that were trained whole, as copies of the base's. */
  readonly modulesToSave: readonly string[];
  /** Rows of embeddings that were trained, in the order of their tensor: by the end of the module's name; "" is the input embedding. */
  readonly tokenRows: ReadonlyMap<string, readonly number[]>;
}

/** What changes the meaning of A and B, or adds to them, by its key. A value of null, false or nothing leaves a key out. */
const refused: ReadonlyMap<string, string> = new Map([
  ["use_qalora", "QALoRA: A acts on pooled inputs"],
  ["use_bdlora", "block-diagonal LoRA"],
  ["lora_bias", "a bias in B"],
  ["target_parameters", "LoRA on parameters instead of modules"],
  ["layer_replication", "layers that stand several times in the model"],
  ["alora_invocation_tokens", "aLoRA: the adapter is on for a part of the text only"],
  ["arrow_config", "Arrow: experts chosen by token"],
  ["kasa_config", "KaSA: singular values between A and B"],
  ["monteclora_config", "MonteCLoRA: sampled weights"],
  ["velora_config", "VeLoRA"],
]);

/** Ways to begin training after which A and B are what they look like: added to the base as it was. */
const plainBeginnings: readonly unknown[] = [true, false, null, undefined, "gaussian", "eva", "orthogonal"];

type Json = Readonly<Record<string, unknown>>;

/** @throws CheckpointError `checkpoint/adapter-unsupported`, by name; `checkpoint/adapter-config` */
export function parseAdapterConfig(config: Json, label: string): AdapterConfig {
  const type = config.peft_type;
  if (type !== "LORA") throw unsupported(label, `its peft_type is ${JSON.stringify(type)}`, "adapters of that type");
  for (const [key, what] of refused) {
    if (isSet(config[key])) throw unsupported(label, `${key} is set`, what);
  }
  if (!plainBeginnings.includes(config.init_lora_weights)) {
    const beginning = quoted(String(config.init_lora_weights));
    throw unsupported(label, `init_lora_weights is ${beginning}`, "beginnings that alter the base's weights");
  }
  const rank = positive(config.r, "r", label);
  const alpha = finite(config.lora_alpha, "lora_alpha", label);
  return {
    rank,
    alpha,
    rankPattern: pattern(config.rank_pattern, "rank_pattern", label, positive),
    alphaPattern: pattern(config.alpha_pattern, "alpha_pattern", label, finite),
    rslora: config.use_rslora === true,
    fanInFanOut: config.fan_in_fan_out === true,
    isDora: config.use_dora === true,
    keepsTies: config.ensure_weight_tying === true,
    modulesToSave: Array.isArray(config.modules_to_save)
      ? config.modules_to_save.filter((name) => typeof name === "string")
      : [],
    tokenRows: tokenRowsOf(config.trainable_token_indices, label),
  };
}

/**
 * Rank and scale of one module. Without a config the scale is 1: whoever loads such files scales all of them alike.
 * @throws CheckpointError `checkpoint/adapter-config` for a pattern that is no expression
 */
export function rankAndScale(
  config: AdapterConfig | undefined,
  module: string,
  rankOfA: number,
  label: string,
): { rank: number; scale: number } {
  if (config === undefined) return { rank: rankOfA, scale: 1 };
  const rank = maybeMatch(config.rankPattern, module, label) ?? config.rank;
  const alpha = maybeMatch(config.alphaPattern, module, label) ?? config.alpha;
  return { rank, scale: config.rslora ? alpha / Math.sqrt(rank) : alpha / rank };
}

/** As PEFT matches: the first key that is the whole name or its end after a dot; keys are regular expressions. */
function maybeMatch(patterns: ReadonlyMap<string, number>, module: string, label: string): number | undefined {
  for (const [key, value] of patterns) {
    if (/^[\w.-]+$/.test(key)) {
      // Most keys are plain names, in which only the dot means something else.
      const tail = module.slice(-key.length);
      const before = module.charAt(module.length - key.length - 1);
      if (module === key || (tail === key && before === ".")) return value;
      if (!key.includes(".")) continue;
    }
    if (expressionOf(key, label).test(module)) return value;
  }
  return undefined;
}

const expressions = new Map<string, RegExp>();

function expressionOf(key: string, label: string): RegExp {
  const known = expressions.get(key);
  if (known !== undefined) return known;
  try {
    // Python writes the names of groups otherwise.
    const pattern = key.replaceAll("(?P<", "(?<").replace(/\(\?P=(\w+)\)/g, "\\k<$1>");
    const expression = new RegExp(`^(?:.*\\.)?(?:${pattern})$`, "s");
    expressions.set(key, expression);
    return expression;
  } catch (cause) {
    throw new CheckpointError(
      "checkpoint/adapter-config",
      `${label}: the pattern ${quoted(key)} is no regular expression that is known here`,
      { hint: `Write out the names of the modules in ${ADAPTER_CONFIG_NAME}.`, cause },
    );
  }
}

function pattern(
  value: unknown,
  key: string,
  label: string,
  number: (value: unknown, key: string, label: string) => number,
): ReadonlyMap<string, number> {
  if (value === undefined || value === null) return new Map();
  if (typeof value !== "object" || Array.isArray(value)) throw faulty(label, key, value, "a map of module names");
  return new Map(Object.entries(value).map(([name, entry]) => [name, number(entry, `${key}.${name}`, label)]));
}

/** A list for the input embedding, or lists by module. */
function tokenRowsOf(value: unknown, label: string): ReadonlyMap<string, readonly number[]> {
  if (!isSet(value)) return new Map();
  const lists = Array.isArray(value) ? { "": value } : (value as Json);
  return new Map(
    Object.entries(lists).map(([module, list]) => {
      const isSound = Array.isArray(list) && list.every((row) => Number.isSafeInteger(row) && row >= 0);
      if (!isSound) throw faulty(label, "trainable_token_indices", value, "lists of rows, counted from 0,");
      return [module, list as readonly number[]];
    }),
  );
}

function positive(value: unknown, key: string, label: string): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value > 0) return value;
  throw faulty(label, key, value, "a whole number above 0");
}

function finite(value: unknown, key: string, label: string): number {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw faulty(label, key, value, "a number");
}

function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}

function faulty(label: string, key: string, value: unknown, expected: string): CheckpointError {
  const found = value === undefined ? "missing" : quoted(JSON.stringify(value));
  return new CheckpointError(
    "checkpoint/adapter-config",
    `${label}: ${ADAPTER_CONFIG_NAME}: ${quoted(key)} is ${found}; ${expected} is expected`,
    { hint: `Correct ${ADAPTER_CONFIG_NAME} or get it again.` },
  );
}

export function unsupported(label: string, found: string, what: string): CheckpointError {
  return new CheckpointError("checkpoint/adapter-unsupported", `${label}: ${found}; not supported: ${what}`, {
    hint: "Merge this adapter into its model with PEFT (merge_and_unload), and name the result.",
  });
}
