import { maybePinnedHubPlace, nameOf, parentOf } from "../storage/index.ts";
import { CheckpointError } from "./errors.ts";
import type { Folder } from "./folder.ts";
import type { ModelLocation } from "./model-location.ts";

/** What a model's own card (the head of its README.md, as the Hub reads it) says of where it comes from. Claims, not facts. */
export interface ModelOrigin {
  /** `owner/name`, where the model lies on the Hub or in its cache. */
  readonly hubId?: string;
  /** The Hub's short name of a licence: "apache-2.0", "llama3", "other". */
  readonly license?: string;
  /** Where the licence is "other". */
  readonly licenseName?: string;
  readonly licenseLink?: string;
  /** What the model was itself made from. */
  readonly baseModels?: readonly string[];
}

export const CARD_NAME = "README.md";
/** Cards have tens of kilobytes; what matters stands in the first lines. */
const MAX_CARD_BYTES = 4_000_000;
const MAX_HEAD_LINES = 500;
const MAX_VALUE_LENGTH = 300;

/** A card that is damaged or too long says nothing; it never keeps a model from being merged. */
export async function readOrigin(folder: Folder, location: ModelLocation): Promise<ModelOrigin | undefined> {
  const hubId = hubIdOf(location);
  const head = await maybeHead(folder);
  const origin = { ...(hubId !== undefined && { hubId }), ...(head !== undefined && originIn(head)) };
  return Object.keys(origin).length === 0 ? undefined : origin;
}

async function maybeHead(folder: Folder): Promise<string | undefined> {
  if (!(await folder.exists(CARD_NAME))) return undefined;
  try {
    return new TextDecoder().decode(await folder.readWhole(CARD_NAME, MAX_CARD_BYTES));
  } catch (error) {
    if (error instanceof CheckpointError && error.code === "checkpoint/link-out") throw error;
    return undefined;
  }
}

/** In the cache the folder above the blobs is called models--owner--name. */
function hubIdOf({ root, allowLinksInto }: ModelLocation): string | undefined {
  if (allowLinksInto === undefined) return maybePinnedHubPlace(root)?.id;
  const name = nameOf(parentOf(allowLinksInto));
  return name.startsWith("models--") ? name.slice("models--".length).replace("--", "/") : undefined;
}

/** Four keys of the YAML between two lines of dashes; scalars and lists of scalars, which is how cards have them. */
export function originIn(card: string): Omit<ModelOrigin, "hubId"> {
  const lines = card.split(/\r?\n/, MAX_HEAD_LINES);
  if (lines[0]?.trim() !== "---") return {};
  const end = lines.indexOf("---", 1);
  const head = end < 0 ? [] : lines.slice(1, end);
  const [license, licenseName, licenseLink] = ["license", "license_name", "license_link"].map((key) =>
    valuesOf(head, key),
  );
  const baseModels = valuesOf(head, "base_model");
  return {
    ...(license?.length === 1 && { license: license[0] ?? "" }),
    ...(licenseName?.length === 1 && { licenseName: licenseName[0] ?? "" }),
    ...(licenseLink?.length === 1 && { licenseLink: licenseLink[0] ?? "" }),
    ...(baseModels.length > 0 && { baseModels }),
  };
}

/** Of a key at the top: its value, those of a list in brackets, or those of the lines with a dash that follow it. */
function valuesOf(head: readonly string[], key: string): string[] {
  const at = head.findIndex((line) => line.startsWith(`${key}:`));
  if (at < 0) return [];
  const inline = (head[at] ?? "").slice(key.length + 1).trim();
  if (inline.startsWith("[")) return plainValues(inline.replace(/^\[|\].*$/g, "").split(","));
  if (inline !== "" && !inline.startsWith("#")) return plainValues([inline]);
  const items: string[] = [];
  for (const line of head.slice(at + 1)) {
    const item = /^\s*-\s+(.*)$/.exec(line)?.[1];
    if (item === undefined) break;
    items.push(item);
  }
  return plainValues(items);
}

function plainValues(texts: readonly string[]): string[] {
  return texts
    .map((text) => {
      const trimmed = text.trim();
      const quoted = /^(["'])(.*)\1/.exec(trimmed)?.[2];
      return quoted ?? trimmed.replace(/\s+#.*$/, "");
    })
    .filter((text) => text !== "" && text.length <= MAX_VALUE_LENGTH && !hasControls(text));
}

function hasControls(text: string): boolean {
  return [...text].some((character) => character < " " || character === "\u007f");
}
