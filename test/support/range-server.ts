import { createHash } from "node:crypto";
import * as http from "node:http";
import * as https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { buffer } from "node:stream/consumers";
import { onTestFinished } from "vitest";

export interface Asked {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly range: string | undefined;
  readonly headers: http.IncomingHttpHeaders;
  /** What was sent with it. */
  readonly body: Buffer;
  /** Of which connection it came, counted from 0. */
  readonly connection: number;
}

export interface Held {
  bytes: Uint8Array;
  etag?: string | undefined;
  lastModified?: string | undefined;
  /** As S3 tells it to who asks for it. */
  sha256?: string | undefined;
}

/** Answers in another way than a good server would. Returns whether it did; else the next one is asked, and at last the good server. */
export type Fault = (asked: Asked, response: http.ServerResponse, held: Held | undefined) => boolean;

/** Files behind HTTP, as a good server gives them: ranges, ETags, conditions, 304 never. `faults` are asked first. */
export interface RangeServer {
  readonly origin: string;
  readonly port: number;
  readonly asked: Asked[];
  readonly faults: Fault[];
  /** By path, as it stands in a URL. */
  readonly files: Map<string, Held>;
  put(path: string, bytes: Uint8Array | string): void;
  /** Of the connections that are open. */
  readonly sockets: Set<Socket>;
}

/** How a question is answered that no fault takes. */
type Answer = (
  asked: Asked,
  response: http.ServerResponse,
  held: Held | undefined,
  request: http.IncomingMessage,
) => void;

/** A proxy of ours before a real server, as `rangeServer`: faults are asked first, else the server answers. Without TLS on either side. */
export function faultProxy(endpoint: string): Promise<RangeServer> {
  const { hostname, port } = new URL(endpoint);
  return rangeServer(undefined, (asked, response, _, request) => {
    // The name of the host is as it was: signatures hold it.
    const onward = http.request({ hostname, port, method: asked.method, path: asked.path, headers: request.headers });
    onward.on("response", (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    response.on("close", () => onward.destroy());
    request.resume();
    onward.end(asked.body);
  });
}

/** Closed with the test. */
export async function rangeServer(
  tls?: { readonly key: string; readonly cert: string },
  otherwise: Answer = giveFile,
): Promise<RangeServer> {
  const asked: Asked[] = [];
  const faults: Fault[] = [];
  const files = new Map<string, Held>();
  const sockets = new Set<Socket>();
  const numbers = new WeakMap<object, number>();
  let connections = 0;
  const answer = async (request: http.IncomingMessage, response: http.ServerResponse) => {
    const hasBody = request.method !== "GET" && request.method !== "HEAD";
    const entry: Asked = {
      body: hasBody ? await buffer(request).catch(() => Buffer.alloc(0)) : Buffer.alloc(0),
      method: request.method ?? "",
      path: request.url ?? "",
      range: request.headers.range,
      headers: request.headers,
      connection: numbers.get(request.socket) ?? -1,
    };
    asked.push(entry);
    const held = files.get(entry.path.split("?", 1)[0] ?? "");
    for (const fault of [...faults]) if (fault(entry, response, held)) return;
    otherwise(entry, response, held, request);
  };
  const server = tls === undefined ? http.createServer(answer) : https.createServer(tls, answer);
  server.on(tls === undefined ? "connection" : "secureConnection", (socket: Socket) => {
    numbers.set(socket, connections++);
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  return {
    origin: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    port,
    asked,
    faults,
    files,
    sockets,
    put: (path, content) => {
      const bytes = typeof content === "string" ? Buffer.from(content) : content;
      files.set(path, { bytes, etag: `"${createHash("sha256").update(bytes).digest("hex").slice(0, 32)}"` });
    },
  };
}

export function giveFile(asked: Asked, response: http.ServerResponse, held: Held | undefined): void {
  if (held === undefined) {
    response.writeHead(404, { "content-type": "text/plain", "content-length": 16 }).end("nothing is there");
    return;
  }
  const { bytes, etag, lastModified } = held;
  const sha256 = asked.headers["x-amz-checksum-mode"] === undefined ? undefined : held.sha256;
  const headers: Record<string, string | number> = {
    ...(sha256 === undefined ? {} : { "x-amz-checksum-sha256": sha256 }),
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { "last-modified": lastModified }),
    "accept-ranges": "bytes",
  };
  const condition = asked.headers["if-match"];
  if (condition !== undefined && condition !== etag) {
    response.writeHead(412, { ...headers, "content-length": 0 }).end();
    return;
  }
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(asked.range ?? "") ?? [];
  const isBodyless = asked.method === "HEAD";
  if (first === undefined) {
    response.writeHead(200, { ...headers, "content-length": bytes.length }).end(isBodyless ? undefined : bytes);
    return;
  }
  const from = Number(first);
  const to = Math.min(Number(last), bytes.length - 1);
  if (from > to) {
    // As S3 has it: neither what it is nor how long.
    response.writeHead(416, { "content-length": 0 }).end();
    return;
  }
  const part = bytes.subarray(from, to + 1);
  response
    .writeHead(206, {
      ...headers,
      "content-range": `bytes ${from}-${to}/${bytes.length}`,
      "content-length": part.length,
    })
    .end(isBodyless ? undefined : part);
}

/** Answers the first `times` questions so, and no more. */
export function times(count: number, fault: Fault): Fault {
  let left = count;
  return (...args) => left > 0 && left-- > 0 && fault(...args);
}

/** As the good server, with a status and headers of its own. */
export function refuse(status: number, headers: Record<string, string> = {}, body = ""): Fault {
  return (_, response) => {
    response.writeHead(status, { "content-length": Buffer.byteLength(body), ...headers }).end(body);
    return true;
  };
}
