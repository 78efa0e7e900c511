// A server of files in a process of its own, for bench/storage.mjs. Tells its port on stdout.
// node bench/storage-server.mjs FOLDER FIRST_BYTE_MS BYTES_A_SECOND_AND_CONNECTION [KEY CERTIFICATE]
import { openSync, readFileSync, readSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const [folder, firstByteMs, bytesPerSecond, key, cert] = process.argv.slice(2);
const rate = Number(bytesPerSecond);
/** Written at once: of a slow connection a few milliseconds' worth. */
const PIECE_BYTES = 1024 * 1024;
const open = new Map();

function opened(path) {
  if (!open.has(path)) {
    const { size, mtimeMs } = statSync(path);
    open.set(path, { descriptor: openSync(path, "r"), size, etag: `"${size}-${mtimeMs}"` });
  }
  return open.get(path);
}

async function answer(request, response) {
  let file;
  try {
    file = opened(join(folder, request.url));
  } catch {
    response.writeHead(404, { "content-length": 0 }).end();
    return;
  }
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  const from = Number(first ?? 0);
  const to = Math.min(Number(last ?? file.size), file.size - 1);
  await delay(Number(firstByteMs));
  response.writeHead(first === undefined ? 200 : 206, {
    ...(first === undefined ? {} : { "content-range": `bytes ${from}-${to}/${file.size}` }),
    ...{ "content-length": to - from + 1, etag: file.etag },
  });
  const beganMs = performance.now();
  for (let at = from; at <= to; ) {
    const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, to + 1 - at));
    readSync(file.descriptor, piece, 0, piece.length, at);
    at += piece.length;
    const flows = response.write(piece);
    if (rate > 0) await delay(Math.max(0, beganMs + ((at - from) / rate) * 1000 - performance.now()));
    if (!flows && response.writableNeedDrain)
      await new Promise((resolve) => response.once("drain", resolve).once("close", resolve));
    if (response.destroyed) return;
  }
  response.end();
}

const server =
  key === undefined
    ? createServer(answer)
    : createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) }, answer);
server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
