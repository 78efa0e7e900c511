import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseAllDocuments,
  type Node as SourceNode,
  type YAMLParseError,
} from "yaml";
import type { TextPlace } from "./errors.ts";
import type { Findings } from "./findings.ts";
import { type IndentedText, withIndentedFlow } from "./flow-indent.ts";
import { type ScalarValue, scalarFromPlain } from "./scalars.ts";

/** What a recipe's text says, every part with its place. Aliases and merge keys are resolved. */
export type YamlNode = YamlScalar | YamlList | YamlMap;

export interface YamlScalar {
  readonly kind: "scalar";
  readonly value: ScalarValue;
  /** As written, without quotes. */
  readonly text: string;
  readonly place: TextPlace;
}

export interface YamlList {
  readonly kind: "list";
  readonly items: readonly YamlNode[];
  readonly place: TextPlace;
}

export interface YamlMap {
  readonly kind: "map";
  readonly entries: ReadonlyMap<string, YamlEntry>;
  readonly place: TextPlace;
}

export interface YamlEntry {
  readonly key: string;
  readonly place: TextPlace;
  readonly value: YamlNode;
}

/** Recipes of hundreds of models are some 100 kB. The worst of texts takes the yaml package some 6 s for each MiB. */
const MAX_TEXT_BYTES = 1 << 20;
/** Faults of form after the first few are mostly consequences of those. */
const MAX_FORM_FAULTS = 10;
/** After aliases are expanded: a few lines of aliases to aliases could stand for billions. */
const MAX_NODES = 500_000;
/** Recipes nest six deep. */
const MAX_DEPTH = 100;

const tagPrefix = "tag:yaml.org,2002:";

/**
 * The one document of a recipe, read as PyYAML reads it. Undefined where it could not be read; then there is a fault.
 * The yaml package splits the text into nodes (schema "failsafe": every scalar is text); what a plain scalar means,
 * merge keys and aliases are done here, because its 1.1 schema and PyYAML differ in each of the three.
 */
export function parseYaml(text: string, findings: Findings): YamlNode | undefined {
  const start = { line: 1, column: 1 };
  if (Buffer.byteLength(text) > MAX_TEXT_BYTES) {
    const hint = "Check that this file is a recipe.";
    findings.fault("recipe/too-large", start, `the text is longer than the ${MAX_TEXT_BYTES} bytes allowed`, hint);
    return undefined;
  }
  const parsed = parseText(text);
  const { documents, placeAt } = parsed;
  const errors = errorsOf(parsed);
  for (const error of errors.slice(0, MAX_FORM_FAULTS)) {
    const sentence = error.message.replace(/\.$/, "");
    findings.fault(
      "recipe/yaml",
      placeAt(error.pos[0]),
      `this is no YAML: ${sentence}`,
      "Correct the text here or just before.",
    );
  }
  if (errors.length > 0) return undefined;
  const filled = documents.filter((document) => document.contents !== null && !isEmptyScalar(document.contents));
  const [first, second] = filled;
  if (second !== undefined) {
    const place = placeAt((second.contents?.range ?? second.range)[0]);
    const hint = "Write each to a file of its own.";
    findings.fault("recipe/wrong-value", place, "one document is expected here, and there are several", hint);
    return undefined;
  }
  if (first === undefined) {
    findings.fault("recipe/missing-key", start, "the recipe is empty", 'Write at least "merge_method" and "models".');
    return undefined;
  }
  try {
    return new Reader(first, placeAt, findings).read();
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    findings.fault(error.code, error.place, error.message, error.hint);
    return undefined;
  }
}

interface ParsedText {
  readonly documents: readonly Document.Parsed[];
  /** The place in the text as the user wrote it. */
  readonly placeAt: (offset: number) => TextPlace;
}

function parseText(text: string): ParsedText {
  const asWritten = parseIndented({ text, addedOnLine: new Map() });
  if (!errorsOf(asWritten).some((error) => error.code === "BAD_INDENT")) return asWritten;
  const indented = parseIndented(withIndentedFlow(text));
  return errorsOf(indented).length === 0 ? indented : asWritten;
}

function parseIndented({ text, addedOnLine }: IndentedText): ParsedText {
  const lines = new LineCounter();
  const options = { version: "1.1", schema: "failsafe", uniqueKeys: false, merge: false, prettyErrors: false } as const;
  const documents = [...parseAllDocuments(text, { ...options, lineCounter: lines })];
  const placeAt = (offset: number): TextPlace => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col - (addedOnLine.get(line) ?? 0)) };
  };
  return { documents, placeAt };
}

function errorsOf({ documents }: ParsedText): readonly YAMLParseError[] {
  return documents.flatMap((document) => document.errors);
}

function isEmptyScalar(node: unknown): boolean {
  return isScalar(node) && node.type === "PLAIN" && node.value === "";
}

/** Stops the reading of a document; does not leave this file. */
class Unreadable extends Error {
  readonly code: "recipe/yaml" | "recipe/too-large";
  readonly place: TextPlace;
  readonly hint: string;

  constructor(code: "recipe/yaml" | "recipe/too-large", place: TextPlace, message: string, hint: string) {
    super(message);
    this.code = code;
    this.place = place;
    this.hint = hint;
  }
}

class Reader {
  readonly #document: Document.Parsed;
  readonly #placeAt: (offset: number) => TextPlace;
  readonly #findings: Findings;
  /** Anchors met so far, in the order of the text: an anchor may be given anew, and an alias means the last before it. */
  readonly #anchors = new Map<string, SourceNode>();
  /** Nodes being read: an alias to one of them would never end. */
  readonly #open = new Set<SourceNode>();
  #nodeCount = 0;

  constructor(document: Document.Parsed, placeAt: (offset: number) => TextPlace, findings: Findings) {
    this.#document = document;
    this.#placeAt = placeAt;
    this.#findings = findings;
  }

  read(): YamlNode {
    return this.#node(this.#document.contents, { line: 1, column: 1 });
  }

  #node(source: unknown, fallback: TextPlace): YamlNode {
    const place = this.#placeOf(source, fallback);
    if (++this.#nodeCount > MAX_NODES) {
      const message = `more than ${MAX_NODES} values once aliases are expanded`;
      throw new Unreadable("recipe/too-large", place, message, "Use fewer aliases to parts that hold aliases.");
    }
    if (this.#open.size > MAX_DEPTH) {
      throw new Unreadable("recipe/too-large", place, `nested more than ${MAX_DEPTH} deep`, "A recipe nests six deep.");
    }
    if (source === null || source === undefined) return { kind: "scalar", value: null, text: "", place };
    if (isAlias(source)) return this.#aliased(source.source, place);
    if (isScalar(source)) {
      if (source.anchor !== undefined) this.#anchors.set(source.anchor, source);
      return this.#scalar(String(source.value ?? ""), source.type === "PLAIN", source.tag, place);
    }
    if (!isMap(source) && !isSeq(source)) throw new Error("the yaml package gave a node of no known kind");
    if (source.anchor !== undefined) this.#anchors.set(source.anchor, source);
    const kind = isMap(source) ? "map" : "seq";
    if (source.tag !== undefined && source.tag !== tagPrefix + kind) throw badTag(source.tag, place);
    this.#open.add(source);
    const node: YamlNode = isMap(source)
      ? { kind: "map", entries: this.#entries(source.items, place), place }
      : { kind: "list", items: source.items.map((item) => this.#node(item, place)), place };
    this.#open.delete(source);
    return node;
  }

  #placeOf(source: unknown, fallback: TextPlace): TextPlace {
    const range = (source as SourceNode | null)?.range;
    return range === undefined || range === null ? fallback : this.#placeAt(range[0]);
  }

  #aliased(name: string, place: TextPlace): YamlNode {
    const target = this.#anchors.get(name);
    if (target === undefined) {
      throw new Unreadable(
        "recipe/yaml",
        place,
        `alias "*${name}" has no anchor "&${name}" before it`,
        "Define it first.",
      );
    }
    if (this.#open.has(target)) {
      throw new Unreadable(
        "recipe/yaml",
        place,
        `alias "*${name}" stands inside of what it names`,
        "Write the part out.",
      );
    }
    return this.#node(target, place);
  }

  #scalar(text: string, plain: boolean, tag: string | undefined, place: TextPlace): YamlScalar {
    const untagged = tag === undefined || tag === "!" || tag === `${tagPrefix}str`;
    if (untagged) {
      const value = plain && tag === undefined ? scalarFromPlain(text) : text;
      return { kind: "scalar", value, text, place };
    }
    const value = scalarFromPlain(text);
    const type = tag.startsWith(tagPrefix) ? tag.slice(tagPrefix.length) : "";
    if (type === "null" && value === null) return { kind: "scalar", value, text, place };
    if (type === "bool" && typeof value === "boolean") return { kind: "scalar", value, text, place };
    // "!!float 1e-5" is a number to PyYAML although plain "1e-5" is text: the place where it stands makes it one.
    if ((type === "int" || type === "float") && value !== null) return { kind: "scalar", value, text, place };
    throw badTag(tag, place);
  }

  #entries(pairs: readonly unknown[], place: TextPlace): Map<string, YamlEntry> {
    const merged = new Map<string, YamlEntry>();
    const own = new Map<string, YamlEntry>();
    for (const pair of pairs) {
      if (!isPair(pair)) throw new Error("the yaml package gave a map that holds more than pairs");
      const { keyPlace, key, value } = this.#pair(pair, place);
      if (key === "<<" && isScalar(pair.key) && pair.key.type === "PLAIN") {
        for (const entry of this.#mergedEntries(value)) merged.set(entry.key, entry);
        continue;
      }
      if (own.has(key)) {
        const message = `"${key}" stands twice in one map; the last counts, as in mergekit`;
        this.#findings.warning("recipe/duplicate-key", keyPlace, message, "Remove one of the two.");
      }
      own.set(key, { key, place: keyPlace, value });
    }
    return new Map([...merged, ...own]);
  }

  #pair(pair: Pair, place: TextPlace): { key: string; keyPlace: TextPlace; value: YamlNode } {
    const key = this.#node(pair.key, place);
    if (key.kind !== "scalar") {
      throw new Unreadable("recipe/yaml", key.place, `a ${key.kind} stands where a key is expected`, "Keys are words.");
    }
    return { key: key.text, keyPlace: key.place, value: this.#node(pair.value, key.place) };
  }

  /** What `<<` brings in. Of several maps the first to have a key wins, so the last is laid down first. */
  #mergedEntries(value: YamlNode): YamlEntry[] {
    const maps = value.kind === "list" ? value.items.toReversed() : [value];
    return maps.flatMap((map) => {
      if (map.kind === "map") return [...map.entries.values()];
      throw new Unreadable("recipe/yaml", map.place, '"<<" takes a map or a list of maps', "Refer to a map: <<: *name");
    });
  }
}

function badTag(tag: string, place: TextPlace): Unreadable {
  const shown = tag.startsWith(tagPrefix) ? `!!${tag.slice(tagPrefix.length)}` : tag;
  return new Unreadable("recipe/yaml", place, `tag "${shown}" does not fit here`, "Remove the tag: recipes need none.");
}
