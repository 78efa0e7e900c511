/** The head of an answer: what stands before its body. Names are in small letters; of a name that comes twice the values are joined. */
export interface ResponseHead {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  /** Whether the connection may be used again once the body has been read. */
  readonly keepsOpen: boolean;
}

/** What is no answer of HTTP/1.1, or one whose end could be read in two ways. */
export class MalformedAnswer extends Error {
  override readonly name = "MalformedAnswer";
}

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: |$)/;
const HEADER_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/;

/** `text`: up to the empty line, without it. @throws MalformedAnswer */
export function parseResponseHead(text: string): ResponseHead {
  const [first = "", ...lines] = text.split("\r\n");
  const [, minor, status] = STATUS_LINE.exec(first) ?? [];
  if (minor === undefined) throw new MalformedAnswer("the answer does not begin with a status line of HTTP/1.1");
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name, value = ""] = HEADER_LINE.exec(line) ?? [];
    if (name === undefined) throw new MalformedAnswer("a line of the answer's head is no header");
    const key = name.toLowerCase();
    const before = headers.get(key);
    if (key === "content-length" && before !== undefined && before !== value)
      throw new MalformedAnswer("the answer has two lengths");
    headers.set(key, before === undefined || key === "content-length" ? value : `${before}, ${value}`);
  }
  const connection = headers.get("connection")?.toLowerCase();
  return {
    status: Number(status),
    headers,
    keepsOpen: minor === "1" ? connection !== "close" : connection === "keep-alive",
  };
}

/** The number of bytes that follow the head; undefined where it is not said, or a coding decides. */
export function maybeContentLength({ headers }: Pick<ResponseHead, "headers">): number | undefined {
  const text = headers.get("content-length");
  if (text === undefined || headers.has("transfer-encoding") || !/^\d{1,15}$/.test(text)) return undefined;
  return Number(text);
}

export interface ContentRange {
  readonly firstByte: number;
  /** The last one, and not the one behind it. */
  readonly lastByte: number;
  /** Of the whole; undefined where the server does not know it. */
  readonly totalBytes?: number;
}

/** "bytes 0-9/100"; undefined of anything else, `bytes *\/100` of a refusal included. */
export function maybeContentRange(text: string | undefined): ContentRange | undefined {
  const [, first, last, total] = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(text ?? "") ?? [];
  if (first === undefined) return undefined;
  const range = { firstByte: Number(first), lastByte: Number(last) };
  return total === "*" ? range : { ...range, totalBytes: Number(total) };
}

/** Whether the bytes are those of the file, and not packed by somebody on the way. */
export function isPlainCoding({ headers }: Pick<ResponseHead, "headers">): boolean {
  return (headers.get("content-encoding") ?? "identity").toLowerCase() === "identity";
}
