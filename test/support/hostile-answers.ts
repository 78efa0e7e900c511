/**
 * Answers to the question for a range that no good server gives, and what becomes of each: the right bytes, or an error that says so. Bytes
 * that are wrong are taken in one case alone, which says why.
 */
import type { ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import type { StorageCode } from "../../storage/errors.ts";
import { type Asked, type Fault, giveFile, type Held, refuse, times } from "./range-server.ts";

export interface HostileAnswer {
  readonly title: string;
  readonly fault: Fault;
  /** "bytes": those that were asked for. "wrong bytes": of the right length, taken because nothing tells. */
  readonly becomes: "bytes" | "wrong bytes" | StorageCode;
}

/** Of the object that is asked for: small enough to be given whole. */
export const HOSTILE_OBJECT_BYTES = 3 * 2 ** 20 + 17;

function rangeIn(asked: Asked): readonly [first: number, last: number] {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(asked.range ?? "") ?? [];
  return [Number(first), Number(last)];
}

function partOf(asked: Asked, held: Held | undefined): Uint8Array {
  const [first, last] = rangeIn(asked);
  return held?.bytes.subarray(first, last + 1) ?? new Uint8Array();
}

type Lines = Readonly<Record<string, string | undefined>>;

/** Head and body as they go over the wire, of an answer that is right but for what is changed; undefined takes a line away. */
function raw(
  change: (
    asked: Asked,
    held: Held | undefined,
  ) => {
    readonly status?: string;
    readonly lines?: Lines;
    readonly more?: string;
    readonly body?: Uint8Array;
    readonly end?: "close" | "reset" | "stay";
  },
): Fault {
  return (asked, response, held) => {
    const [first, last] = rangeIn(asked);
    const part = partOf(asked, held);
    const {
      status = "HTTP/1.1 206 Partial Content",
      lines = {},
      more = "",
      body = part,
      end = "close",
    } = change(asked, held);
    const all: Lines = {
      "Content-Length": `${part.length}`,
      "Content-Range": `bytes ${first}-${last}/${held?.bytes.length}`,
      ETag: held?.etag,
      ...lines,
    };
    const head = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}\r\n`]));
    write(response, Buffer.concat([Buffer.from(`${status}\r\n${head.join("")}${more}\r\n`, "latin1"), body]), end);
    return true;
  };
}

function write(response: ServerResponse, bytes: Uint8Array, end: "close" | "reset" | "stay" = "close"): void {
  const { socket } = response;
  if (socket === null) return;
  socket.write(bytes, () => {
    if (end === "close") socket.end();
    else if (end === "reset") socket.resetAndDestroy();
  });
}

const onWire =
  (text: string | Uint8Array): Fault =>
  (_, response) => {
    write(response, typeof text === "string" ? Buffer.from(text, "latin1") : text);
    return true;
  };
const line = (name: string, value: string | undefined): Fault => raw(() => ({ lines: { [name]: value } }));
const status = (text: string): Fault => raw(() => ({ status: text }));
const xml = (code: string) => `<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`;
const page = "<!doctype html><html><title>No</title></html>";
const redirect = (code: number, location?: string): Fault => refuse(code, location === undefined ? {} : { location });

/** What each status means where it stays. */
const statuses: Readonly<Record<number, StorageCode>> = {
  ...Object.fromEntries(
    [400, 402, 405, 406, 407, 409, 411, 413, 414, 415, 417, 422, 431, 451].map((one) => [one, "storage/network"]),
  ),
  ...{ 401: "storage/denied", 403: "storage/denied", 404: "storage/not-found", 410: "storage/not-found" },
  ...{ 412: "storage/changed", 416: "storage/short-read" },
  ...Object.fromEntries(
    [408, 421, 425, 429, 500, 501, 502, 503, 504, 505, 507, 511, 520].map((one) => [one, "storage/network"]),
  ),
  ...Object.fromEntries([201, 202, 203, 204, 205, 207].map((one) => [one, "storage/network"])),
};

const families: Readonly<
  Record<string, readonly (readonly [title: string, fault: Fault, becomes: HostileAnswer["becomes"]])[]>
> = {
  "a status that stays": Object.entries(statuses).map(([code, becomes]) => [code, refuse(Number(code)), becomes]),
  "a status that passes": [408, 421, 425, 429, 500, 502, 503, 504].map((code) => [
    `${code}, three times`,
    times(3, refuse(code, {}, code === 503 ? xml("SlowDown") : page)),
    "bytes",
  ]),
  "what is said of a refusal": [
    ["SlowDown, seven times", times(7, refuse(503, { "retry-after": "0" }, xml("SlowDown"))), "bytes"],
    ["Retry-After of a day", refuse(503, { "retry-after": "86400" }), "storage/network"],
    ["Retry-After of no date", times(2, refuse(503, { "retry-after": "soon" })), "bytes"],
    ["a refusal that is packed", refuse(403, { "content-encoding": "gzip" }, "no gzip"), "storage/denied"],
    [
      "a refusal without end",
      raw(() => ({
        status: "HTTP/1.1 403 Forbidden",
        lines: { "Content-Length": "99999999999" },
        body: new Uint8Array(5),
      })),
      "storage/network",
    ],
  ],
  "another status line": [
    ["of HTTP/0.9", onWire(page), "storage/network"],
    ["of HTTP/2", status("HTTP/2 206"), "storage/network"],
    ["of a radio station", status("ICY 206 OK"), "storage/network"],
    ["of SSH", onWire("SSH-2.0-OpenSSH_9.6\r\n\r\n"), "storage/network"],
    ["of TLS", onWire(Uint8Array.from([21, 3, 1, 0, 2, 2, 70])), "storage/network"],
    ["that is none", onWire("\r\n\r\n"), "storage/network"],
    ["with a status of two digits", status("HTTP/1.1 99 ?"), "storage/network"],
    ["with a status of four digits", status("HTTP/1.1 2060 ?"), "storage/network"],
    ["with a status of no class", status("HTTP/1.1 606 ?"), "storage/network"],
    ["without a reason", status("HTTP/1.1 206"), "bytes"],
  ],
  "a head": [
    ["that never ends", onWire(`HTTP/1.1 206 OK\r\nX: ${"a".repeat(70_000)}`), "storage/network"],
    ["with a line that is no header", raw(() => ({ more: "this is no header\r\n" })), "storage/network"],
    ["with a name that has a space", raw(() => ({ more: "Content Type: x\r\n" })), "storage/network"],
    ["with a folded line", raw(() => ({ more: "X: a\r\n b\r\n" })), "storage/network"],
    ["with two lengths", raw(() => ({ more: "Content-Length: 5\r\n" })), "storage/network"],
    [
      "with the same length twice",
      raw((asked, held) => ({ more: `Content-Length: ${partOf(asked, held).length}\r\n` })),
      "bytes",
    ],
    [
      "behind interim answers",
      raw(() => ({
        status: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 206 OK",
      })),
      "bytes",
    ],
    ["behind interim answers without end", onWire("HTTP/1.1 100 Continue\r\n\r\n".repeat(60_000)), "storage/network"],
  ],
  "a length": [
    ["that is not said, and the connection's end tells", line("Content-Length", undefined), "bytes"],
    ["that is negative", line("Content-Length", "-1"), "storage/network"],
    ["that is no number", line("Content-Length", "many"), "storage/network"],
    ["beyond all numbers", line("Content-Length", "9".repeat(30)), "storage/network"],
    ["of more than was asked for", line("Content-Length", "2000"), "storage/network"],
    ["of nothing", raw(() => ({ lines: { "Content-Length": "0" }, body: new Uint8Array() })), "storage/network"],
    ["beside chunks", raw(() => ({ lines: { "Transfer-Encoding": "chunked" } })), "storage/network"],
  ],
  "a range": [
    ["that is not said", line("Content-Range", undefined), "storage/no-ranges"],
    ["in another unit", line("Content-Range", "items 0-9/10"), "storage/no-ranges"],
    ["that begins one later", line("Content-Range", `bytes 1001-100999/${HOSTILE_OBJECT_BYTES}`), "storage/no-ranges"],
    ["that ends one later", line("Content-Range", `bytes 1000-101000/${HOSTILE_OBJECT_BYTES}`), "storage/no-ranges"],
    ["that ends before it begins", line("Content-Range", `bytes 999-5/${HOSTILE_OBJECT_BYTES}`), "storage/no-ranges"],
    ["of another whole", line("Content-Range", "bytes 1000-100999/101000"), "storage/changed"],
    ["of an unknown whole", line("Content-Range", "bytes 1000-100999/*"), "bytes"],
    [
      "as one of several parts",
      raw(() => ({ lines: { "Content-Type": "multipart/byteranges; boundary=b", "Content-Range": undefined } })),
      "storage/no-ranges",
    ],
    [
      "that is the whole (200), of a small object",
      (asked, response, held) => {
        giveFile({ ...asked, range: undefined }, response, held);
        return true;
      },
      "bytes",
    ],
    [
      "that is the whole (200), and ends early",
      raw((_, held) => ({
        status: "HTTP/1.1 200 OK",
        lines: { "Content-Length": `${held?.bytes.length}`, "Content-Range": undefined },
      })),
      "storage/network",
    ],
    [
      "that is the whole (200), of another size",
      raw((_, held) => ({
        status: "HTTP/1.1 200 OK",
        lines: { "Content-Length": "5", "Content-Range": undefined },
        body: held?.bytes.subarray(0, 5) ?? new Uint8Array(),
      })),
      "storage/changed",
    ],
  ],
  "a packing": [
    [
      "gzip, as said",
      raw((asked, held) => {
        const body = gzipSync(partOf(asked, held));
        return { lines: { "Content-Encoding": "gzip", "Content-Length": `${body.length}` }, body };
      }),
      "storage/no-ranges",
    ],
    ["br, which it is not", line("Content-Encoding", "br"), "storage/no-ranges"],
    ["of a name that nobody knows", line("Content-Encoding", "aws-chunked"), "storage/no-ranges"],
    ["identity", line("Content-Encoding", "identity"), "bytes"],
  ],
  "another state": [
    ["by its ETag", line("ETag", '"another"'), "storage/changed"],
    ["by a weak ETag", line("ETag", 'W/"another"'), "storage/changed"],
    ["by an empty ETag", line("ETag", ""), "storage/changed"],
  ],
  "a body": [
    ["that ends early", raw((asked, held) => ({ body: partOf(asked, held).subarray(0, 5000) })), "storage/network"],
    [
      "that ends early, twice",
      times(
        2,
        raw((asked, held) => ({ body: partOf(asked, held).subarray(0, 5000) })),
      ),
      "bytes",
    ],
    [
      "that is reset",
      raw((asked, held) => ({ body: partOf(asked, held).subarray(0, 5000), end: "reset" })),
      "storage/network",
    ],
    [
      "that is reset, twice",
      times(
        2,
        raw((asked, held) => ({ body: partOf(asked, held).subarray(0, 5000), end: "reset" })),
      ),
      "bytes",
    ],
    [
      "that stops",
      raw((asked, held) => ({ body: partOf(asked, held).subarray(0, 5000), end: "stay" })),
      "storage/network",
    ],
    [
      "that stops, twice",
      times(
        2,
        raw((asked, held) => ({ body: partOf(asked, held).subarray(0, 5000), end: "stay" })),
      ),
      "bytes",
    ],
    ["that never comes", () => true, "storage/network"],
    ["that never comes, twice", times(2, () => true), "bytes"],
    [
      "with more behind it",
      raw((asked, held) => ({ body: Buffer.concat([partOf(asked, held), Buffer.from("more")]) })),
      "storage/network",
    ],
    [
      "with another answer behind it",
      raw((asked, held) => ({ body: Buffer.concat([partOf(asked, held), Buffer.from("HTTP/1.1 206 OK\r\n\r\n")]) })),
      "storage/network",
    ],
    [
      "that comes late and byte by byte",
      (asked, response, held) => {
        setTimeout(() => {
          const [first, last] = rangeIn(asked);
          const part = partOf(asked, held);
          response.writeHead(206, {
            "content-range": `bytes ${first}-${last}/${held?.bytes.length}`,
            "content-length": part.length,
          });
          response.flushHeaders();
          for (let k = 0; k < 20; k++) response.write(part.subarray(k, k + 1));
          setTimeout(() => response.end(part.subarray(20)), 20);
        }, 50);
        return true;
      },
      "bytes",
    ],
    // A range has no checksum of its own, in S3 nor by HTTP: over TLS nobody on the way can do this.
    [
      "with one bit that is wrong",
      raw((asked, held) => {
        const body = Uint8Array.from(partOf(asked, held));
        body[777] = (body[777] ?? 0) ^ 4;
        return { body };
      }),
      "wrong bytes",
    ],
  ],
  "a redirect": [
    ["to nowhere", redirect(302), "storage/network"],
    ["to no address", redirect(302, "http://[::"), "storage/denied"],
    ["to another scheme", redirect(307, "ftp://127.0.0.1/"), "storage/denied"],
    ["to a file", redirect(302, "file:///etc/passwd"), "storage/denied"],
    ["with a password", redirect(302, "http://a:b@127.0.0.1/"), "storage/denied"],
    ["to a metadata service", redirect(301, "http://169.254.169.254/latest/meta-data/"), "storage/denied"],
    ["to one, spelled for IPv6", redirect(308, "http://[::ffff:169.254.169.254]/"), "storage/denied"],
    ["to one, as a number", redirect(308, "http://2852039166/"), "storage/denied"],
    ["to a port where nobody is", redirect(302, "http://127.0.0.1:1/"), "storage/network"],
    [
      "round and round",
      (asked, response) =>
        refuse(302, { location: `${asked.path}${asked.path.includes("?") ? "&" : "?"}x` })(asked, response, undefined),
      "storage/network",
    ],
    ["304", refuse(304), "storage/network"],
    ["300 with a choice", refuse(300, {}, page), "storage/network"],
  ],
};

export const hostileAnswers: readonly HostileAnswer[] = Object.entries(families).flatMap(([family, answers]) =>
  answers.map(([title, fault, becomes]) => ({ title: `${family}: ${title}`, fault, becomes })),
);
