import { expect, test } from "vitest";
import { checkListenAddress, formatAddress, isLoopback, parseAddress } from "../../trust/index.ts";

const plain = { tls: false, insecure: false };

test.each(["127.0.0.1", "127.8.9.10", "localhost", "LOCALHOST", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"])(
  "%s is this machine alone",
  (host) => {
    expect(isLoopback(host)).toBe(true);
    expect(() => checkListenAddress(formatAddress({ host, port: 7410 }), plain)).not.toThrow();
  },
);

test.each([
  "0.0.0.0",
  "::",
  "10.0.0.7",
  "128.0.0.1",
  "coordinator",
  "localhost.example",
  "127.0.0.1.example",
  "::2",
  "1::1",
  "::ffff:10.0.0.1",
  "127.1",
])("%s without TLS is refused, unless --insecure says so", (host) => {
  const address = formatAddress({ host, port: 7410 });
  const refused = `will not listen on ${address} without TLS`;
  expect(() => checkListenAddress(address, plain)).toThrow(refused);
  expect(() => checkListenAddress(address, plain, "connect to")).toThrow(`will not connect to ${address} without TLS`);
  expect(() => checkListenAddress(address, { tls: true, insecure: false })).not.toThrow();
  expect(() => checkListenAddress(address, { tls: false, insecure: true })).not.toThrow();
});

test("an address is a host and a port, IPv6 in brackets", () => {
  expect(parseAddress("coordinator.example:7410")).toEqual({ host: "coordinator.example", port: 7410 });
  expect(parseAddress("[fd00::7]:0")).toEqual({ host: "fd00::7", port: 0 });
  expect(formatAddress({ host: "fd00::7", port: 1 })).toBe("[fd00::7]:1");
});

test.each([
  "",
  "7410",
  "host",
  "host:",
  ":7410",
  "host:65536",
  "host:-1",
  "::1:7410",
  "[host]:1",
  "http://host:1",
  "a b:1",
])("%j is no address", (text) => {
  expect(() => parseAddress(text)).toThrow("is no address");
});
