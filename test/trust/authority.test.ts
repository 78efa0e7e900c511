import { X509Certificate } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  checkAuthority,
  createRequest,
  fingerprintOf,
  identityFrom,
  issueFromCsr,
  keyDigestOf,
  parseCertificates,
  parseHost,
  renewAtMs,
  Secret,
} from "../../trust/index.ts";
import { HOUR_MS, issueFor, makeAuthority, unprovenRequest } from "./made-certificates.ts";

const worker = { role: "worker", name: "w1" } as const;
const validity = () => ({ nowMs: Date.now(), ttlMs: 24 * HOUR_MS });
const own = (chain: string) => parseCertificates(chain, "the chain")[0]!;

describe("an authority", () => {
  test("signs itself, with ECDSA of P-256, and may not make other authorities", async () => {
    const { certificate } = await makeAuthority();
    const parsed = new X509Certificate(certificate);
    expect(parsed.verify(parsed.publicKey)).toBe(true);
    expect(parsed.ca).toBe(true);
    expect(parsed.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" });
    // OpenSSL's text is the plainest second opinion; Node gives no path length.
    const der = Buffer.from(parsed.raw).toString("hex");
    expect(der).toContain("0603551d130101ff040830060101ff020100"); // basicConstraints, critical: CA, path length 0
    expect(der).toContain("0603551d0f0101ff040403020106"); // keyUsage, critical: keyCertSign, cRLSign
  });

  test("is recognised by the SHA-256 of its certificate", async () => {
    const { certificate } = await makeAuthority();
    const shown = new X509Certificate(certificate).fingerprint256.replaceAll(":", "").toLowerCase();
    expect(fingerprintOf(certificate)).toBe(shown);
  });

  test("needs its own key, and a certificate that makes it one", async () => {
    const [one, other] = [await makeAuthority(), await makeAuthority()];
    expect(() => checkAuthority(one)).not.toThrow();
    expect(() => checkAuthority({ ...one, key: other.key })).toThrow(
      "the authority's key is not that of its certificate",
    );
    const { chain, key } = await issueFor(one, worker);
    expect(() => checkAuthority({ certificate: chain, key })).toThrow("no certificate of an authority");
    expect(() => checkAuthority({ ...one, key: new Secret("KEY-CANARY") })).toThrow("the private key cannot be read");
  });
});

describe("an issued certificate", () => {
  test("is signed by the authority, which comes after it, and has the key that comes with it", async () => {
    const authority = await makeAuthority();
    const { chain, key } = await issueFor(authority, worker);
    const [leaf, root, ...more] = parseCertificates(chain, "the chain");
    expect(more).toEqual([]);
    expect(root?.raw).toEqual(new X509Certificate(authority.certificate).raw);
    expect(leaf?.verify(root!.publicKey)).toBe(true);
    expect(leaf?.ca).toBe(false);
    expect(key.reveal()).toContain("BEGIN PRIVATE KEY");
  });

  test("names hosts and addresses", async () => {
    const hosts = ["coordinator.example", "10.0.0.7", "fd00::7"];
    const leaf = own((await issueFor(await makeAuthority(), { role: "coordinator", name: "c" }, { hosts })).chain);
    for (const host of hosts) expect(leaf.checkHost(host) ?? leaf.checkIP(host)).toBe(host);
    expect(leaf.checkHost("other.example")).toBeUndefined();
  });

  test.each([
    ["worker", ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]],
    ["coordinator", ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]],
    ["submitter", ["1.3.6.1.5.5.7.3.2"]],
    ["admin", ["1.3.6.1.5.5.7.3.2"]],
  ] as const)("of a %s serves only where that role serves", async (role, usages) => {
    expect(own((await issueFor(await makeAuthority(), { role, name: "x" })).chain).keyUsage).toEqual(usages);
  });

  test("is valid from five minutes ago, for clocks that differ, and not longer than its authority", async () => {
    const authority = await makeAuthority();
    const nowMs = Math.floor(Date.now() / 1000) * 1000;
    const { chain } = await issueFor(authority, worker, { nowMs, ttlMs: HOUR_MS });
    const certified = identityFrom(own(chain), nowMs);
    expect(certified).toEqual({ ...worker, notBeforeMs: nowMs - 300_000, notAfterMs: nowMs + HOUR_MS });
    expect(renewAtMs(certified)).toBe(nowMs + (2 * HOUR_MS) / 3);
    const long = own((await issueFor(authority, worker, { ttlMs: 1e13 })).chain);
    expect(long.validTo).toBe(new X509Certificate(authority.certificate).validTo);
  });

  test("has a serial number of its own", async () => {
    const authority = await makeAuthority();
    const serials = await Promise.all(
      [1, 2, 3].map(async () => own((await issueFor(authority, worker)).chain).serialNumber),
    );
    expect(new Set(serials).size).toBe(3);
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/);
  });

  test.each(["a b", "-a", "a..b", "*.example", "10.0.0.7:7410", "", "a".repeat(64)])(
    "cannot be for the host %j",
    (host) => {
      expect(() => parseHost(host)).toThrow("is no host name and no address");
    },
  );
});

describe("a certificate request", () => {
  test("gets a certificate for its key, and for nothing else that it says", async () => {
    const authority = await makeAuthority();
    const { key, request } = await createRequest();
    const leaf = own(await issueFromCsr(authority, request, worker, validity()));
    expect(identityFrom(leaf, Date.now())).toMatchObject(worker);
    expect(leaf.subjectAltName).toBe("URI:spiffe://deltaworks/worker/w1");
    const { createPrivateKey } = await import("node:crypto");
    expect(leaf.checkPrivateKey(createPrivateKey(key.reveal()))).toBe(true);
    expect(await keyDigestOf(request)).toMatch(/^[0-9a-f]{64}$/);
    expect(await keyDigestOf(request)).not.toBe(await keyDigestOf((await createRequest()).request));
  });

  test("without proof that its sender has the key is refused", async () => {
    const refused = { code: "trust/request", message: expect.stringContaining("not signed by its own key") };
    await expect(
      issueFromCsr(await makeAuthority(), await unprovenRequest(), worker, validity()),
    ).rejects.toMatchObject(refused);
    await expect(keyDigestOf(await unprovenRequest())).rejects.toMatchObject(refused);
  });

  test.each([
    ["nothing", Buffer.alloc(0)],
    ["a text", Buffer.from("no request")],
    ["zeros", Buffer.alloc(100)],
    ["too much", Buffer.alloc(4097, 0x30)],
    ["nesting without end", Buffer.from("3080".repeat(2000), "hex")],
  ])("that holds %s is refused", async (_, request) => {
    await expect(keyDigestOf(request)).rejects.toMatchObject({ code: "trust/request" });
  });

  test("of a role or name that cannot be is refused by whoever asks for it", async () => {
    const { request } = await createRequest();
    const authority = await makeAuthority();
    for (const identity of [
      { role: "worker", name: "../w" },
      { role: "root" as "admin", name: "w" },
    ] as const)
      await expect(issueFromCsr(authority, request, identity, validity())).rejects.toMatchObject({
        code: "trust/option",
      });
  });
});
