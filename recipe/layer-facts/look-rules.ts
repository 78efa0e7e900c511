import { type Config, isCount, type LayerRule } from "./layer-rule.ts";
import {
  attentionTypesRule,
  cycleRule,
  lettersRule,
  listRule,
  numberedRule,
  numbersRule,
  outputsRule,
} from "./listed-rules.ts";
import { countRule, lastRule, phaseRule, thresholdRule } from "./position-rules.ts";

/** Lists of numbers of layers, counted from 0: `mlp_only_layers`, `attn_layer_indices`, `full_attn_idxs`, `fullatt_block_indexes`. */
const numbersName =
  /(?:^|_)(?:layers|layer_(?:ids?|idxs?|indices|indexes|numbers|list)|block_ids|attention_blocks)$|(?:^out|attn|attention|layer|block|window|global|local|full|mlp|moe|expert|mamba|hybrid|cross|deepstack|feature|hidden_state).*_(?:idxs?|indices|indexes)$/;
const noNumbers = /proj|summary|^num_|^n_/;

/** Whose outputs are read, or at which something is fed. */
const outputsName = /(?:^out_|deepstack|feature|extract|intermediate|hidden_state|target|aux|insert|cat_|spatial)/;

/** A number after which something comes round again. */
const periodName =
  /(?:^|_)(?:period|interval|freq|frequency|every(?:_n(?:th)?(?:_layers?)?)?|sparse_step|layer_step|pattern)$/;
const ofLayers =
  /layer|attn|attention|moe|expert|sparse|dense|sliding|window|global|local|full|rope|cross|mamba|hybrid|mlp/;
const noPeriod = /rope_.*freq|base|embed|mask|predict/;

const firstName =
  /^(?:n_|num_)?(?:first|initial|leading|prefix)_.*(?:layers?|blocks?|replace)$|^(?:n_|num_)dense_layers$|start_index$|^max_window_layers$/;
const lastName = /^(?:n_|num_)?(?:last|final|trailing)_.*(?:layers?|blocks?)$|^num_kv_shared_layers$/;

/** Lists that have nothing to do with layers, however many entries they have. */
const otherLists =
  /token|architectures|(?<!layer_)(?<!layer)_ids?$|labels?$|_mean$|_std$|languages|stop|suppress|keys_to_ignore|mrope|^conv_|kernel|stride|dilation|resblock|upsample|patch|image_size|spatial|time_step|stage_names|out_features|_sections?$|norm_topk|tags|betas|downsample|bias_u|resolution|level|codebook|quantiz/;

/** Names that say that a list is one of layers, also in models of so few that chance must be reckoned with. */
const layerLists =
  /layer|block|types?$|pattern|heads|multipliers?$|intermediate|sparsity|window|attn|attention|ffn|mlp|moe|experts?|hybrid|kv_/;
const fewLayers = 3;

const lettersName = /pattern|layout|schedule|layer_types|block_types/;
/** Parts of a config whose lists and maps are not about layers of this stack. */
const ownParts = /rope|_config$|quantization|task_specific/;

/** What a part of a config says of the layers that it counts, known by what it looks like. `claimed`: keys that are known already. */
export function lookRules(config: Config, count: number, claimed: ReadonlySet<string>): readonly LayerRule[] {
  return Object.keys(config).flatMap((key) => {
    // What begins with an underscore is a family's own note, and is not read again.
    const rule = claimed.has(key) || key.startsWith("_") ? undefined : maybeRule(key, config[key], count);
    return rule === undefined ? [] : [rule];
  });
}

function maybeRule(key: string, value: unknown, count: number): LayerRule | undefined {
  if (Array.isArray(value)) return maybeListRule(key, value, count);
  // MiniCPM, whose code mostly comes with the model: what a layer adds is divided by the root of how many there are.
  if (key === "scale_depth") return typeof value === "number" ? countRule(key) : undefined;
  if (typeof value === "string") {
    if (!lettersName.test(key)) return undefined;
    return value.length === count
      ? lettersRule(key)
      : value.length > 1 && value.length < count
        ? cycleRule(key, false)
        : undefined;
  }
  if (isCount(value)) return maybeNumberRule(key, value, count);
  return typeof value === "object" && value !== null && isNumbered(key, value as Config, count)
    ? numberedRule(key)
    : undefined;
}

function maybeListRule(key: string, list: readonly unknown[], count: number): LayerRule | undefined {
  if (key === "attention_types" && list.every(Array.isArray)) return attentionTypesRule;
  // Numbers past the end are of nothing: lists are often made for deeper models.
  const isOfNumbers =
    list.every(isCount) && new Set(list).size === list.length && list.some((value) => Number(value) < count);
  if (isOfNumbers && numbersName.test(key) && !noNumbers.test(key))
    return outputsName.test(key) ? outputsRule(key) : numbersRule(key);
  if (otherLists.test(key)) return undefined;
  if (list.length === count) return count > fewLayers || layerLists.test(key) ? listRule(key) : undefined;
  // Longer by the layers that predict further tokens.
  const hasMore =
    list.length > count &&
    list.length <= count + 8 &&
    /layer_types$|block_types?$|indexer_types$|layer_freq$/.test(key);
  if (hasMore && !key.startsWith("mtp")) return listRule(key);
  const comesRound = list.length > 1 && list.length < count && /pattern$|block_types$/.test(key);
  return comesRound ? cycleRule(key, false) : undefined;
}

function maybeNumberRule(key: string, value: number, count: number): LayerRule | undefined {
  if (value > 1 && periodName.test(key) && ofLayers.test(key) && !noPeriod.test(key)) return phaseRule(key);
  if (value === 0) return undefined;
  if (firstName.test(key)) return thresholdRule(key);
  return lastName.test(key) && value <= count ? lastRule(key) : undefined;
}

function isNumbered(key: string, map: Config, count: number): boolean {
  const numbers = Object.keys(map);
  return (
    numbers.length > 0 &&
    !/label|rope/.test(key) &&
    numbers.every((number) => /^\d+$/.test(number) && Number(number) < count)
  );
}

/** Parts within the part that may speak of layers in ways that are not known: keys of lists of numbers, with the key of their part. */
export function unreadKeys(config: Config, count: number, claimed: ReadonlySet<string>): readonly string[] {
  return Object.entries(config).flatMap(([part, value]) => {
    if (claimed.has(part) || typeof value !== "object" || value === null || Array.isArray(value)) return [];
    if (ownParts.test(part) && !/attn|attention|layer|moe|mamba|ssm/.test(part)) return [];
    return Object.entries(value as Config).flatMap(([key, list]) => {
      const isOfNumbers =
        Array.isArray(list) && list.length > 0 && list.every((entry) => isCount(entry) && entry <= count);
      return isOfNumbers && numbersName.test(key) ? [`${part}.${key}`] : [];
    });
  });
}
