import { describe, expect, test } from "vitest";
import { alternativeNames } from "../../trust/identity.ts";
import {
  checkRole,
  type Identity,
  identityFrom,
  identityOfCall,
  identityUri,
  parseIdentityUri,
  type TrustError,
} from "../../trust/index.ts";
import { parseCertificates } from "../../trust/pem.ts";
import { HOUR_MS, issueFor, makeAuthority, oddCertificate } from "./made-certificates.ts";

const uri = (value: string) => ({ type: "url" as const, value });
const now = () => Date.now();

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return (error as TrustError).code;
  }
  return "nothing thrown";
}

describe("identityFrom", () => {
  test.each(["worker", "submitter", "admin", "coordinator"] as const)(
    "reads role %s and name from what issue made",
    async (role) => {
      const { chain } = await issueFor(await makeAuthority(), { role, name: "gpu-1.rack_2" });
      const [own] = parseCertificates(chain, "the chain");
      expect(identityFrom({ raw: own!.raw }, now())).toMatchObject({ role, name: "gpu-1.rack_2" });
    },
  );

  test("nobody without a certificate, not even through a call", () => {
    for (const peer of [undefined, null, {}])
      expect(codeOf(() => identityFrom(peer, now()))).toBe("trust/no-certificate");
    expect(codeOf(() => identityOfCall({ getAuthContext: () => ({}) }, now()))).toBe("trust/no-certificate");
  });

  test("bytes that are no certificate are refused", () => {
    expect(codeOf(() => identityFrom({ raw: Buffer.from("no certificate") }, now()))).toBe("trust/identity");
    expect(codeOf(() => identityFrom({ raw: Buffer.alloc(0) }, now()))).toBe("trust/identity");
  });

  test.each([
    ["no alternative names", { subject: "CN=worker" }],
    ["an identity in its common name only", { subject: "CN=spiffe://deltaworks/admin/me" }],
    ["only a DNS name", { names: [{ type: "dns", value: "spiffe://deltaworks/admin/me" }] }],
    ["only an e-mail address", { names: [{ type: "email", value: "admin@deltaworks" }] }],
    ["a URI of others", { names: [uri("https://deltaworks/worker/w1")] }],
    ["another trust domain", { names: [uri("spiffe://deltaworks.example/worker/w1")] }],
    ["two roles", { names: [uri("spiffe://deltaworks/worker/w1"), uri("spiffe://deltaworks/admin/w1")] }],
    [
      "the same identity twice",
      { names: [uri("spiffe://deltaworks/worker/w1"), uri("spiffe://deltaworks/worker/w1")] },
    ],
    ["a URI beside its identity", { names: [uri("spiffe://deltaworks/worker/w1"), uri("https://x")] }],
    ["an unknown role", { names: [uri("spiffe://deltaworks/root/w1")] }],
    ["a role of JavaScript", { names: [uri("spiffe://deltaworks/__proto__/w1")] }],
    ["no name", { names: [uri("spiffe://deltaworks/worker/")] }],
    ["no part for a name", { names: [uri("spiffe://deltaworks/worker")] }],
    ["a path behind its name", { names: [uri("spiffe://deltaworks/worker/w1/admin")] }],
    ["a query behind its name", { names: [uri("spiffe://deltaworks/worker/w1?role=admin")] }],
    ["capitals in its role", { names: [uri("spiffe://deltaworks/Worker/w1")] }],
    ["capitals in its name", { names: [uri("spiffe://deltaworks/worker/W1")] }],
    ["an escaped slash", { names: [uri("spiffe://deltaworks/worker/w1%2fadmin")] }],
    ["a name that climbs", { names: [uri("spiffe://deltaworks/worker/..")] }],
    ["a space", { names: [uri("spiffe://deltaworks/worker/w1 ")] }],
    ["a name of 64 characters", { names: [uri(`spiffe://deltaworks/worker/${"w".repeat(64)}`)] }],
    [
      "a comma that could hide a second",
      { names: [uri("spiffe://deltaworks/worker/w1, URI:spiffe://deltaworks/admin/w1")] },
    ],
    ["an identity inside a DNS name", { names: [{ type: "dns", value: "a, URI:spiffe://deltaworks/admin/me" }] }],
    ["rights of an authority", { ca: true, names: [uri("spiffe://deltaworks/admin/me")] }],
  ] as const)("a certificate with %s identifies nobody", async (_, odd) => {
    const certificate = await oddCertificate(odd);
    expect(codeOf(() => identityFrom(certificate, now()))).toBe("trust/identity");
  });

  test("an identity beside DNS names and addresses is found, whatever those hold", async () => {
    const names = [
      { type: "dns", value: 'a"b, URI:spiffe://deltaworks/admin/me' },
      uri("spiffe://deltaworks/worker/w1"),
      { type: "ip", value: "::1" },
      { type: "dns", value: "host" },
    ] as const;
    expect(identityFrom(await oddCertificate({ names }), now())).toMatchObject({ role: "worker", name: "w1" });
  });

  test("before and after its time a certificate identifies nobody, to the second", async () => {
    const notBefore = new Date("2030-01-01T00:00:00Z");
    const notAfter = new Date("2030-01-02T00:00:00Z");
    const certificate = await oddCertificate({ names: [uri("spiffe://deltaworks/worker/w1")], notBefore, notAfter });
    expect(codeOf(() => identityFrom(certificate, notBefore.getTime() - 1))).toBe("trust/not-yet-valid");
    expect(identityFrom(certificate, notBefore.getTime())).toMatchObject({ name: "w1" });
    expect(identityFrom(certificate, notAfter.getTime() - 1)).toMatchObject({ notAfterMs: notAfter.getTime() });
    expect(codeOf(() => identityFrom(certificate, notAfter.getTime()))).toBe("trust/expired");
    expect(codeOf(() => identityFrom(certificate, Number.NaN))).toBe("trust/not-yet-valid");
    expect(() => identityFrom(certificate, notAfter.getTime() + HOUR_MS)).toThrow(
      "the certificate of worker w1 was valid until 2030-01-02T00:00:00.000Z, and now it is 2030-01-02T01:00:00.000Z",
    );
  });
});

test("an identity and its URI are each other's reverse", () => {
  const identity: Identity = { role: "submitter", name: "anna" };
  expect(identityUri(identity)).toBe("spiffe://deltaworks/submitter/anna");
  expect(parseIdentityUri(identityUri(identity))).toEqual(identity);
});

test("a role that is not among those allowed is refused with both named", () => {
  const worker: Identity = { role: "worker", name: "w1" };
  expect(() => checkRole(worker, ["worker"], "attach")).not.toThrow();
  expect(() => checkRole(worker, ["submitter", "admin"], "submit a job")).toThrow("worker w1 may not submit a job");
});

test("alternative names that do not parse to the end are refused", () => {
  expect(alternativeNames('DNS:"a, b\\"c", URI:x:y, IP Address:0:0:0:0:0:0:0:1')).toEqual([
    { kind: "DNS", value: '"a, b\\"c"' },
    { kind: "URI", value: "x:y" },
    { kind: "IP Address", value: "0:0:0:0:0:0:0:1" },
  ]);
  for (const text of ["DNS", 'DNS:"a', 'DNS:a"b, URI:c', "DNS:a,URI:b"])
    expect(codeOf(() => alternativeNames(text))).toBe("trust/identity");
});
