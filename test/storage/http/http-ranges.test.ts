import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { type HttpOptions, HttpRanges } from "../../../storage/http/http-ranges.ts";
import { Pace } from "../../../storage/http/pace.ts";
import type { HttpAddress, HttpState, HttpTarget } from "../../../storage/http/target.ts";
import { placeOf } from "../../../storage/index.ts";
import {
  type Asked,
  type Fault,
  giveFile,
  type RangeServer,
  rangeServer,
  refuse,
  times,
} from "../../support/range-server.ts";
import { serverCertificate } from "../../support/server-certificate.ts";

const LARGE = 3 * 2 ** 20 + 17;

/** Bytes that differ from place to place, so that what is shifted or repeated shows. */
function patterned(sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let k = 0; k < sizeBytes; k++) bytes[k] = (k * 2654435761) >>> 24;
  return bytes;
}

async function begin(options: HttpOptions = {}) {
  const server = await rangeServer();
  const bytes = patterned(LARGE);
  server.put("/model", bytes);
  const ranges = rangesWith(options);
  return { server, bytes, ranges, target: targetAt(server, "/model") };
}

function rangesWith(options: HttpOptions = {}): HttpRanges {
  const ranges = new HttpRanges({ firstPauseMs: 1, environment: {}, ...options });
  onTestFinished(() => ranges.close());
  return ranges;
}

function targetAt(server: RangeServer, path: string, state?: HttpState): HttpTarget {
  const address = { url: new URL(`${server.origin}${path}`), headers: {} };
  return {
    place: placeOf(`https://models.test${path.split("?", 1)[0]}`),
    address: () => address,
    ...(state && { state }),
  };
}

const stateOf = (server: RangeServer, path = "/model"): HttpState => {
  const { bytes, etag, lastModified } = server.files.get(path)!;
  return { sizeBytes: bytes.length, etag, lastModified };
};

test("ranges are read, whatever their size, several at once, into memory of WebAssembly", async () => {
  const { bytes, ranges, target } = await begin();
  const memory = new Uint8Array(new WebAssembly.Memory({ initial: 80 }).buffer);
  const wanted = [
    [0, 1],
    [5, 70_000],
    [LARGE - 2 ** 20, 2 ** 20],
    [1_000_003, 2_000_000],
    [LARGE - 1, 1],
    [9, 0],
  ] as const;
  let at = 10;
  await Promise.all(
    wanted.map(([offset, count]) => {
      const into = memory.subarray(at, at + count);
      at += count;
      return ranges.read(target, offset, into);
    }),
  );
  const expected = Buffer.concat(wanted.map(([offset, count]) => bytes.subarray(offset, offset + count)));
  expect(Buffer.from(memory.subarray(10, at)).equals(expected)).toBe(true);
  expect([memory[9], memory[at]]).toEqual([0, 0]);
});

test.each([{}, { HTTP_PROXY: "proxy" }])(
  "of a server without ETags that refuses the time it tells, answers are compared: %o",
  async (environment: Record<string, string>) => {
    const proxy = environment.HTTP_PROXY === undefined ? undefined : await connectProxy();
    const { server, bytes, ranges, target } = await begin({
      environment: proxy === undefined ? {} : { HTTP_PROXY: proxy.url },
    });
    const held = server.files.get("/model")!;
    Object.assign(held, { etag: undefined, lastModified: "Mon, 30 Nov 2026 15:41:03 GMT" });
    server.faults.push((asked, response) => {
      if (asked.headers["if-unmodified-since"] === undefined) return false;
      response.writeHead(412, { "content-length": 0 }).end();
      return true;
    });
    const known = { ...target, state: stateOf(server) };
    const into = new Uint8Array(1000);
    const readAt = async (at: number) => {
      const bytesThere = new Uint8Array(1000);
      await ranges.read(known, at, bytesThere);
      expect(Buffer.from(bytesThere).equals(bytes.subarray(at, at + 1000))).toBe(true);
    };
    await Promise.all([5, 70_000, 90_000].map(readAt));
    expect(server.asked).toHaveLength(6);
    await readAt(100_000);
    expect(server.asked).toHaveLength(7);
    held.lastModified = "Mon, 30 Nov 2026 15:41:04 GMT";
    await expect(ranges.read(known, 0, into)).rejects.toMatchObject({ code: "storage/changed" });
  },
);

test.each(["plain", "TLS"])(
  "memory that is steady is filled just so, %s, one range after the other by one connection",
  async (kind) => {
    const { ca, ...own } = await serverCertificate();
    const server = await rangeServer(kind === "TLS" ? own : undefined);
    const bytes = patterned(LARGE);
    server.put("/model", bytes);
    const target = targetAt(server, "/model");
    const ranges = rangesWith({ ca, connectionsMax: 1 });
    const room = new Uint8Array(LARGE + 20).fill(7);
    const wanted = [1, LARGE - 2, 10, 1_000_000, 70_000];
    for (const [k, count] of wanted.entries()) {
      const into = room.subarray(10, 10 + count);
      await ranges.read(target, k, into, "steady");
      expect(Buffer.from(into).equals(bytes.subarray(k, k + count))).toBe(true);
    }
    expect([...room.subarray(0, 10), ...room.subarray(LARGE + 8)]).toEqual(new Array(22).fill(7));
    expect(new Set(server.asked.map(({ connection }) => connection)).size).toBe(1);
  },
);

test("over TLS it is the same, and a server that nobody vouches for is not read from", async () => {
  const { ca, ...own } = await serverCertificate();
  const server = await rangeServer(own);
  const bytes = patterned(LARGE);
  server.put("/model", bytes);
  const target = targetAt(server, "/model");
  const ranges = rangesWith({ ca });
  const into = new Uint8Array(2_000_000);
  await Promise.all([0, 500_000, 1_000_000].map((at) => ranges.read(target, at, into.subarray(at, at + 500_000))));
  expect(Buffer.from(into.subarray(0, 1_500_000)).equals(bytes.subarray(0, 1_500_000))).toBe(true);
  expect((await ranges.begin(target, 10)).bytes).toHaveLength(10);
  server.faults.push(refuse(302, { location: `http://127.0.0.1:${server.port}/model` }));
  await expect(ranges.read(target, 0, into)).rejects.toMatchObject({ code: "storage/denied" });
  const untrusted = rangesWith().read(targetAt(server, "/model"), 0, into);
  await expect(untrusted).rejects.toMatchObject({
    code: "storage/network",
    retryable: false,
    hint: expect.stringContaining("NODE_EXTRA_CA_CERTS"),
  });
});

test.each(["http", "https"])(
  "by a proxy %s ranges are read all the same, and what is excepted goes past it",
  async (scheme) => {
    const { ca, ...own } = await serverCertificate();
    const server = await rangeServer(scheme === "https" ? own : undefined);
    const bytes = patterned(LARGE);
    server.put("/model", bytes);
    const proxy = await connectProxy();
    const environment = { HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url };
    const target = targetAt(server, "/model", stateOf(server));
    const into = new Uint8Array(100_000);
    await rangesWith({ ca, environment }).read(target, 1000, into);
    expect(Buffer.from(into).equals(bytes.subarray(1000, 101_000))).toBe(true);
    expect(proxy.connected).toEqual([`127.0.0.1:${server.port}`]);
    await rangesWith({ ca, environment: { ...environment, NO_PROXY: "127.0.0.1" } }).read(target, 0, into);
    expect(proxy.connected).toHaveLength(1);
  },
);

/** Tunnels, as proxies of companies do, and notes where they lead. */
async function connectProxy() {
  const connected: string[] = [];
  const server = createServer().on("connect", (request, socket, head) => {
    connected.push(request.url ?? "");
    const [host = "", port = ""] = (request.url ?? "").split(":");
    const through = connect(Number(port), host, () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      through.write(head);
      through.pipe(socket).pipe(through);
    });
    for (const end of [socket, through]) end.on("error", () => through.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, connected };
}

test("connections are kept, and there are no more than are allowed", async () => {
  const { server, ranges, target } = await begin({ connectionsMax: 3 });
  for (let round = 0; round < 3; round++)
    await Promise.all(Array.from({ length: 10 }, (_, k) => ranges.read(target, k, new Uint8Array(1000))));
  expect(server.asked).toHaveLength(30);
  expect(new Set(server.asked.map(({ connection }) => connection)).size).toBe(3);
});

test("what was kept open and closed by the server costs no try", async () => {
  const { server, ranges, target } = await begin();
  await ranges.read(target, 0, new Uint8Array(10));
  for (const socket of server.sockets) socket.destroy();
  server.faults.push(times(3, (_, response) => response.socket?.destroy() !== undefined));
  await ranges.read(target, 0, new Uint8Array(10));
  expect(server.asked.length).toBeGreaterThanOrEqual(5);
});

test("what the beginning holds and what the file is comes in one request", async () => {
  const { server, bytes, ranges, target } = await begin();
  const { state, bytes: first, hasRanges } = await ranges.begin(target, 1000);
  expect(state).toEqual({ ...stateOf(server), lastModified: undefined });
  expect(Buffer.from(first).equals(bytes.subarray(0, 1000))).toBe(true);
  expect(hasRanges).toBe(true);
  expect(server.asked).toMatchObject([{ range: "bytes=0-999" }]);
  server.put("/empty", "");
  expect((await ranges.begin(targetAt(server, "/empty"), 1000)).state).toMatchObject(stateOf(server, "/empty"));
  server.put("/small", "abc");
  expect(await ranges.begin(targetAt(server, "/small"), 1000)).toMatchObject({
    state: { sizeBytes: 3 },
    bytes: Buffer.from("abc"),
  });
});

const passing: readonly [string, (asked: Asked, server: RangeServer) => (typeof server.faults)[number]][] = [
  ["500", () => refuse(500)],
  ["502 with a page", () => refuse(502, {}, "<html><title>Bad Gateway</title></html>")],
  ["503 SlowDown", () => refuse(503, {}, "<Error><Code>SlowDown</Code></Error>")],
  ["429 with Retry-After", () => refuse(429, { "retry-after": "0" })],
  ["a connection that is cut at once", () => (_, response) => response.socket?.destroy() !== undefined],
  [
    "a body that ends early",
    () => (asked, response, held) => {
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(asked.range ?? "") ?? [];
      response.writeHead(206, {
        "content-range": `bytes ${first}-${last}/${held?.bytes.length}`,
        "content-length": Number(last) - Number(first) + 1,
      });
      response.write(Buffer.alloc(10), () => response.socket?.destroy());
      return true;
    },
  ],
  [
    "no HTTP",
    () => (_, response) => {
      response.socket?.end("SSH-2.0-OpenSSH_9.6\r\n\r\n");
      return true;
    },
  ],
];

test.each(passing)("after %s the range is asked for again, on another connection", async (_, fault) => {
  const { server, bytes, ranges, target } = await begin();
  server.faults.push(times(2, fault(undefined as never, server)));
  const into = new Uint8Array(100_000);
  await ranges.read(target, 1000, into);
  expect(Buffer.from(into).equals(bytes.subarray(1000, 101_000))).toBe(true);
  expect(server.asked).toHaveLength(3);
});

test("what does not pass is asked four times, and eight times where the server asks for patience", async () => {
  const { server, ranges, target } = await begin();
  server.faults.push(refuse(500, {}, "out of order"));
  const failure = expect.objectContaining({ code: "storage/network", retryable: true });
  const refused = ranges.read(target, 0, new Uint8Array(10));
  await expect(refused).rejects.toThrow(
    /cannot read https:\/\/models\.test\/model: 127\.0\.0\.1:\d+ answers 500, out of order/,
  );
  await expect(refused).rejects.toEqual(failure);
  expect(server.asked.splice(0)).toHaveLength(4);
  server.faults.splice(
    0,
    1,
    refuse(503, {}, "<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>"),
  );
  await expect(ranges.read(target, 0, new Uint8Array(10))).rejects.toThrow(/answers 503, SlowDown: Reduce your rate/);
  expect(server.asked).toHaveLength(8);
});

test("a server that wants to be left alone for longer than anybody waits is not waited for", async () => {
  const { server, ranges, target } = await begin();
  server.faults.push(refuse(429, { "retry-after": "86400" }));
  await expect(ranges.read(target, 0, new Uint8Array(10))).rejects.toMatchObject({ code: "storage/network" });
  expect(server.asked).toHaveLength(1);
});

test("an object that is replaced is refused by the condition, by its ETag, and by its size", async () => {
  const { server, ranges } = await begin();
  const state = stateOf(server);
  const target = targetAt(server, "/model", state);
  const into = new Uint8Array(1000);
  await ranges.read(target, 0, into);
  expect(server.asked.at(-1)?.headers["if-match"]).toBe(state.etag);
  server.put("/model", patterned(LARGE).reverse());
  const message = {
    code: "storage/changed",
    message: expect.stringContaining("https://models.test/model"),
    retryable: false,
  };
  await expect(ranges.read(target, 0, into)).rejects.toMatchObject(message);
  // A server that knows no conditions, and one that gives no ETag.
  server.faults.push((asked, response, held) => {
    delete asked.headers["if-match"];
    giveFile(asked, response, held);
    return true;
  });
  await expect(ranges.read(target, 0, into)).rejects.toMatchObject(message);
  server.files.set("/model", { bytes: patterned(LARGE + 1) });
  await expect(ranges.read(target, 0, into)).rejects.toMatchObject({
    ...message,
    message: expect.stringContaining(`size ${LARGE} → ${LARGE + 1} bytes`),
  });
});

test("a weak ETag is no condition, and compared", async () => {
  const { server, ranges } = await begin();
  server.files.get("/model")!.etag = 'W/"1"';
  const target = targetAt(server, "/model", stateOf(server));
  await ranges.read(target, 0, new Uint8Array(10));
  expect(server.asked.at(-1)?.headers["if-match"]).toBeUndefined();
  server.files.get("/model")!.etag = 'W/"2"';
  await expect(ranges.read(target, 0, new Uint8Array(10))).rejects.toMatchObject({ code: "storage/changed" });
});

test("where a file ends is told, and what is not there, and who may not", async () => {
  const { server, ranges, target } = await begin();
  await expect(ranges.read(target, LARGE, new Uint8Array(1))).rejects.toMatchObject({ code: "storage/short-read" });
  await expect(ranges.read(targetAt(server, "/none"), 0, new Uint8Array(1))).rejects.toMatchObject({
    code: "storage/not-found",
  });
  server.faults.push(refuse(403, {}, "<Error><Code>AccessDenied</Code></Error>"));
  await expect(ranges.read(target, 0, new Uint8Array(1))).rejects.toMatchObject({
    code: "storage/denied",
    message: expect.stringContaining("AccessDenied"),
  });
  expect(server.asked).toHaveLength(3);
});

test("a range that is another one, longer, or packed is not taken", async () => {
  const { server, ranges, target } = await begin();
  const shifted: typeof server.faults = [
    (asked, response, held) => {
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(asked.range ?? "") ?? [];
      giveFile({ ...asked, range: `bytes=${Number(first) + 1}-${Number(last) + 1}` }, response, held);
      return true;
    },
    (asked, response, held) => {
      giveFile({ ...asked, range: "bytes=0-9999" }, response, held);
      return true;
    },
    (_, response) => {
      const packed = gzipSync(Buffer.alloc(1000));
      response
        .writeHead(206, {
          "content-range": `bytes 5-1004/${LARGE}`,
          "content-length": packed.length,
          "content-encoding": "gzip",
        })
        .end(packed);
      return true;
    },
  ];
  for (const fault of shifted) {
    server.faults.splice(0, 1, fault);
    const into = new Uint8Array(1000);
    await expect(ranges.read(target, 5, into)).rejects.toMatchObject({ code: "storage/no-ranges" });
    expect(into.every((byte) => byte === 0)).toBe(true);
  }
});

test("206 in chunks is read all the same", async () => {
  const { server, bytes, ranges, target } = await begin();
  server.faults.push((asked, response, held) => {
    const [, first = "", last = ""] = /^bytes=(\d+)-(\d+)$/.exec(asked.range ?? "") ?? [];
    response.writeHead(206, { "content-range": `bytes ${first}-${last}/${held?.bytes.length}` });
    response.end(held?.bytes.subarray(Number(first), Number(last) + 1));
    return true;
  });
  const into = new Uint8Array(1000);
  await ranges.read(target, 77, into);
  expect(Buffer.from(into).equals(bytes.subarray(77, 1077))).toBe(true);
});

test("of a server without ranges small files are read, and large ones refused", async () => {
  const { server, bytes, ranges, target } = await begin();
  server.faults.push((asked, response, held) => {
    giveFile({ ...asked, range: undefined }, response, held);
    return true;
  });
  const into = new Uint8Array(1000);
  await ranges.read(target, 77, into);
  expect(Buffer.from(into).equals(bytes.subarray(77, 1077))).toBe(true);
  expect(await ranges.begin(target, 10)).toMatchObject({ hasRanges: false, state: { sizeBytes: LARGE } });
  server.put("/large", new Uint8Array(33 * 2 ** 20));
  const large = targetAt(server, "/large");
  await expect(ranges.read(large, 32 * 2 ** 20, into)).rejects.toMatchObject({ code: "storage/no-ranges" });
  expect(await ranges.begin(large, 10)).toMatchObject({ hasRanges: false, bytes: { length: 10 } });
});

test("a server that says nothing is given up in time: no answer, no next bytes", async () => {
  const { server, bytes, ranges, target } = await begin({ deadlines: { headMs: 50, stallMs: 50 } });
  server.faults.push(
    times(1, () => true),
    times(1, (asked, response, held) => {
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(asked.range ?? "") ?? [];
      response.writeHead(206, {
        "content-range": `bytes ${first}-${last}/${held?.bytes.length}`,
        "content-length": 1000,
      });
      response.write(Buffer.alloc(10));
      return true;
    }),
  );
  const into = new Uint8Array(1000);
  await ranges.read(target, 0, into);
  expect(Buffer.from(into).equals(bytes.subarray(0, 1000))).toBe(true);
  expect(server.asked).toHaveLength(3);
  server.faults.push(() => true);
  await expect(ranges.read(target, 0, into)).rejects.toMatchObject({
    code: "storage/network",
    retryable: true,
    message: expect.stringContaining("no answer came within 0.05 s"),
  });
});

/** Gives the beginning of a range, and then nothing more until it is let. */
function stuck(): { readonly fault: Fault; readonly letGo: () => void } {
  const waiting: (() => void)[] = [];
  return {
    letGo: () => {
      for (const go of waiting) go();
    },
    fault: (asked, response, held) => {
      const [, first = "", last = ""] = /^bytes=(\d+)-(\d+)$/.exec(asked.range ?? "") ?? [];
      const bytes = held?.bytes.subarray(Number(first), Number(last) + 1) ?? new Uint8Array();
      response.writeHead(206, {
        "content-range": `bytes ${first}-${last}/${held?.bytes.length}`,
        "content-length": bytes.length,
      });
      // Other bytes than those that are right: whatever of them is left in the memory shows.
      response.write(Buffer.alloc(10, 255));
      waiting.push(() => response.end(bytes.subarray(10)));
      return true;
    },
  };
}

test("a range that is slow is read by a new connection beside the slow one, which is closed", async () => {
  const { server, bytes, ranges, target } = await begin({ pace: { leastMs: 20, unknownMs: 20 } });
  server.faults.push(times(1, stuck().fault));
  const into = new Uint8Array(100_000);
  await ranges.read(target, 1000, into);
  expect(Buffer.from(into).equals(bytes.subarray(1000, 101_000))).toBe(true);
  expect(server.asked.map(({ connection }) => connection)).toEqual([0, 1]);
  await expect.poll(() => server.sockets.size).toBe(1);
  await ranges.read(target, 0, into);
  expect(Buffer.from(into).equals(bytes.subarray(0, 100_000))).toBe(true);
});

test("where the second connection is refused, or as slow, the first one's range is taken", async () => {
  const { server, bytes, ranges, target } = await begin({ pace: { leastMs: 20, unknownMs: 20 } });
  const slow = stuck();
  server.faults.push(times(1, slow.fault));
  server.faults.push(
    times(1, (...question) => {
      setTimeout(slow.letGo, 30);
      return refuse(503, {}, "<Error><Code>SlowDown</Code></Error>")(...question);
    }),
  );
  const into = new Uint8Array(100_000);
  await ranges.read(target, 1000, into);
  expect(Buffer.from(into.subarray(10)).equals(bytes.subarray(1010, 101_000))).toBe(true);
  expect(server.asked).toHaveLength(2);
  const [one, two] = [stuck(), stuck()];
  server.faults.push(
    times(1, one.fault),
    times(1, (...question) => {
      setTimeout(one.letGo, 30);
      return two.fault(...question);
    }),
  );
  await ranges.read(target, 1000, into);
  expect(Buffer.from(into.subarray(10)).equals(bytes.subarray(1010, 101_000))).toBe(true);
  expect(server.asked).toHaveLength(4);
});

test("slow is three times what is usual of as many bytes, once that is known", () => {
  const pace = new Pace({ leastMs: 100, unknownMs: 5000 });
  const MIB = 2 ** 20;
  expect(pace.slowAfterMs(MIB)).toBe(5000);
  for (let k = 0; k < 20; k++) pace.note(1000, 3); // a header says nothing
  expect(pace.slowAfterMs(MIB)).toBe(5000);
  for (const ms of [200, 210, 220, 5000, 190, 200, 205, 195, 200]) pace.note(MIB, ms);
  expect(pace.slowAfterMs(MIB)).toBe(600);
  expect(pace.slowAfterMs(8 * MIB)).toBe(4800);
  expect(pace.slowAfterMs(1000)).toBe(600);
  for (let k = 0; k < 40; k++) pace.note(MIB, 1);
  expect(pace.slowAfterMs(MIB)).toBe(100);
});

test("a redirect is followed once for all ranges, without credentials on another host, and anew when it has expired", async () => {
  const { server, bytes, ranges } = await begin();
  const store = await rangeServer();
  store.put("/blob", bytes);
  let signed = 0;
  server.faults.push((_, response) => {
    response
      .writeHead(302, { location: `${store.origin}/blob?X-Amz-Signature=canary${++signed}`, "content-length": 0 })
      .end();
    return true;
  });
  const address = { url: new URL(`${server.origin}/model`), headers: { authorization: "Bearer canary" } };
  const target: HttpTarget = { place: placeOf("hf://a/b/model"), address: () => address };
  const into = new Uint8Array(1000);
  for (let k = 0; k < 5; k++) await ranges.read(target, 1000 * k, into);
  expect(Buffer.from(into).equals(bytes.subarray(4000, 5000))).toBe(true);
  expect(server.asked.map(({ headers }) => headers.authorization)).toEqual(["Bearer canary"]);
  expect(store.asked.map(({ path, headers }) => `${path} ${headers.authorization}`)).toEqual(
    Array(5).fill("/blob?X-Amz-Signature=canary1 undefined"),
  );
  store.faults.push(
    (asked, response) =>
      asked.path.endsWith("canary1") && refuse(403, {}, "Request has expired")(asked, response, undefined),
  );
  await ranges.read(target, 0, into);
  expect(store.asked.at(-1)?.path).toContain("canary2");
  expect(server.asked).toHaveLength(2);
});

test("a redirect to a metadata service, to another scheme, or round and round is not followed", async () => {
  const { server, ranges, target } = await begin();
  for (const location of ["http://169.254.169.254/latest", "http://[fd00:ec2::254]/", "http://[::ffff:a9fe:a9fe]/x"]) {
    server.faults.splice(0, 9, refuse(302, { location }));
    await expect(ranges.read(target, 0, new Uint8Array(1))).rejects.toMatchObject({ code: "storage/denied" });
  }
  server.faults.splice(0, 9, refuse(302, { location: "ftp://127.0.0.1/" }));
  await expect(ranges.read(targetAt(server, "/other"), 0, new Uint8Array(1))).rejects.toMatchObject({
    code: "storage/denied",
  });
  server.faults.splice(0, 9, refuse(302, { location: "/model?again" }));
  await expect(ranges.read(targetAt(server, "/round"), 0, new Uint8Array(1))).rejects.toThrow(/answers 302/);
});

test("an address that a public server led to is not private", async () => {
  const { server, ranges } = await begin();
  const address: HttpAddress = {
    url: new URL(`${server.origin}/model`),
    headers: {},
    ledFrom: new URL("https://8.8.8.8/"),
  };
  const target: HttpTarget = { place: placeOf("https://models.test/model"), address: () => address };
  for (const call of [() => ranges.read(target, 0, new Uint8Array(1)), () => ranges.begin(target, 1)])
    await expect(call()).rejects.toMatchObject({ code: "storage/denied", message: expect.stringContaining("private") });
  expect(server.asked).toHaveLength(0);
});

test("a refused address is asked for anew, once", async () => {
  const { server, ranges } = await begin();
  const addresses = ["old", "new"].map((key) => ({ url: new URL(`${server.origin}/model?key=${key}`), headers: {} }));
  const refusals: (string | undefined)[] = [];
  const target: HttpTarget = {
    place: placeOf("https://models.test/model"),
    address: (refused) => {
      refusals.push(refused?.url.search);
      return addresses[refused === undefined ? 0 : 1]!;
    },
  };
  server.faults.push((asked, response) => asked.path.endsWith("old") && refuse(403)(asked, response, undefined));
  await ranges.read(target, 0, new Uint8Array(10));
  expect(server.asked.map(({ path }) => path)).toEqual(["/model?key=old", "/model?key=new"]);
  expect(new Set(refusals)).toEqual(new Set([undefined, "?key=old"]));
});

test("no error shows a query, a key or what was signed", async () => {
  const { server, ranges } = await begin();
  const target = targetAt(server, "/model?X-Amz-Signature=canary");
  const body =
    "<Error><Code>SignatureDoesNotMatch</Code><Message>see https://h/x?sig=canary</Message><AWSAccessKeyId>canary</AWSAccessKeyId><StringToSign>canary</StringToSign></Error>";
  const faults = [
    refuse(403, {}, body),
    refuse(500, {}, body),
    refuse(302, { location: "ftp://h/?canary" }),
    refuse(404, {}, body),
  ];
  for (const fault of faults) {
    server.faults.splice(0, 1, fault);
    const error = await ranges.read(target, 0, new Uint8Array(1)).catch((error: unknown) => error as Error);
    expect(error).toBeInstanceOf(Error);
    expect(JSON.stringify([error, (error as Error).message, (error as Error).stack])).not.toContain("canary");
  }
});

test("small questions are answered whatever the status, with a limit, again where it passes", async () => {
  const { server, ranges } = await begin();
  server.put("/list", "0123456789");
  const target = targetAt(server, "/list");
  server.faults.push(times(2, refuse(503)));
  const answer = await ranges.request(target, { method: "GET", limitBytes: 10 });
  expect([answer.status, Buffer.from(answer.body).toString()]).toEqual([200, "0123456789"]);
  await expect(ranges.request(target, { method: "GET", limitBytes: 9 })).rejects.toMatchObject({
    code: "storage/too-large",
  });
  expect((await ranges.request(targetAt(server, "/none"), { method: "GET", limitBytes: 100 })).status).toBe(404);
  server.faults.push(refuse(307, { location: "/list?b" }));
  const given = await ranges.request(target, { method: "GET", limitBytes: 10, redirects: "give" });
  expect([given.status, given.headers.get("location")]).toEqual([307, "/list?b"]);
});
