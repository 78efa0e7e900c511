// Reads ranges of one file into the same few buffers, and tells how much processor time a GB took: user and system, this process alone.
// node bench/storage-client.mjs ours|connection|undici URL BYTES [CA]
import { readFileSync } from "node:fs";

const RANGE_BYTES = 8 * 2 ** 20;
const AT_ONCE = 8;
const [way, address, bytes, ca] = process.argv.slice(2);
const url = new URL(address);
const authority = ca === undefined ? undefined : readFileSync(ca, "utf8");

const ways = {
  /** With all that it does: conditions, tries, deadlines, races. */
  ours: async () => {
    const { HttpRanges } = await import("../dist/storage/http/http-ranges.js");
    const ranges = new HttpRanges({ environment: {}, ...(authority === undefined ? {} : { ca: authority }) });
    const at = { url, headers: {} };
    const target = { place: url.href, address: () => at };
    const { state } = await ranges.begin(target, 1);
    const known = { ...target, state };
    return { sizeBytes: state.sizeBytes, read: (offset, into) => ranges.read(known, offset, into, "steady") };
  },
  /** The connections alone. */
  connection: async () => {
    const [{ RangeConnection }, { lookupWithin }, tls] = await Promise.all([
      import("../dist/storage/http/range-connection.js"),
      import("../dist/storage/http/reachable.js"),
      import("node:tls"),
    ]);
    const secureContext = authority === undefined ? undefined : tls.createSecureContext({ ca: authority });
    const deadlines = { connectMs: 10_000, headMs: 30_000, stallMs: 20_000 };
    const to = {
      host: url.hostname,
      port: Number(url.port),
      secureContext,
      lookup: lookupWithin("private"),
      deadlines,
    };
    const connections = Array.from({ length: AT_ONCE }, () => new RangeConnection(to));
    const headers = { host: url.host };
    return {
      sizeBytes: undefined,
      read: (offsetBytes, into, k) =>
        connections[k].read({ path: url.pathname, headers, offsetBytes, into, isSteady: true, check: () => {} }),
    };
  },
  /** As it is meant to be used for large bodies. */
  undici: async () => {
    const { Pool } = await import("undici");
    const pool = new Pool(url.origin, { connections: AT_ONCE, connect: { ca: authority } });
    return {
      sizeBytes: undefined,
      read: async (offset, into) => {
        const range = `bytes=${offset}-${offset + into.length - 1}`;
        const { body } = await pool.request({ path: url.pathname, method: "GET", headers: { range } });
        let at = 0;
        for await (const piece of body) {
          into.set(piece, at);
          at += piece.length;
        }
        if (at !== into.length) throw new Error(`${at} bytes came of ${into.length}`);
      },
    };
  },
};

const { read } = await ways[way]();
const buffers = Array.from({ length: AT_ONCE }, () => new Uint8Array(RANGE_BYTES).fill(1));
const sizeBytes = Number(bytes);
let next = 0;
const loop = async (k) => {
  for (let at = next; at + RANGE_BYTES <= sizeBytes; at = next) {
    next += RANGE_BYTES;
    await read(at, buffers[k], k);
  }
};
const once = async () => {
  next = 0;
  await Promise.all(buffers.map((_, k) => loop(k)));
};
await once(); // compiled, connected
const before = process.cpuUsage();
const beganMs = performance.now();
await once();
const { user, system } = process.cpuUsage(before);
const gigabytes = (Math.floor(sizeBytes / RANGE_BYTES) * RANGE_BYTES) / 1e9;
const seconds = (performance.now() - beganMs) / 1000;
process.stdout.write(`${JSON.stringify({ gigabytes, processorSeconds: (user + system) / 1e6, seconds })}\n`);
process.exit(0);
