import { parsePythonJson, pythonJsonText } from "../../checkpoint/index.ts";
import type { Json } from "../../merge/work/index.ts";

/** White space at the start of a line, and how many characters deeper each level stands. */
interface Indent {
  readonly text: string;
  readonly width: number;
}

interface Member {
  readonly key: string;
  readonly keyAt: number;
  /** The value's text: first character, and the one after its last. */
  readonly start: number;
  readonly end: number;
}

/**
 * Sets one value in JSON text and leaves all else as it stands: order, spaces, the way numbers are written (1e-05 and
 * 10000.0 would not survive JSON.parse). A key that is missing is added at the end of its object.
 * `text` must be valid JSON, and the objects on the way to the key must be there.
 */
export function withJsonValue(text: string, path: readonly string[], value: Json): string {
  let objectAt = skipSpace(text, 0);
  for (const key of path.slice(0, -1)) objectAt = memberOf(text, objectAt, key)?.start ?? -1;
  const key = path.at(-1);
  if (key === undefined || text[objectAt] !== "{") throw new Error(`no object holds ${path.join(".")}`);
  const members = membersOf(text, objectAt);
  const member = members.findLast((candidate) => candidate.key === key);
  const indent = indentBefore(text, (member ?? members[0])?.keyAt);
  const valueText = textOf(value, member && text.slice(member.start, member.end), indent);
  if (member !== undefined) return text.slice(0, member.start) + valueText + text.slice(member.end);
  const last = members.at(-1);
  if (last === undefined)
    return `${text.slice(0, objectAt + 1)}${JSON.stringify(key)}: ${valueText}${text.slice(objectAt + 1)}`;
  const separator = text.slice((members.at(-2)?.end ?? objectAt) + 1, last.keyAt);
  const space = /^\s*$/.test(separator) ? separator : "";
  return `${text.slice(0, last.end)},${space}${JSON.stringify(key)}: ${valueText}${text.slice(last.end)}`;
}

/** The items of a list keep the text that equal ones had before: 0.0 stays 0.0, whose type JavaScript does not know. */
function textOf(value: Json, before: string | undefined, indent: Indent): string {
  if (!Array.isArray(value) || value.length === 0 || before?.[0] !== "[")
    return pythonJsonText(value, indent.width).replaceAll("\n", `\n${indent.text}`);
  const texts = itemsOf(before);
  const known = new Map(texts.map((text) => [canonical(text), text]));
  const areFloats = texts.length > 0 && texts.every((text) => /^-?\d+[.eE]/.test(text));
  const items = (value as readonly Json[]).map((item) => {
    const text = pythonJsonText(item, indent.width).replaceAll("\n", `\n${indent.text}${" ".repeat(indent.width)}`);
    return known.get(pythonJsonText(item)) ?? (areFloats && /^-?\d+$/.test(text) ? `${text}.0` : text);
  });
  const space = indent.width === 0 ? "" : `\n${indent.text}${" ".repeat(indent.width)}`;
  return `[${space}${items.join(`,${space}`)}${indent.width === 0 ? "" : `\n${indent.text}`}]`;
}

/** The text of each item of a list. */
function itemsOf(list: string): readonly string[] {
  const items: string[] = [];
  let at = skipSpace(list, 1);
  while (list[at] !== "]") {
    const end = endOfValue(list, at);
    items.push(list.slice(at, end));
    at = skipSpace(list, end);
    if (list[at] === ",") at = skipSpace(list, at + 1);
  }
  return items;
}

/** As JavaScript would write it. */
function canonical(text: string): string {
  return pythonJsonText(parsePythonJson(text));
}

/** Takes a key out, and leaves all else as it stands. A key that is not there is no error. */
export function withoutJsonKey(text: string, path: readonly string[]): string {
  let objectAt = skipSpace(text, 0);
  for (const key of path.slice(0, -1)) objectAt = memberOf(text, objectAt, key)?.start ?? -1;
  if (text[objectAt] !== "{") return text;
  const members = membersOf(text, objectAt);
  const at = members.findLastIndex((member) => member.key === path.at(-1));
  const [member, before, after] = [members[at], members[at - 1], members[at + 1]];
  if (member === undefined) return text;
  // With the comma before it, or of a first member the one after it.
  const rest =
    before === undefined
      ? text.slice(0, member.keyAt) + text.slice(after?.keyAt ?? member.end)
      : text.slice(0, before.end) + text.slice(member.end);
  return withoutJsonKey(rest, path);
}

function memberOf(text: string, objectAt: number, key: string): Member | undefined {
  // JSON.parse takes the last of equal keys.
  return text[objectAt] === "{" ? membersOf(text, objectAt).findLast((member) => member.key === key) : undefined;
}

function membersOf(text: string, objectAt: number): readonly Member[] {
  const members: Member[] = [];
  let at = skipSpace(text, objectAt + 1);
  while (text[at] === '"') {
    const keyAt = at;
    const keyEnd = endOfValue(text, keyAt);
    const start = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = endOfValue(text, start);
    members.push({ key: JSON.parse(text.slice(keyAt, keyEnd)) as string, keyAt, start, end });
    at = skipSpace(text, end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
  return members;
}

function endOfValue(text: string, start: number): number {
  let depth = 0;
  let at = start;
  do {
    const token = tokenAt(text, at);
    if (token === "{" || token === "[") depth++;
    if (token === "}" || token === "]") depth--;
    at += token.length;
    if (depth > 0) at = skipSpace(text, at);
  } while (depth > 0);
  return at;
}

function tokenAt(text: string, at: number): string {
  const pattern = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s"{}[\],:]+/y;
  pattern.lastIndex = at;
  const token = pattern.exec(text)?.[0];
  if (token === undefined) throw new Error(`no JSON at character ${at}`);
  return token;
}

function skipSpace(text: string, at: number): number {
  const pattern = /\s*/y;
  pattern.lastIndex = at;
  return at + (pattern.exec(text)?.[0].length ?? 0);
}

/** The white space at the start of the line on which a key stands, if nothing else is before it. */
function indentBefore(text: string, keyAt: number | undefined): Indent {
  const space = keyAt === undefined ? undefined : /\n([ \t]*)$/.exec(text.slice(0, keyAt))?.[1];
  return space === undefined ? { text: "", width: 0 } : { text: space, width: 2 };
}
