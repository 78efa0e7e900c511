/** Authorities and certificates for tests, and certificates as no authority of ours would make them. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { placeOf } from "../../storage/index.ts";
import type { Authority, Identity, Issued, TrustFiles } from "../../trust/index.ts";
import { createAuthority, issue } from "../../trust/index.ts";
import { crypto, makeKeys, SIGNING_ALGORITHM, x509 } from "../../trust/x509.ts";

export const HOUR_MS = 3_600_000;

export async function makeAuthority(): Promise<Authority> {
  return createAuthority(Date.now());
}

export function issueFor(
  authority: Authority,
  identity: Identity,
  more: { readonly nowMs?: number; readonly ttlMs?: number; readonly hosts?: readonly string[] } = {},
): Promise<Issued> {
  return issue(authority, identity, { nowMs: Date.now(), ttlMs: HOUR_MS, hosts: ["127.0.0.1", "localhost"], ...more });
}

export function writeFiles(folder: string, name: string, authority: Authority, { chain, key }: Issued): TrustFiles {
  const files = {
    certificate: placeOf(join(folder, `${name}.pem`)),
    key: placeOf(join(folder, `${name}-key.pem`)),
    authority: placeOf(join(folder, `${name}-ca.pem`)),
  };
  writeFileSync(files.certificate, chain);
  writeFileSync(files.key, key.reveal());
  writeFileSync(files.authority, authority.certificate);
  return files;
}

export interface OddCertificate {
  readonly subject?: string;
  readonly names?: readonly { readonly type: "url" | "dns" | "ip" | "email"; readonly value: string }[];
  readonly ca?: boolean;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** Self-signed: whether somebody trusted signed it is for the handshake to say, what it says for identityFrom. DER. */
export async function oddCertificate(odd: OddCertificate): Promise<{ readonly raw: Buffer }> {
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  const { subject = "CN=odd", names, ca = false } = odd;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: `4${randomBytes(8).toString("hex").slice(1)}`,
    name: subject,
    notBefore: odd.notBefore ?? new Date(Date.now() - HOUR_MS),
    notAfter: odd.notAfter ?? new Date(Date.now() + HOUR_MS),
    signingAlgorithm: SIGNING_ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(ca, undefined, true),
      ...(names === undefined ? [] : [new x509.SubjectAlternativeNameExtension([...names])]),
    ],
  });
  return { raw: Buffer.from(certificate.rawData) };
}

/** A request whose signature is that of another key: its sender cannot show that the key is its own. DER. */
export async function unprovenRequest(): Promise<Uint8Array> {
  const own = await makeKeys();
  const other = await makeKeys();
  const keys = { publicKey: own.publicKey, privateKey: other.privateKey };
  const request = await x509.Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm: SIGNING_ALGORITHM });
  return new Uint8Array(request.rawData);
}
