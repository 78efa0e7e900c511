import {
  CHAT_TEMPLATE_NAME,
  CHAT_TEMPLATES_FOLDER,
  type Checkpoint,
  companionKind,
  type JsonObject,
  MAX_COMPANION_BYTES,
  parsePythonJson,
  readSidecar,
  TOKENIZER_CONFIG_NAME,
} from "../../checkpoint/index.ts";
import type { Plan } from "../../merge/work/index.ts";
import { type FileValue, staleQuantization } from "../../recipe/index.ts";
import type { Source } from "../../storage/index.ts";
import { type TokenIds, tokenIdChanges } from "../../tokenizer/index.ts";
import { withJsonValue } from "./json-text.ts";
import { type OutputDocument, textDocument } from "./output-document.ts";

/** What the output has about text that is not simply the defining input's. */
export interface OutputText {
  readonly tokenizer?: OutputTokenizer | undefined;
  /** Jinja. */
  readonly chatTemplate?: string | undefined;
  /** Where the tokenizer's files, and the chat template, are copied from another input than the defining one. */
  readonly tokenizerFrom?: Checkpoint | undefined;
  readonly templateFrom?: Checkpoint | undefined;
  /** Indices into the plan's inputs: of these two, or of the pattern; without them the defining input. */
  readonly tokenizerOf?: number | undefined;
  readonly templateOf?: number | undefined;
  /** How ids are numbered that the configs of the defining input name. */
  readonly ids?: TokenIds | undefined;
  /** What files of the defining input about quantisation say otherwise in the output. */
  readonly fileValues?: readonly FileValue[] | undefined;
}

/** The tokenizer of an output that has a vocabulary of its own. */
export interface OutputTokenizer {
  /** Files that are written anew, by name. */
  readonly files: ReadonlyMap<string, string>;
  /** The input that was the pattern: its other tokenizer files are copied. */
  readonly pattern: Checkpoint;
  /** Whose chat template is copied. */
  readonly template: Checkpoint;
  /** Whether its files for slow tokenizers are still right. */
  readonly slowFilesHold: boolean;
}

const ADDED_TOKENS_NAME = "added_tokens.json";

/** The tokenizer's files: written, or copied from the pattern as far as they are still right. */
export async function tokenizerDocuments(
  store: Source,
  { files, pattern, template, slowFilesHold }: OutputTokenizer,
): Promise<OutputDocument[]> {
  const copied = copiedOfPattern({ files, pattern, slowFilesHold });
  const documents = [
    ...(await copies(store, pattern, copied)),
    ...(await copies(store, template, companionsOf(template, ["chat-template"]))),
  ];
  const isSlow = copied.some((name) => companionKind(name) === "slow-tokenizer");
  for (const [name, text] of files) {
    // Slow tokenizers read the added tokens there; a fast one has them in tokenizer.json.
    if (name === ADDED_TOKENS_NAME && !isSlow && !pattern.companions.includes(name)) continue;
    documents.push(textDocument(name, text));
  }
  return documents.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function copiedOfPattern({
  files,
  pattern,
  slowFilesHold,
}: Pick<OutputTokenizer, "files" | "pattern" | "slowFilesHold">): readonly string[] {
  return companionsOf(pattern, ["tokenizer", "slow-tokenizer"]).filter(
    (name) => !files.has(name) && (companionKind(name) !== "slow-tokenizer" || slowFilesHold),
  );
}

/**
 * Puts the template where the tokenizer's config has one, and into its own file, which newer readers look at first. Templates for other
 * uses, which have names ("rag", "tool_use"), stay: readers of that file look for them in a folder beside it.
 */
export function withChatTemplate(documents: readonly OutputDocument[], template: string): OutputDocument[] {
  const kept = documents.filter(({ name }) => companionKind(name) !== "chat-template" || isNamedTemplate(name));
  const named = new Map<string, OutputDocument>();
  const edited = kept.map((document) => {
    if (document.name !== TOKENIZER_CONFIG_NAME) return document;
    const text = Buffer.from(document.bytes).toString("utf8");
    const before = maybeObject(text)?.chat_template;
    if (before === undefined) return document;
    const others = namedTemplates(before).filter(({ name }) => name !== "default");
    for (const { name, template: own } of others) {
      const file = `${CHAT_TEMPLATES_FOLDER}/${name}.jinja`;
      if (/^\w[\w.-]*$/.test(name) && kept.every((one) => one.name !== file)) named.set(file, textDocument(file, own));
    }
    const value =
      others.length === 0 ? template : [{ name: "default", template }, ...others.map((one) => ({ ...one }))];
    return textDocument(document.name, withJsonValue(text, ["chat_template"], value));
  });
  return [...edited, ...named.values(), textDocument(CHAT_TEMPLATE_NAME, template)];
}

function isNamedTemplate(file: string): boolean {
  return file.startsWith(`${CHAT_TEMPLATES_FOLDER}/`) && file !== `${CHAT_TEMPLATES_FOLDER}/default.jinja`;
}

/** Of a list of them, as older programs write it into the tokenizer's config. */
function namedTemplates(value: unknown): readonly { readonly name: string; readonly template: string }[] {
  return (Array.isArray(value) ? value : []).flatMap((one: unknown) => {
    const { name, template } = (typeof one === "object" && one !== null ? one : {}) as JsonObject;
    return typeof name === "string" && typeof template === "string" ? [{ name, template }] : [];
  });
}

/** Files about text that are copied from other inputs than the defining one, and their names in place of whose they stand. */
export async function copiedText(store: Source, text: OutputText): Promise<readonly OutputDocument[]> {
  const documents: OutputDocument[] = [];
  for (const { from, names } of copiedFromOthers(text)) documents.push(...(await copies(store, from, names)));
  return documents;
}

function copiedFromOthers({ tokenizerFrom, templateFrom }: OutputText): readonly CopiedFiles[] {
  const tokenizers = tokenizerFrom && companionsOf(tokenizerFrom, ["tokenizer", "slow-tokenizer"]);
  const templates = templateFrom && companionsOf(templateFrom, ["chat-template"]);
  return [
    ...(tokenizerFrom && tokenizers ? [{ from: tokenizerFrom, names: tokenizers }] : []),
    ...(templateFrom && templates ? [{ from: templateFrom, names: templates }] : []),
  ];
}

export interface CopiedFiles {
  readonly from: Checkpoint;
  readonly names: readonly string[];
}

/** Every file of an input that the output takes over, as it stands or with other values in places. */
export function copiedFiles(plan: Plan, defining: Checkpoint, text: OutputText): readonly CopiedFiles[] {
  const { files: stale } = staleQuantization(plan.tasks, defining);
  const names = defining.companions.filter((name) => !isReplaced(name, text) && !stale.includes(name));
  const { tokenizer } = text;
  const others = tokenizer
    ? [
        { from: tokenizer.pattern, names: copiedOfPattern(tokenizer) },
        { from: tokenizer.template, names: companionsOf(tokenizer.template, ["chat-template"]) },
      ]
    : copiedFromOthers(text);
  const isWritten = (name: string) => text.chatTemplate !== undefined && companionKind(name) === "chat-template";
  return [{ from: defining, names }, ...others].map(({ from, names: all }) => ({
    from,
    names: all.filter((name) => !isWritten(name)),
  }));
}

/** By input of the plan, what the output has of its files: the config, a tokenizer, a chat template that stands by itself. */
export function givenText(plan: Plan, defining: Checkpoint, text: OutputText): ReadonlyMap<number, readonly string[]> {
  const { definingInput: at, adapter } = plan;
  const { tokenizerOf = at, templateOf = at, tokenizer } = text;
  const kinds = new Set(copiedFiles(plan, defining, text).flatMap(({ names }) => names.map(companionKind)));
  const hasTokenizer = tokenizer !== undefined || kinds.has("tokenizer") || kinds.has("slow-tokenizer");
  const hasTemplate = kinds.has("chat-template") && !(hasTokenizer && templateOf === tokenizerOf);
  const given = new Map<number, readonly string[]>();
  const give = (input: number, what: string) => given.set(input, [...(given.get(input) ?? []), what]);
  if (adapter !== undefined || defining.config !== undefined) give(at, "config");
  if (hasTokenizer) give(tokenizerOf, "tokenizer");
  if (hasTemplate) give(templateOf, "chat template");
  return given;
}

/** Whether a companion of the defining input is not to be copied, since another's takes its place. */
export function isReplaced(name: string, text: OutputText | undefined): boolean {
  const kind = companionKind(name);
  if (text === undefined || kind === "other") return false;
  if (text.tokenizer !== undefined) return true;
  return (kind === "chat-template" ? text.templateFrom : text.tokenizerFrom) !== undefined;
}

function companionsOf(
  { companions }: Pick<Checkpoint, "companions">,
  kinds: readonly ReturnType<typeof companionKind>[],
): readonly string[] {
  return companions.filter((name) => kinds.includes(companionKind(name)));
}

async function copies(store: Source, from: Checkpoint, names: readonly string[]): Promise<OutputDocument[]> {
  const documents: OutputDocument[] = [];
  for (const name of names) documents.push({ name, bytes: await readSidecar(store, from, name, MAX_COMPANION_BYTES) });
  return documents;
}

/** JSON text with these values, and all else as it stands. */
export function withValues(text: string, values: readonly Pick<FileValue, "path" | "value">[]): string {
  return values.reduce((edited, { path, value }) => withJsonValue(edited, path, value), text);
}

/** Ids of tokens (`eos_token_id`, `image_token_index`, …), also in parts of the config, as the output numbers them. */
export function withTokenIds(text: string, ids: TokenIds | undefined): string {
  const config = maybeObject(text);
  if (ids === undefined || config === undefined) return text;
  return withValues(text, tokenIdChanges(config, ids));
}

/** Undefined for what is no JSON object: it is copied as it stands. */
function maybeObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = parsePythonJson(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}
