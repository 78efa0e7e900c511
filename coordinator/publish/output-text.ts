import { join } from "node:path";
import {
  CHAT_TEMPLATE_NAME,
  type Checkpoint,
  companionKind,
  parsePythonJson,
  TOKENIZER_CONFIG_NAME,
} from "../../checkpoint/index.ts";
import { readWhole, type Store } from "../../storage/index.ts";
import { withJsonValue } from "./json-text.ts";
import { MAX_COMPANION_BYTES, type OutputDocument, textDocument } from "./output-document.ts";

/** What the output has about text that is not simply the defining input's. */
export interface OutputText {
  readonly tokenizer?: OutputTokenizer | undefined;
  /** Jinja. */
  readonly chatTemplate?: string | undefined;
}

/** The tokenizer of an output that has a vocabulary of its own. */
export interface OutputTokenizer {
  /** Files that are written anew, by name. */
  readonly files: ReadonlyMap<string, string>;
  /** The input that was the pattern: its other tokenizer files are copied. */
  readonly pattern: Checkpoint;
  /** Whether its files for slow tokenizers are still right. */
  readonly slowFilesHold: boolean;
  /** New ids of the defining input's tokens, which its configs name. */
  readonly renumbered: ReadonlyMap<number, number>;
}

const ADDED_TOKENS_NAME = "added_tokens.json";

/** The tokenizer's files: written, or copied from the pattern as far as they are still right. */
export async function tokenizerDocuments(
  store: Store,
  { files, pattern, slowFilesHold }: OutputTokenizer,
): Promise<OutputDocument[]> {
  const documents: OutputDocument[] = [];
  const copied = pattern.companions.filter((name) => {
    const kind = companionKind(name);
    if (kind === "other" || files.has(name)) return false;
    return kind !== "slow-tokenizer" || slowFilesHold;
  });
  for (const name of copied) {
    documents.push({ name, bytes: await readWhole(store, join(pattern.root, name), MAX_COMPANION_BYTES) });
  }
  const isSlow = copied.some((name) => companionKind(name) === "slow-tokenizer");
  for (const [name, text] of files) {
    // Slow tokenizers read the added tokens there; a fast one has them in tokenizer.json.
    if (name === ADDED_TOKENS_NAME && !isSlow && !pattern.companions.includes(name)) continue;
    documents.push(textDocument(name, text));
  }
  return documents.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Puts the template where the tokenizer's config has one, and into its own file, which newer readers look at first. */
export function withChatTemplate(documents: readonly OutputDocument[], template: string): OutputDocument[] {
  const others = documents.filter(({ name }) => companionKind(name) !== "chat-template");
  const edited = others.map((document) => {
    if (document.name !== TOKENIZER_CONFIG_NAME) return document;
    const text = Buffer.from(document.bytes).toString("utf8");
    const config = parsePythonJson(text) as Record<string, unknown>;
    if (config.chat_template === undefined) return document;
    return textDocument(document.name, withJsonValue(text, ["chat_template"], template));
  });
  return [...edited, textDocument(CHAT_TEMPLATE_NAME, template)];
}

/** Ids of tokens (`eos_token_id`, `image_token_index`, …), also in parts of the config, as the output numbers them. */
export function withTokenIds(text: string, output: OutputText | undefined): string {
  const renumbered = output?.tokenizer?.renumbered;
  if (renumbered === undefined) return text;
  const isSame = (id: number) => (renumbered.get(id) ?? id) === id;
  let edited = text;
  const visit = (object: Readonly<Record<string, unknown>>, path: readonly string[]): void => {
    for (const [key, value] of Object.entries(object)) {
      if (typeof value === "object" && value !== null && !Array.isArray(value)) {
        visit(value as Record<string, unknown>, [...path, key]);
        continue;
      }
      if (!/_token_(?:id|index)$/.test(key)) continue;
      const ids = (Array.isArray(value) ? value : [value]).filter((id) => typeof id === "number");
      if (ids.every(isSame)) continue;
      const moved = ids.map((id) => renumbered.get(id) ?? id);
      edited = withJsonValue(edited, [...path, key], Array.isArray(value) ? moved : (moved[0] ?? null));
    }
  };
  const config: unknown = parsePythonJson(text);
  if (typeof config === "object" && config !== null) visit(config as Record<string, unknown>, []);
  return edited;
}
