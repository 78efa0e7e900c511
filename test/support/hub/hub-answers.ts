/** What the imitation of the Hub is asked, and how it answers. */
import type { IncomingMessage, ServerResponse } from "node:http";

export interface Asked {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly path: string;
  readonly token: string | undefined;
  readonly body: Buffer;
}

export function send({ request, response }: Asked, status: number, body: string | Buffer): void {
  if (!response.hasHeader("Content-Type")) {
    response.setHeader(
      "Content-Type",
      typeof body === "string" && /^[[{]/.test(body) ? "application/json" : "text/plain",
    );
  }
  response.writeHead(status, { "Content-Length": Buffer.byteLength(body) });
  response.end(request.method === "HEAD" ? undefined : body);
}

/** As the Hub says what is wrong: in two headers, and in JSON. */
export function refuse(asked: Asked, status: number, code: string, message: string): void {
  if (code !== "") asked.response.setHeader("X-Error-Code", code);
  asked.response.setHeader("X-Error-Message", message);
  send(asked, status, JSON.stringify({ error: message }));
}

export function sendRange(asked: Asked, whole: Buffer, isDamaged: boolean): void {
  const bytes = isDamaged ? damagedCopy(whole) : whole;
  const { request, response } = asked;
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  response.setHeader("Accept-Ranges", "bytes");
  if (first === undefined) return send(asked, 200, bytes);
  const from = Number(first);
  const to = Math.min(last ? Number(last) : Number.POSITIVE_INFINITY, bytes.length - 1);
  if (from > to) {
    response.setHeader("Content-Range", `bytes */${bytes.length}`);
    return send(asked, 416, "");
  }
  response.setHeader("Content-Range", `bytes ${from}-${to}/${bytes.length}`);
  send(asked, 206, bytes.subarray(from, to + 1));
}

function damagedCopy(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
  return copy;
}
