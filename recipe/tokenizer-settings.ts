import { chatTemplateNames, maybeChatTemplate } from "../tokenizer/index.ts";
import { described, maybeValue, type ReadingContext, reportUnknownKeys } from "./context.ts";
import type { TextPlace } from "./errors.ts";
import { type ModelReference, maybeModelReference } from "./model-reference.ts";
import { maybeNumberFromText } from "./scalars.ts";
import { didYouMean, maybeMeant } from "./suggestion.ts";
import type { YamlMap, YamlNode } from "./yaml.ts";

/** The recipe keys `tokenizer_source` and `tokenizer`: which tokens the output has, and where their rows come from. */
export interface TokenizerSettings {
  readonly source: "union" | "base" | ModelReference;
  /** By token, in the order of the recipe. */
  readonly tokens: ReadonlyMap<string, TokenSetting>;
  /** The embeddings get a multiple of so many rows. */
  readonly padToMultipleOf: number;
  readonly place: TextPlace;
}

export interface TokenSetting {
  readonly source?: TokenSource;
  /** The source is also for models that have the token. */
  readonly force: boolean;
  readonly place: TextPlace;
}

/** What models get for a token that they lack. */
export type TokenSource =
  | { readonly kind: "zero" }
  | { readonly kind: "model"; readonly model: ModelReference }
  | { readonly kind: "model_token"; readonly model: ModelReference; readonly token: string | number };

/** The recipe key `chat_template`: the commonest of the inputs, or a text; `name` where it is a built-in one. */
export type ChatTemplateSetting =
  | { readonly kind: "auto"; readonly place: TextPlace }
  | { readonly kind: "text"; readonly text: string; readonly name?: string; readonly place: TextPlace };

/** Undefined where the recipe has neither key, or where what it has is faulty, which is then reported. */
export function maybeTokenizerSettings(root: YamlMap, context: ReadingContext): TokenizerSettings | undefined {
  const short = maybeValue(root, "tokenizer_source");
  const long = maybeValue(root, "tokenizer");
  if (short !== undefined && long !== undefined) {
    const place = root.entries.get("tokenizer")?.place ?? long.place;
    const message = '"tokenizer" and "tokenizer_source" stand in one recipe, one of them is allowed';
    context.findings.fault("recipe/wrong-value", place, message, "Write the source under tokenizer: source:.");
    return undefined;
  }
  if (short !== undefined) {
    const source = maybeVocabularySource(short, context);
    const place = root.entries.get("tokenizer_source")?.place ?? short.place;
    return source && { source, tokens: new Map(), padToMultipleOf: 1, place };
  }
  if (long === undefined) return undefined;
  const place = root.entries.get("tokenizer")?.place ?? long.place;
  if (long.kind !== "map") {
    const hint = "Write tokenizer: {source: union}, or tokenizer_source: union.";
    context.findings.fault(
      "recipe/wrong-type",
      long.place,
      `"tokenizer" holds ${described(long)}, a map is expected`,
      hint,
    );
    return undefined;
  }
  reportUnknownKeys(context, long, ["source", "tokens", "pad_to_multiple_of"]);
  const sourceNode = maybeValue(long, "source");
  const source = sourceNode === undefined ? "union" : maybeVocabularySource(sourceNode, context);
  const tokens = maybeTokens(long, context);
  const padToMultipleOf = maybePadding(long, context);
  return source && tokens && padToMultipleOf ? { source, tokens, padToMultipleOf, place } : undefined;
}

function maybeVocabularySource(node: YamlNode, context: ReadingContext): TokenizerSettings["source"] | undefined {
  if (node.kind === "scalar" && (node.value === "union" || node.value === "base")) return node.value;
  const [, named] = (node.kind === "scalar" && /^model:\s*(.+)$/.exec(node.text)) || [];
  if (named !== undefined) {
    const message = `"${node.kind === "scalar" ? node.text : ""}" is how older versions of mergekit name the model whose tokenizer is taken`;
    context.findings.fault(
      "recipe/wrong-value",
      node.place,
      message,
      `Write the model alone: tokenizer_source: ${named}.`,
    );
    return undefined;
  }
  return maybeModelReference(node, context);
}

/** Undefined where an entry is faulty. */
function maybeTokens(tokenizer: YamlMap, context: ReadingContext): ReadonlyMap<string, TokenSetting> | undefined {
  const tokens = new Map<string, TokenSetting>();
  const node = maybeValue(tokenizer, "tokens");
  if (node === undefined) return tokens;
  const hint = "Write token: {source: a model, or {kind: zero}, or {kind: model_token, model, token}}.";
  if (node.kind !== "map") {
    context.findings.fault(
      "recipe/wrong-type",
      node.place,
      `"tokens" holds ${described(node)}, a map of tokens is expected`,
      hint,
    );
    return undefined;
  }
  let isSound = true;
  for (const { key, place, value } of node.entries.values()) {
    if (value.kind === "scalar" && value.value === null) {
      tokens.set(key, { force: false, place });
      continue;
    }
    if (value.kind !== "map") {
      const message = `token "${key}" holds ${described(value)}, a map is expected`;
      context.findings.fault("recipe/wrong-type", value.place, message, hint);
      isSound = false;
      continue;
    }
    reportUnknownKeys(context, value, ["source", "force"]);
    const force = maybeForce(value, context);
    const sourceNode = maybeValue(value, "source");
    const source = sourceNode && maybeTokenSource(sourceNode, context);
    if (force === undefined || (sourceNode !== undefined && source === undefined)) isSound = false;
    else tokens.set(key, { force, place, ...(source && { source }) });
  }
  return isSound ? tokens : undefined;
}

function maybeForce(token: YamlMap, { findings }: ReadingContext): boolean | undefined {
  const node = maybeValue(token, "force");
  if (node === undefined) return false;
  if (node.kind === "scalar" && typeof node.value === "boolean") return node.value;
  const message = `"force" holds ${described(node)}, true or false is expected`;
  findings.fault("recipe/wrong-type", node.place, message, "true overrides the rows of models that have the token.");
  return undefined;
}

const sourceKinds = ["zero", "model_token"];

function maybeTokenSource(node: YamlNode, context: ReadingContext): TokenSource | undefined {
  const { findings } = context;
  const kindNode = node.kind === "map" ? maybeValue(node, "kind") : undefined;
  if (node.kind !== "map" || kindNode === undefined) {
    const model = maybeModelReference(node, context);
    return model && { kind: "model", model };
  }
  const kind = kindNode.kind === "scalar" ? kindNode.text : "";
  if (!sourceKinds.includes(kind)) {
    const message = `"kind" holds ${described(kindNode)}, "zero" or "model_token" is expected${didYouMean(maybeMeant(kind, sourceKinds))}`;
    findings.fault(
      "recipe/wrong-value",
      kindNode.place,
      message,
      "A model's own row of the same token: source: and the model.",
    );
    return undefined;
  }
  if (kind === "zero") {
    reportUnknownKeys(context, node, ["kind"]);
    return { kind: "zero" };
  }
  reportUnknownKeys(context, node, ["kind", "model", "token", "token_id"]);
  const modelNode = maybeValue(node, "model");
  const [tokenNode, idNode] = [maybeValue(node, "token"), maybeValue(node, "token_id")];
  if (modelNode === undefined || (tokenNode === undefined) === (idNode === undefined)) {
    const message = 'a source of kind "model_token" needs "model" and one of "token" and "token_id"';
    findings.fault("recipe/missing-key", node.place, message, "Write {kind: model_token, model: a/model, token: <s>}.");
    return undefined;
  }
  const model = maybeModelReference(modelNode, context);
  const token = tokenNode === undefined ? maybeTokenId(idNode, context) : maybeToken(tokenNode, context);
  return model !== undefined && token !== undefined ? { kind: "model_token", model, token } : undefined;
}

/** A token may look like a number or a boolean: it is taken as it is written. */
function maybeToken(node: YamlNode, { findings }: ReadingContext): string | undefined {
  if (node.kind === "scalar" && node.text !== "") return node.text;
  findings.fault(
    "recipe/wrong-type",
    node.place,
    `"token" holds ${described(node)}, text is expected`,
    "Quote the token.",
  );
  return undefined;
}

function maybeTokenId(node: YamlNode | undefined, { findings }: ReadingContext): number | undefined {
  const id = wholeNumber(node);
  if (id !== undefined || node === undefined) return id;
  const message = `"token_id" holds ${described(node)}, a whole number of 0 or more is expected`;
  findings.fault("recipe/wrong-type", node.place, message, "Ids are the rows of the embedding, counted from 0.");
  return undefined;
}

function maybePadding(tokenizer: YamlMap, { findings }: ReadingContext): number | undefined {
  const node = maybeValue(tokenizer, "pad_to_multiple_of");
  if (node === undefined) return 1;
  const multiple = wholeNumber(node);
  if (multiple !== undefined && multiple > 0 && multiple <= PADDING_MAX) return multiple;
  const message = `"pad_to_multiple_of" holds ${described(node)}, a whole number from 1 to ${PADDING_MAX} is expected`;
  findings.fault("recipe/wrong-value", node.place, message, "Multiples of 64 or 128 are common.");
  return undefined;
}

/** A slip of the hand must not ask for terabytes. */
const PADDING_MAX = 1_048_576;

function wholeNumber(node: YamlNode | undefined): number | undefined {
  if (node?.kind !== "scalar" || typeof node.value === "boolean" || node.value === null) return undefined;
  const number = typeof node.value === "string" ? maybeNumberFromText(node.value) : node.value;
  return number !== undefined && Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}

/** Undefined where the key is missing or faulty. */
export function maybeChatTemplateSetting(root: YamlMap, { findings }: ReadingContext): ChatTemplateSetting | undefined {
  const node = maybeValue(root, "chat_template");
  if (node === undefined) return undefined;
  const place = root.entries.get("chat_template")?.place ?? node.place;
  const known = ["auto", ...chatTemplateNames];
  if (node.kind === "scalar" && typeof node.value === "string") {
    if (node.value === "auto") return { kind: "auto", place };
    const builtIn = maybeChatTemplate(node.value);
    if (builtIn !== undefined) return { kind: "text", text: builtIn, name: node.value, place };
    if (/\{[{%]/.test(node.value)) return { kind: "text", text: node.value, place };
  }
  const meant = node.kind === "scalar" ? maybeMeant(node.text, known) : undefined;
  const message = `"chat_template" holds ${described(node)}, which is no template and no known name${didYouMean(meant)}`;
  findings.fault("recipe/wrong-value", node.place, message, `Known: ${known.join(", ")}; or a Jinja template.`);
  return undefined;
}

/** Every model that the settings name, in their order; one may stand more than once. */
export function modelsInTokenizer(settings: TokenizerSettings | undefined): ModelReference[] {
  if (settings === undefined) return [];
  const source = typeof settings.source === "string" ? [] : [settings.source];
  const ofTokens = [...settings.tokens.values()].flatMap((token) => {
    const of = token.source;
    return of === undefined || of.kind === "zero" ? [] : [of.model];
  });
  return [...source, ...ofTokens];
}
