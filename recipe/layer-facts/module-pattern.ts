/** Whether a module is meant, by its name. */
export interface ModulePattern {
  matches(name: string): boolean;
}

/** One character of a name, or several: as many as may be, or none. */
interface Atom {
  readonly kind: "one";
  readonly fits: (character: string) => boolean;
  /** Where it fits one character only. */
  readonly literal?: string;
  readonly isOptional: boolean;
  readonly isMany: boolean;
}

type Item = Atom | { readonly kind: "end" } | { readonly kind: "no digit" };
type Sequence = readonly Item[];

/** Beyond it a pattern is no pattern that people write. */
const SEQUENCES_MAX = 256;

/** How a quantiser's list means a name: to the letter, or as a pattern, of which the beginning says what follows. */
export interface WrittenName {
  readonly kind: "literal" | "glob" | "regex";
  /** "re:" of compressed-tensors, "+:" and "-:" of GPTQModel. */
  readonly tag: string;
  readonly body: string;
}

export function writtenName(name: string): WrittenName {
  const tag = /^(?:re|[+-]):/.exec(name)?.[0] ?? "";
  const body = name.slice(tag.length);
  if (tag !== "" || /^\.\*|[\\^$(|+]/.test(body)) return { kind: "regex", tag, body };
  return { kind: /[*?[]/.test(body) ? "glob" : "literal", tag, body };
}

/** Undefined where the pattern is not understood. A regular expression is one from the beginning of the name, as Python's `re.match`. */
export function maybePattern({ kind, body }: WrittenName): ModulePattern | undefined {
  const sequences = kind === "regex" ? new Parser(body).maybeSequences() : maybeGlob(body);
  if (sequences === undefined) return undefined;
  const machines = sequences.map((items) => ({ items, run: longestRun(items) }));
  return { matches: (name) => machines.some(({ items, run }) => name.includes(run) && matchesFrom(items, name)) };
}

/** Groups become one sequence for each way through them, so that no pattern takes longer than its length times that of a name. */
class Parser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  maybeSequences(): readonly Sequence[] | undefined {
    const found = this.#alternatives();
    return found !== undefined && this.#at === this.#text.length ? found : undefined;
  }

  #alternatives(): readonly Sequence[] | undefined {
    const all: Sequence[] = [];
    do {
      const one = this.#sequence();
      if (one === undefined || all.length + one.length > SEQUENCES_MAX) return undefined;
      all.push(...one);
    } while (this.#accept("|"));
    return all;
  }

  #sequence(): readonly Sequence[] | undefined {
    let all: readonly Sequence[] = [[]];
    while (this.#at < this.#text.length && !this.#sees("|") && !this.#sees(")")) {
      const next = this.#item();
      if (next === undefined || all.length * next.length > SEQUENCES_MAX) return undefined;
      all = all.flatMap((before) => next.map((after) => [...before, ...after]));
    }
    return all;
  }

  #item(): readonly Sequence[] | undefined {
    if (this.#accept("^")) return this.#at === 1 ? [[]] : undefined;
    if (this.#accept("$")) return [[{ kind: "end" }]];
    if (this.#accept("(?!\\d)")) return [[{ kind: "no digit" }]];
    if (this.#accept("(?:") || this.#accept("(")) {
      const inner = this.#sees("?") ? undefined : this.#alternatives();
      if (inner === undefined || !this.#accept(")")) return undefined;
      if (this.#accept("?")) return [...inner, []];
      return /^[*+{]/.test(this.#rest()) ? undefined : inner;
    }
    const [text = "", escaped, set] = /^(?:\\(.)|\[(\^?[^\]\\[]+)\]|[^\\[\]{}*+?()|^$])/s.exec(this.#rest()) ?? [];
    const fits = set !== undefined ? fitsSet(set, "^") : escaped !== undefined ? fitsEscaped(escaped) : fitsPlain(text);
    if (text === "" || fits === undefined) return undefined;
    this.#at += text.length;
    const times = /^[*+?]\??/.exec(this.#rest())?.[0] ?? "";
    this.#at += times.length;
    if (/^[*+?{]/.test(this.#rest())) return undefined;
    const plain = text === "." ? undefined : escaped !== undefined && !/\w/.test(escaped) ? escaped : text;
    const literal = set === undefined && plain?.length === 1 && times === "" ? { literal: plain } : {};
    return [[{ kind: "one", fits, ...literal, isOptional: /^[*?]/.test(times), isMany: /^[*+]/.test(times) }]];
  }

  #rest(): string {
    return this.#text.slice(this.#at);
  }

  #sees(text: string): boolean {
    return this.#text.startsWith(text, this.#at);
  }

  #accept(text: string): boolean {
    if (!this.#sees(text)) return false;
    this.#at += text.length;
    return true;
  }
}

/** As Python's `fnmatch`, of the whole name. */
function maybeGlob(text: string): readonly Sequence[] | undefined {
  const items: Item[] = [];
  for (const [part, set] of text.matchAll(/\[([^\]]+)\]|./gs)) {
    const fits = set !== undefined ? fitsSet(set, "!") : part === "*" || part === "?" ? () => true : fitsOnly(part);
    if (fits === undefined || part === "[") return undefined;
    const isMany = part === "*";
    const literal = set === undefined && !/[*?]/.test(part) ? { literal: part } : {};
    items.push({ kind: "one", fits, ...literal, isOptional: isMany, isMany });
  }
  return [[...items, { kind: "end" }]];
}

function fitsOnly(character: string): Atom["fits"] {
  return (other) => other === character;
}

function fitsPlain(character: string): Atom["fits"] {
  return character === "." ? () => true : fitsOnly(character);
}

function fitsEscaped(character: string): Atom["fits"] | undefined {
  if (character === "d") return (other) => /^\d$/.test(other);
  if (character === "w") return (other) => /^\w$/.test(other);
  if (character === "D") return (other) => /^\D$/.test(other);
  return /\w/.test(character) ? undefined : fitsOnly(character);
}

function fitsSet(set: string, not: string): Atom["fits"] | undefined {
  const isNot = set.startsWith(not);
  const ranges = [...set.slice(isNot ? 1 : 0).matchAll(/(.)-(.)|(.)/gs)].map(([, first, last, one = ""]) => [
    first ?? one,
    last ?? one,
  ]);
  if (ranges.length === 0) return undefined;
  return (other) => ranges.some(([first = "", last = ""]) => first <= other && other <= last) !== isNot;
}

function longestRun(items: Sequence): string {
  const runs = items.map((item) => (item.kind === "one" ? (item.literal ?? "\n") : "")).join("");
  return runs.split("\n").reduce((longest, run) => (run.length > longest.length ? run : longest), "");
}

/** All places of the sequence that the name so far may have led to, one character after another. */
function matchesFrom(items: Sequence, name: string): boolean {
  let places = new Set<number>();
  const enter = (into: Set<number>, place: number, at: number): void => {
    if (into.has(place)) return;
    const item = items[place];
    if (item?.kind === "end") {
      if (at === name.length) enter(into, place + 1, at);
    } else if (item?.kind === "no digit") {
      if (!/^\d$/.test(name[at] ?? "")) enter(into, place + 1, at);
    } else {
      into.add(place);
      if (item?.isOptional === true) enter(into, place + 1, at);
    }
  };
  enter(places, 0, 0);
  for (let at = 0; at <= name.length; at++) {
    if (places.has(items.length)) return true;
    const character = name[at];
    if (character === undefined || places.size === 0) return false;
    const next = new Set<number>();
    for (const place of places) {
      const item = items[place];
      if (item?.kind !== "one" || !item.fits(character)) continue;
      enter(next, place + 1, at + 1);
      if (item.isMany) enter(next, place, at + 1);
    }
    places = next;
  }
  return false;
}

/** The number of a layer as patterns have it: a number, some of them in a group, digits in brackets. */
const number = /(^|\.|\*)(\((?:\?:)?[\d|[\]-]+\)|(?:\d|\[[\d-]+\])+)(\(\?!\\d\))?(?=$|[.*$([|\\\0])/;

/** Where the first number of a pattern stands; before it the module that it counts, if the pattern says which. */
export interface PatternNumber {
  readonly module: string | undefined;
  /** The pattern with another number in its place, or several that together mean the same; `count`: one more than the highest there is. */
  readonly renumbered: (layer: number, count: number) => readonly string[];
}

export function maybeNumber({ kind, tag, body }: WrittenName): PatternNumber | undefined {
  // Dots that are escaped are dots, for looking.
  const found = number.exec(body.replaceAll(/\\\.|\[\.\]/g, (dot) => ".".padStart(dot.length, "\0")));
  if (found === null) return undefined;
  const [, before = "", digits = "", guard = ""] = found;
  const at = found.index + before.length;
  const [head, tail] = [body.slice(0, at), body.slice(at + digits.length + guard.length)];
  const isOpen =
    tail.startsWith("*") || (kind === "regex" && (tail === "" || /^(?:\.[*+]|[([\\](?![.]|\.\]))/.test(tail)));
  return {
    module: before === "." ? /([A-Za-z_]\w*)(?:\\|\[)?\.\]?$/.exec(head)?.[1] : undefined,
    renumbered: (layer, count) => {
      const isBeginning = isOpen && layer > 0 && layer * 10 < count;
      const numbered = (text: string) => `${tag}${head}${layer}${text}`;
      if (!isBeginning) return [numbered(tail)];
      if (kind === "regex") return [numbered(`(?!\\d)${tail}`)];
      return tail === "*" ? [numbered(""), numbered(".*")] : [numbered(`.${tail}`)];
    },
  };
}
