/**
 * JSON as Python's json module writes and reads it, and so as it stands beside models on the Hub: RFC 8259 and, where a number may
 * stand, Infinity, -Infinity and NaN (`time_step_limit` of Mamba 2, for one).
 */

/** A number whose text JavaScript would not give back: whole numbers beyond 2^53 (`model_max_length`), 1.0, 1e-05. */
export class ExactNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  valueOf(): number {
    return Number(this.text);
  }
}

/** A string, or a word that Python knows; numbers where they are wanted. */
const constants = /"[^"\\]*(?:\\.[^"\\]*)*"|-?Infinity|NaN/g;
const constantsAndNumbers = /"[^"\\]*(?:\\.[^"\\]*)*"|-?Infinity|NaN|-?\d[\d.eE+-]*/g;
/** Begins what stands in place of a number while JSON.parse reads; no string of a file that people use begins so. */
const MARK = "\u0000number:";

/** The value; numbers are numbers. @throws SyntaxError */
export function parsePythonJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!/Infinity|NaN/.test(text)) throw error;
    return JSON.parse(
      text.replace(constants, (token) => (isQuoted(token) ? token : marked(token))),
      (_, value: unknown) => (isMarked(value) ? Number(value.slice(MARK.length)) : value),
    );
  }
}

/** As parsePythonJson, for what is written again by pythonJsonText: numbers that JavaScript would write otherwise are ExactNumbers. */
export function parseExactJson(text: string): unknown {
  const replaced = text.replace(constantsAndNumbers, (token) => {
    const isPlain = isQuoted(token) || String(Number(token)) === token;
    return isPlain && !/Infinity|NaN/.test(isQuoted(token) ? "" : token) ? token : marked(token);
  });
  return JSON.parse(replaced, (_, value: unknown) => {
    if (!isMarked(value)) return value;
    const number = value.slice(MARK.length);
    // What is no number at all must be found as JSON.parse would find it.
    if (!/Infinity|NaN/.test(number)) JSON.parse(number);
    return new ExactNumber(number);
  });
}

/** The text that Python's json reads as the value: JSON.stringify with Infinity, -Infinity, NaN and ExactNumbers as they were read. */
export function pythonJsonText(value: unknown, indentWidth = 0): string {
  return textOf(value, indentWidth, "\n");
}

function textOf(value: unknown, width: number, newLine: string): string {
  if (value instanceof ExactNumber) return value.text;
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const inner = width === 0 ? "" : `${newLine}${" ".repeat(width)}`;
  const parts = Array.isArray(value)
    ? value.map((item: unknown) => textOf(item, width, inner))
    : Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([key, item]) => `${JSON.stringify(key)}:${width === 0 ? "" : " "}${textOf(item, width, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  if (parts.length === 0) return `${open}${close}`;
  return `${open}${parts.map((part) => inner + part).join(",")}${width === 0 ? "" : newLine}${close}`;
}

function isQuoted(token: string): boolean {
  return token.startsWith('"');
}

function marked(token: string): string {
  return JSON.stringify(MARK + token);
}

function isMarked(value: unknown): value is string {
  return typeof value === "string" && value.startsWith(MARK);
}
