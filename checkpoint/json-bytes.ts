import type { CheckpointCode } from "./errors.ts";

/** Ends the scan: throws. `position` is the byte in the text. */
export type Fail = (code: CheckpointCode, message: string, position: number) => never;

/** Decoded bytes of a string that are kept for whoever looks at them; the longest name allowed, and one more. */
const KEPT_BYTES = 1025;
/** Python itself reads no whole number of more than 4300 digits. */
const SCALAR_BYTES_MAX = 4400;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Walks over JSON as UTF-8 bytes, one token at a time, and stops at the first fault. It allocates nothing unless a value
 * is asked for, so that refusing a hostile text costs no more memory than the text. Numbers are non-negative safe
 * integers, written with digits only: nothing else has a place in a header. `skipValue` takes any JSON.
 */
export class JsonBytes {
  position = 0;
  /** Of the string scanned last: its decoded bytes, at most KEPT_BYTES of them. */
  readonly kept = new Uint8Array(KEPT_BYTES);
  /** Of the string scanned last: how many bytes it has, decoded to UTF-8. */
  decodedBytes = 0;
  /** Of the string scanned last: whether any character was written as an escape. */
  escaped = false;
  /** Of the string scanned last: whether a control character (C0, DEL, C1) was among the decoded ones. */
  hasControl = false;

  readonly #bytes: Uint8Array;
  readonly #text: Buffer;
  readonly #fail: Fail;
  #isPython = false;
  #takesAnyKey = false;

  constructor(bytes: Uint8Array, fail: Fail) {
    this.#bytes = bytes;
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#fail = fail;
  }

  /** The next byte that is no white space, not consumed; -1 at the end. */
  peek(): number {
    const bytes = this.#bytes;
    for (; this.position < bytes.length; this.position++) {
      const byte = bytes[this.position] ?? -1;
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
    }
    return -1;
  }

  /** At the beginning of a file: editors put marks there that JSON has no place for, and that loaders refuse. */
  refuseMark(): void {
    const fault = markFault(this.#bytes);
    if (fault !== undefined) this.#fail("checkpoint/json", fault, 0);
  }

  /** Consumes the character if it comes next. */
  accept(character: string): boolean {
    if (this.peek() !== character.charCodeAt(0)) return false;
    this.position++;
    return true;
  }

  /** Consumes the character, which must come next; `where` completes "… expected". */
  expect(character: string, where: string): void {
    if (!this.accept(character)) this.unexpected(`"${character}" ${where}`);
  }

  /** After a member or an element: whether another one follows. Consumes the comma or the closing character. */
  another(close: string, where: string): boolean {
    if (this.accept(",")) return true;
    if (this.accept(close)) return false;
    return this.unexpected(`"," or "${close}" ${where}`);
  }

  /** `plain`: the value wanted is no object and no list; one of these then is nesting where none may be. */
  unexpected(wanted: string, plain = false): never {
    const byte = this.peek();
    const deeper = plain && (byte === 0x7b || byte === 0x5b);
    const found =
      byte === -1 ? "the end" : byte > 0x20 && byte < 0x7f ? `"${String.fromCharCode(byte)}"` : `byte ${byte}`;
    return this.#fail(
      deeper ? "checkpoint/json-depth" : "checkpoint/json",
      `${wanted} expected, ${found} found`,
      this.position,
    );
  }

  /** Scans a string and checks it: escapes, UTF-8, no raw control characters. Leaves what it found in the fields above. */
  scanString(where: string): void {
    if (this.peek() !== QUOTE) this.unexpected(`a string ${where}`, true);
    const bytes = this.#bytes;
    let at = this.position + 1;
    this.decodedBytes = 0;
    this.escaped = false;
    this.hasControl = false;
    for (;;) {
      const byte = bytes[at] ?? -1;
      if (byte === QUOTE) break;
      if (byte === BACKSLASH) {
        at = this.#scanEscape(at);
      } else if (byte >= 0x20 && byte < 0x80) {
        if (byte === 0x7f) this.hasControl = true;
        this.#keep(byte);
        at++;
      } else if (byte >= 0x80) {
        at = this.#scanMultibyte(at);
      } else {
        const found = byte === -1 ? "the text ends" : `a raw control character (byte ${byte}) stands`;
        this.#fail("checkpoint/json", `${found} inside a string`, at);
      }
    }
    this.position = at + 1;
  }

  /** A string's value. */
  string(where: string): string {
    this.peek();
    const start = this.position + 1;
    this.scanString(where);
    const end = this.position - 1;
    if (this.escaped) {
      if (this.decodedBytes > KEPT_BYTES) return JSON.parse(this.#text.toString("utf8", start - 1, end + 1)) as string;
      return Buffer.from(this.kept.buffer, 0, this.decodedBytes).toString("utf8");
    }
    return this.#text.toString("utf8", start, end);
  }

  /** A non-negative safe integer. */
  integer(where: string): number {
    const first = this.peek();
    const start = this.position;
    if (first === QUOTE || first === 0x7b || first === 0x5b || first === -1) this.unexpected(`a number ${where}`, true);
    let value = 0;
    let at = start;
    for (; isDigit(this.#bytes[at]); at++) {
      value = value * 10 + ((this.#bytes[at] ?? 0) - 0x30);
      // No digit after this can bring it back; a number of a million digits ends here, too.
      if (value > Number.MAX_SAFE_INTEGER) break;
    }
    const leadingZero = first === 0x30 && at > start + 1;
    if (at === start || leadingZero || value > Number.MAX_SAFE_INTEGER || !endsNumber(this.#bytes[at])) {
      let end = at;
      while (end < start + 40 && !endsNumber(this.#bytes[end])) end++;
      const found = this.#text.toString("latin1", start, end).replaceAll(/[^\x21-\x7e]/g, "?");
      const allowed = `a whole number from 0 to ${Number.MAX_SAFE_INTEGER}, in digits`;
      this.#fail("checkpoint/json-number", `${found} found ${where}, ${allowed} allowed`, start);
    }
    this.position = at;
    return value;
  }

  /**
   * Passes over any JSON value that nests no deeper than `depth`. Keys `__proto__` are refused. "python": what Python's json writes
   * is let through, Infinity, NaN and halves of surrogate pairs among it; "python with any key": for what is never made an object.
   */
  skipValue(depth: number, kind: "json" | "python" | "python with any key" = "json"): void {
    this.#isPython = kind !== "json";
    this.#takesAnyKey = kind === "python with any key";
    this.#skip(depth);
    this.#isPython = false;
    this.#takesAnyKey = false;
  }

  #skip(depth: number): void {
    const first = this.peek();
    if (first === QUOTE) {
      this.scanString("");
      return;
    }
    if (first !== 0x7b && first !== 0x5b) {
      this.#skipScalar();
      return;
    }
    if (depth === 0) this.#fail("checkpoint/json-depth", "values nest deeper than allowed", this.position);
    this.position++;
    const close = first === 0x7b ? "}" : "]";
    if (this.accept(close)) return;
    do {
      if (first === 0x7b) {
        this.scanString("as key");
        if (!this.#takesAnyKey) this.refuseProto();
        this.expect(":", "after a key");
      }
      this.#skip(depth - 1);
    } while (this.another(close, "after a value"));
  }

  /** If the string scanned last is `__proto__`: as a key it would change what objects are. */
  refuseProto(): void {
    if (this.isKept("__proto__")) this.#fail("checkpoint/proto-key", "the key __proto__ is not allowed", this.position);
  }

  /** Whether the string scanned last is this one. `text` is ASCII. */
  isKept(text: string): boolean {
    if (this.decodedBytes !== text.length) return false;
    for (let k = 0; k < text.length; k++) if (this.kept[k] !== text.charCodeAt(k)) return false;
    return true;
  }

  #skipScalar(): void {
    const start = this.position;
    let end = start;
    while (end < start + SCALAR_BYTES_MAX && !endsNumber(this.#bytes[end])) end++;
    const word = this.#text.toString("latin1", start, end);
    const isScalar =
      (this.#isPython && /^(?:-?Infinity|NaN)$/.test(word)) ||
      /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/.test(word);
    if (!isScalar) this.unexpected("a value");
    this.position = end;
  }

  #keep(byte: number): void {
    if (this.decodedBytes < KEPT_BYTES) this.kept[this.decodedBytes] = byte;
    this.decodedBytes++;
  }

  /** Checks one character of two to four bytes, keeps it, and returns where the next begins. */
  #scanMultibyte(at: number): number {
    const bytes = this.#bytes;
    const lead = bytes[at] ?? 0;
    const following = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    // The second byte's range keeps out overlong forms, surrogates, and what lies beyond U+10FFFF.
    const lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    const second = bytes[at + 1] ?? 0;
    let valid = lead >= 0xc2 && lead <= 0xf4 && second >= lowest && second <= highest;
    for (let k = 2; k <= following; k++) valid = valid && ((bytes[at + k] ?? 0) & 0xc0) === 0x80;
    if (!valid) this.#fail("checkpoint/json-utf8", `byte 0x${lead.toString(16)} begins no valid UTF-8 character`, at);
    if (lead === 0xc2 && second < 0xa0) this.hasControl = true;
    for (let k = 0; k <= following; k++) this.#keep(bytes[at + k] ?? 0);
    return at + following + 1;
  }

  /** Decodes one escape (a pair of surrogates is one), keeps the character, and returns where the next begins. */
  #scanEscape(at: number): number {
    this.escaped = true;
    const letter = this.#bytes[at + 1] ?? 0;
    if (letter !== 0x75) {
      const plain = plainEscapes.get(letter);
      if (plain === undefined) {
        return this.#fail("checkpoint/json", "a backslash begins no escape that JSON knows", at);
      }
      if (plain < 0x20) this.hasControl = true;
      this.#keep(plain);
      return at + 2;
    }
    const unit = this.#hex4(at + 2);
    if (unit < 0xd800 || unit > 0xdfff) {
      this.#keepCodePoint(unit);
      return at + 6;
    }
    const isPair = unit < 0xdc00 && this.#bytes[at + 6] === BACKSLASH && this.#bytes[at + 7] === 0x75;
    const low = isPair ? this.#hex4(at + 8) : 0;
    if (low < 0xdc00 || low > 0xdfff) {
      if (this.#isPython) {
        this.#keepCodePoint(unit);
        return at + 6;
      }
      this.#fail("checkpoint/json-utf8", `the escape \\u${unit.toString(16)} is half of a surrogate pair`, at);
    }
    this.#keepCodePoint(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
    return at + 12;
  }

  #hex4(at: number): number {
    let value = 0;
    for (let k = at; k < at + 4; k++) {
      const byte = this.#bytes[k] ?? 0;
      const letter = byte | 0x20;
      const digit = isDigit(byte) ? byte - 0x30 : letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
      if (digit < 0) this.#fail("checkpoint/json", "four hexadecimal digits expected after \\u", at);
      value = value * 16 + digit;
    }
    return value;
  }

  #keepCodePoint(point: number): void {
    if (point < 0x20 || (point >= 0x7f && point < 0xa0)) this.hasControl = true;
    const bytes = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    this.#keep(bytes === 1 ? point : (leadOf[bytes - 2] ?? 0) | (point >> (6 * (bytes - 1))));
    for (let left = bytes - 2; left >= 0; left--) this.#keep(0x80 | ((point >> (6 * left)) & 0x3f));
  }
}

/** What is said of a byte order mark before the JSON of a file; undefined where there is none. */
export function markFault([first = 0, second = 0, third = 0]: Uint8Array): string | undefined {
  const save = "which loaders refuse: save the file as UTF-8 without it (Python reads it with the encoding";
  if (first === 0xef && second === 0xbb && third === 0xbf)
    return `a byte order mark (ef bb bf) stands before the JSON, ${save} "utf-8-sig")`;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff))
    return `a byte order mark of UTF-16 (${first.toString(16)} ${second.toString(16)}) stands before the JSON, ${save} "utf-16")`;
  return undefined;
}

/** The bits that open a character of two, three and four bytes. */
const leadOf = [0xc0, 0xe0, 0xf0];

const plainEscapes: ReadonlyMap<number, number> = new Map([
  [0x22, 0x22],
  [0x5c, 0x5c],
  [0x2f, 0x2f],
  [0x62, 0x08],
  [0x66, 0x0c],
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
]);

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

/** What may follow a number or a word: white space, a comma, a closing bracket, the end. */
function endsNumber(byte: number | undefined): boolean {
  return byte === undefined || byte <= 0x20 || byte === 0x2c || byte === 0x5d || byte === 0x7d;
}
