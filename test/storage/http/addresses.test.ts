import { expect, test } from "vitest";
import { maybeProxyFor } from "../../../storage/http/proxies.ts";
import { isMetadataAddress, isPrivateAddress } from "../../../storage/http/reachable.ts";
import { MalformedAnswer, maybeContentRange, parseResponseHead } from "../../../storage/http/response-head.ts";
import { askedWaitMs } from "../../../storage/http/retry-pauses.ts";

test.each([
  ["169.254.169.254", "metadata"],
  ["169.254.170.2", "metadata"],
  ["::ffff:169.254.169.254", "metadata"],
  ["::ffff:a9fe:a9fe", "metadata"],
  ["64:ff9b::a9fe:a9fe", "metadata"],
  ["fd00:ec2::254", "metadata"],
  ["fe80::1", "metadata"],
  ["127.0.0.1", "private"],
  ["10.1.2.3", "private"],
  ["172.31.255.255", "private"],
  ["192.168.1.1", "private"],
  ["100.64.0.1", "private"],
  ["0.0.0.0", "private"],
  ["::1", "private"],
  ["::", "private"],
  ["fd12::1", "private"],
  ["::ffff:10.0.0.1", "private"],
  ["172.32.0.1", "public"],
  ["8.8.8.8", "public"],
  ["2a00:1450::1", "public"],
])("%s is a %s address", (address, kind) => {
  expect([isMetadataAddress(address), isPrivateAddress(address)]).toEqual([kind === "metadata", kind !== "public"]);
});

test.each([
  ["https://host/", {}, undefined],
  ["https://host/", { HTTPS_PROXY: "http://proxy:3128" }, "http://proxy:3128"],
  ["http://host/", { HTTPS_PROXY: "http://proxy:3128" }, undefined],
  ["http://host/", { http_proxy: "proxy:3128" }, "http://proxy:3128"],
  ["https://host/", { https_proxy: "http://small", HTTPS_PROXY: "http://large" }, "http://small"],
  ["https://host/", { HTTPS_PROXY: "http://p", NO_PROXY: "other, host" }, undefined],
  ["https://a.host/", { HTTPS_PROXY: "http://p", NO_PROXY: "host" }, undefined],
  ["https://a.host/", { HTTPS_PROXY: "http://p", NO_PROXY: ".host" }, undefined],
  ["https://a.host/", { HTTPS_PROXY: "http://p", NO_PROXY: "*.host" }, undefined],
  ["https://ahost/", { HTTPS_PROXY: "http://p", NO_PROXY: "host" }, "http://p"],
  ["https://host:8443/", { HTTPS_PROXY: "http://p", NO_PROXY: "host:443" }, "http://p"],
  ["https://host/", { HTTPS_PROXY: "http://p", NO_PROXY: "host:443" }, undefined],
  ["https://[::1]/", { HTTPS_PROXY: "http://p", NO_PROXY: "::1" }, undefined],
  ["https://[::1]:9/", { HTTPS_PROXY: "http://p", NO_PROXY: "[::1]:9" }, undefined],
  ["https://host/", { HTTPS_PROXY: "http://p", NO_PROXY: "*" }, undefined],
])("%s is reached with %o by %s", (url, environment, proxy) => {
  expect(maybeProxyFor(new URL(url), environment)).toBe(proxy);
});

test.each([
  "HTTP/2 200",
  "HTTP/1.1 200 OK\r\nname",
  "HTTP/1.1 200 OK\r\na: b\r\n c",
  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\ncontent-length: 2",
  "HTTP/1.1 200 OK\r\nbad name: x",
  "HTTP/1.1 200 OK\r\na: b\nc: d",
])("%j is no answer", (text) => {
  expect(() => parseResponseHead(text)).toThrow(MalformedAnswer);
});

test("a head is parsed: names in small letters, repeated ones joined, whether the connection stays", () => {
  const { status, headers, keepsOpen } = parseResponseHead(
    "HTTP/1.1 206 Partial\r\nA:1\r\na: 2 \r\nContent-Length: 5\r\nEmpty:",
  );
  expect([status, [...headers], keepsOpen]).toEqual([
    206,
    [
      ["a", "1, 2"],
      ["content-length", "5"],
      ["empty", ""],
    ],
    true,
  ]);
  expect(parseResponseHead("HTTP/1.1 200 OK\r\nConnection: Close").keepsOpen).toBe(false);
  expect(parseResponseHead("HTTP/1.0 200 OK").keepsOpen).toBe(false);
});

test.each([
  ["bytes 0-9/100", { firstByte: 0, lastByte: 9, totalBytes: 100 }],
  ["bytes 5-9/*", { firstByte: 5, lastByte: 9 }],
  ["bytes */100", undefined],
  ["bytes 0-9", undefined],
  ["items 0-9/100", undefined],
  [undefined, undefined],
])("Content-Range %s", (text, range) => {
  expect(maybeContentRange(text)).toEqual(range);
});

test.each([
  [{}, 0],
  [{ "retry-after": "7" }, 7000],
  [{ "retry-after": "Mon, 30 Nov 2026 00:00:09 GMT" }, 9000],
  [{ "retry-after": "Mon, 30 Nov 2020 00:00:09 GMT" }, 0],
  [{ "retry-after": "soon" }, 0],
  [{ "retry-after": "3600" }, undefined],
  [{ ratelimit: '"resolvers";r=0;t=120' }, 120_000],
  [{ ratelimit: '"resolvers";r=3;t=120' }, 0],
])("%o asks for %s ms", (headers, ms) => {
  expect(askedWaitMs(new Map(Object.entries(headers)), Date.parse("2026-11-30T00:00:00Z"))).toBe(ms);
});
