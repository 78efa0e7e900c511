import { createHash, createPrivateKey, randomBytes, type X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { TrustError } from "./errors.ts";
import { type CertifiedIdentity, type Identity, identityUri, parseName, parseRole } from "./identity.ts";
import { parseCertificates } from "./pem.ts";
import { Secret } from "./secrets/index.ts";
import type { CryptoKeyOf } from "./x509.ts";

// ./x509.ts, which takes a third of a second to load, is loaded by whoever issues or asks for a certificate: workers and
// submitters that have one start without it.

const DAY_MS = 86_400_000;
/** A development authority lives ten years. */
const AUTHORITY_MS = 3650 * DAY_MS;
/** What joins with a token renews by itself and may be gone tomorrow. */
export const JOINED_MS = DAY_MS;
/** Clocks of two machines differ a little: a new certificate is valid on both. */
const CLOCK_SKEW_MS = 5 * 60_000;
/** Of a certificate request: with a key of P-256 it takes 250 bytes. */
export const REQUEST_BYTES_LIMIT = 4096;

/** A certificate authority whose key is at hand. */
export interface Authority {
  /** PEM. */
  readonly certificate: string;
  readonly key: Secret;
}

/** A certificate with its authority's after it, so that a peer that knows only a fingerprint can find it, and its key. */
export interface Issued {
  /** PEM: the certificate, then the authority's. */
  readonly chain: string;
  /** PKCS #8, PEM. */
  readonly key: Secret;
}

export interface Validity {
  readonly nowMs: number;
  readonly ttlMs: number;
}

/** A new authority: ECDSA P-256, self-signed, of which no other authority may be made (path length 0). */
export async function createAuthority(nowMs: number, ttlMs = AUTHORITY_MS): Promise<Authority> {
  const { makeKeys, SIGNING_ALGORITHM, x509 } = await import("./x509.ts");
  const keys = await makeKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerialNumber(),
    name: "CN=deltaworks authority",
    notBefore: new Date(nowMs - CLOCK_SKEW_MS),
    notAfter: new Date(nowMs + ttlMs),
    signingAlgorithm: SIGNING_ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: pemOf(certificate), key: await pemOfKey(keys.privateKey) };
}

/** @throws TrustError `trust/pem`, `trust/key-mismatch`, `trust/no-authority` */
export function checkAuthority({ certificate, key }: Authority): void {
  const [own, ...more] = parseCertificates(certificate, "the authority's certificate");
  if (own === undefined || more.length > 0 || !own.ca) {
    throw new TrustError(
      "trust/no-authority",
      "the file of the authority holds no certificate of an authority, or several",
      {
        hint: "Give the ca.pem that `deltaworks certs init` made.",
      },
    );
  }
  if (!keyBelongsTo(own, key)) {
    throw new TrustError("trust/key-mismatch", "the authority's key is not that of its certificate", {
      hint: "ca.pem and ca-key.pem must come from the same `deltaworks certs init`.",
    });
  }
}

/**
 * The authority whose key this is, among the certificates of a PEM text, as peers are given them.
 * @throws TrustError `trust/no-authority`, `trust/pem`
 */
export function authorityOf(certificates: string, key: Secret): Authority {
  const own = parseCertificates(certificates, "the authorities' certificates").find((each) => keyBelongsTo(each, key));
  if (own === undefined) {
    throw new TrustError("trust/no-authority", "the authority's key is that of none of the authorities given", {
      hint: "--ca-key must be the key of one of the certificates in --ca.",
    });
  }
  const authority = { certificate: own.toString(), key };
  checkAuthority(authority);
  return authority;
}

/** A key and a certificate for it. `hosts`: names and addresses under which a coordinator, or a worker that listens, is dialed. */
export async function issue(
  authority: Authority,
  identity: Identity,
  options: Validity & { readonly hosts: readonly string[] },
): Promise<Issued> {
  const { makeKeys } = await import("./x509.ts");
  const keys = await makeKeys();
  const chain = await sign(authority, keys.publicKey, identity, options);
  return { chain, key: await pemOfKey(keys.privateKey) };
}

/**
 * A certificate for the key of a request (PKCS #10, DER), which proves that its sender has the key. Of the request
 * nothing else is used: who the bearer will be, the caller says.
 * @returns PEM: the certificate, then the authority's
 * @throws TrustError `trust/request`
 */
export async function issueFromCsr(
  authority: Authority,
  request: Uint8Array,
  identity: Identity,
  validity: Validity,
): Promise<string> {
  const publicKey = await provenKey(request);
  return sign(authority, publicKey, identity, { ...validity, hosts: [] });
}

/** SHA-256 of the public key in a request, hex, once the request has proved that its sender has the key. */
export async function keyDigestOf(request: Uint8Array): Promise<string> {
  const { crypto } = await import("./x509.ts");
  const key = await provenKey(request);
  return createHash("sha256")
    .update(new Uint8Array(await crypto.subtle.exportKey("spki", key)))
    .digest("hex");
}

/** A new key, and the request (PKCS #10, DER) that asks for a certificate for it. */
export async function createRequest(): Promise<{ readonly key: Secret; readonly request: Uint8Array }> {
  const { makeKeys, SIGNING_ALGORITHM, x509 } = await import("./x509.ts");
  const keys = await makeKeys();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm: SIGNING_ALGORITHM });
  return { key: await pemOfKey(keys.privateKey), request: new Uint8Array(request.rawData) };
}

/** SHA-256 of an authority's certificate, hex: what `--ca-sha256` takes. */
export function fingerprintOf(certificate: string): string {
  const [first] = parseCertificates(certificate, "the authority's certificate");
  return createHash("sha256")
    .update(first?.raw ?? "")
    .digest("hex");
}

/** When a certificate should be replaced: when a third of the time for which it was given is left. */
export function renewAtMs({ notBeforeMs, notAfterMs }: CertifiedIdentity): number {
  const backDated = notAfterMs - notBeforeMs;
  // Others may not date certificates back as we do; theirs live long.
  const givenMs = backDated > CLOCK_SKEW_MS ? backDated - CLOCK_SKEW_MS : backDated;
  return notAfterMs - Math.ceil(givenMs / 3);
}

export function keyBelongsTo(certificate: X509Certificate, key: Secret): boolean {
  try {
    return certificate.checkPrivateKey(createPrivateKey(key.reveal()));
  } catch (cause) {
    // The cause is left out on purpose: it may quote what it could not read.
    const reason = cause instanceof Error && "code" in cause ? ` (${String(cause.code)})` : "";
    throw new TrustError("trust/pem", `the private key cannot be read${reason}`, {
      hint: "It should be PEM, without a passphrase, as `deltaworks certs issue` writes it.",
    });
  }
}

async function sign(
  authority: Authority,
  publicKey: CryptoKeyOf,
  identity: Identity,
  { nowMs, ttlMs, hosts }: Validity & { readonly hosts: readonly string[] },
): Promise<string> {
  const { SIGNING_ALGORITHM, x509 } = await import("./x509.ts");
  const [own] = parseCertificates(authority.certificate, "the authority's certificate");
  const issuer = new x509.X509Certificate(authority.certificate);
  const endMs = Date.parse(own?.validTo ?? "");
  if (!(nowMs < endMs)) {
    throw new TrustError("trust/expired", `the authority was valid until ${new Date(endMs).toISOString()}`, {
      hint: "Make another with `deltaworks certs init`, and issue all certificates anew.",
    });
  }
  const { role, name } = { role: parseRole(identity.role), name: parseName(identity.name) };
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
  // Coordinators are dialed, and so are workers that listen; coordinators dial those.
  const serves = role === "coordinator" || role === "worker";
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerialNumber(),
    subject: [{ O: [role] }, { CN: [name] }],
    issuer: issuer.subjectName,
    notBefore: new Date(nowMs - CLOCK_SKEW_MS),
    notAfter: new Date(Math.min(nowMs + ttlMs, endMs)),
    signingAlgorithm: SIGNING_ALGORITHM,
    publicKey,
    signingKey: await importedKey(authority.key),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(serves ? [serverAuth, clientAuth] : [clientAuth]),
      new x509.SubjectAlternativeNameExtension([
        { type: "url", value: identityUri({ role, name }) },
        ...hosts.map((host) => ({
          type: isIP(host) === 0 ? ("dns" as const) : ("ip" as const),
          value: parseHost(host),
        })),
      ]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  return pemOf(certificate) + pemOf(issuer);
}

/** A name for DNS, or an address. @throws TrustError `trust/option` */
export function parseHost(text: string): string {
  if (
    isIP(text) !== 0 ||
    /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i.test(text)
  )
    return text;
  throw new TrustError("trust/option", `${JSON.stringify(text)} is no host name and no address`, {
    hint: "Give names and addresses under which the machine is dialed, separated by commas, without ports.",
  });
}

async function provenKey(request: Uint8Array): Promise<CryptoKeyOf> {
  const { KEY_ALGORITHM, x509 } = await import("./x509.ts");
  const refuse = (why: string, cause?: unknown) =>
    new TrustError("trust/request", `the certificate request ${why}`, {
      hint: "Start the worker again: it makes a new request. Both ends should have the same version.",
      cause,
    });
  if (request.length > REQUEST_BYTES_LIMIT)
    throw refuse(`has ${request.length} bytes, at most ${REQUEST_BYTES_LIMIT} are allowed`);
  let key: CryptoKeyOf;
  let proven: boolean;
  try {
    const parsed = new x509.Pkcs10CertificateRequest(new Uint8Array(request), {
      berOptions: { maxDepth: 32, maxNodes: 1000 },
    });
    key = await parsed.publicKey.export(KEY_ALGORITHM, ["verify"]);
    proven = await parsed.verify();
  } catch (cause) {
    throw refuse("cannot be read, or its key is not of P-256", cause);
  }
  if (!proven) throw refuse("is not signed by its own key");
  return key;
}

async function importedKey(key: Secret): Promise<CryptoKeyOf> {
  const { crypto, KEY_ALGORITHM } = await import("./x509.ts");
  try {
    const der = createPrivateKey(key.reveal()).export({ type: "pkcs8", format: "der" });
    return await crypto.subtle.importKey("pkcs8", new Uint8Array(der), KEY_ALGORITHM, false, ["sign"]);
  } catch {
    throw new TrustError("trust/pem", "the authority's private key cannot be read, or is not of P-256", {
      hint: "Give the ca-key.pem that `deltaworks certs init` made.",
    });
  }
}

async function pemOfKey(key: CryptoKeyOf): Promise<Secret> {
  const { crypto } = await import("./x509.ts");
  const base64 = Buffer.from(await crypto.subtle.exportKey("pkcs8", key)).toString("base64");
  const lines = base64.match(/.{1,64}/g) ?? [];
  return new Secret(`-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`);
}

function pemOf(certificate: { toString(format: "pem"): string }): string {
  return `${certificate.toString("pem")}\n`;
}

/** 127 random bits: positive, and never twice. */
function newSerialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}
