import { X509Certificate } from "node:crypto";
import { TrustError } from "./errors.ts";

/**
 * What a peer may do. worker: compute what is leased to it. submitter: submit jobs and look after them. admin: all that
 * submitters may, and join tokens. coordinator: what workers and submitters dial.
 */
const roles = ["worker", "submitter", "admin", "coordinator"] as const;

export type Role = (typeof roles)[number];

/** Who a peer is: one role and a name that is unique in it. */
export interface Identity {
  readonly role: Role;
  /** 1 to 63 of a-z, 0-9, "-", "_" and ".", the first and the last a letter or a digit. */
  readonly name: string;
}

/** An identity and the time for which a certificate vouches for it. */
export interface CertifiedIdentity extends Identity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

const PREFIX = "spiffe://deltaworks/";
const namePattern = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;

export function parseRole(text: string): Role {
  const role = roles.find((known) => known === text);
  if (role !== undefined) return role;
  throw new TrustError("trust/option", `there is no role ${JSON.stringify(text)}`, {
    hint: `Roles are ${roles.join(", ")}.`,
  });
}

export function parseName(text: string): string {
  if (namePattern.test(text)) return text;
  throw new TrustError("trust/option", `${JSON.stringify(text)} cannot be the name of a peer`, {
    hint: 'A name has 1 to 63 small letters, digits, "-", "_" and ".", and begins and ends with a letter or a digit.',
  });
}

/** The form of an identity in a certificate: `spiffe://deltaworks/worker/gpu-1`. */
export function identityUri({ role, name }: Identity): string {
  return `${PREFIX}${role}/${name}`;
}

/** @throws TrustError `trust/identity` for anything that `identityUri` would not write */
export function parseIdentityUri(uri: string): Identity {
  const [role, name, ...more] = uri.startsWith(PREFIX) ? uri.slice(PREFIX.length).split("/") : [];
  const known = roles.find((candidate) => candidate === role);
  if (known !== undefined && name !== undefined && namePattern.test(name) && more.length === 0)
    return { role: known, name };
  throw new TrustError("trust/identity", `${JSON.stringify(uri)} is no identity of deltaworks`, {
    hint: `It should be ${PREFIX}ROLE/NAME. Issue a certificate with \`deltaworks certs issue\`.`,
  });
}

/** The part of node:tls's PeerCertificate that is looked at: the certificate itself, DER. */
export interface PeerCertificate {
  readonly raw?: Uint8Array;
}

/**
 * Who the bearer of a certificate is. That a trusted authority signed it has been checked by the handshake; this reads
 * what it says, and trusts nothing but the one URI among its alternative names: not the common name, not a DNS name.
 *
 * A connection may outlive its certificate, so time is checked here too, for each call.
 * @throws TrustError `trust/no-certificate`, `trust/identity`, `trust/expired`, `trust/not-yet-valid`
 */
export function identityFrom(peer: PeerCertificate | null | undefined, nowMs: number): CertifiedIdentity {
  const certified = certifiedIdentity(peer);
  checkTime(certified, nowMs);
  return certified;
}

/** As `identityFrom`, for a call of grpc-js: its getAuthContext names a certificate only if the handshake accepted it. */
export function identityOfCall(
  call: { getAuthContext(): { readonly sslPeerCertificate?: PeerCertificate | undefined } },
  nowMs: number,
): CertifiedIdentity {
  return identityFrom(call.getAuthContext().sslPeerCertificate, nowMs);
}

/** @throws TrustError `trust/role` if the peer has none of the roles that may `action` ("submit a job") */
export function checkRole(identity: Identity, allowed: readonly Role[], action: string): void {
  if (allowed.includes(identity.role)) return;
  throw new TrustError("trust/role", `${identity.role} ${identity.name} may not ${action}`, {
    hint: `That takes a certificate with the role ${allowed.join(" or ")}.`,
  });
}

/**
 * What certificates say, by their bytes: it is asked for at every call, and reading one takes 0.1 to 0.3 ms. Time is no
 * part of it.
 */
const identities = new Map<string, CertifiedIdentity>();
const IDENTITIES_KEPT = 4096;

function certifiedIdentity(peer: PeerCertificate | null | undefined): CertifiedIdentity {
  if (peer?.raw === undefined) {
    throw new TrustError("trust/no-certificate", "the peer showed no certificate", {
      hint: "Give the command its certificate with --cert and --key.",
    });
  }
  const key = Buffer.from(peer.raw.buffer, peer.raw.byteOffset, peer.raw.byteLength).toString("latin1");
  const known = identities.get(key);
  if (known !== undefined) return known;
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(peer.raw);
  } catch (cause) {
    throw new TrustError("trust/identity", "the peer's certificate cannot be read", {
      hint: "Issue another with `deltaworks certs issue`.",
      cause,
    });
  }
  const identity = identityIn(certificate);
  if (identities.size >= IDENTITIES_KEPT) identities.clear();
  identities.set(key, identity);
  return identity;
}

/** What a certificate says, whatever the time is. @throws TrustError `trust/identity` */
export function identityIn(certificate: X509Certificate): CertifiedIdentity {
  const refuse = (why: string) =>
    new TrustError("trust/identity", `the certificate ${quotedSubject(certificate)} ${why}`, {
      hint: `Its alternative names must hold one URI, ${PREFIX}ROLE/NAME. \`deltaworks certs issue\` makes such certificates.`,
    });
  if (certificate.ca) throw refuse("is an authority's and identifies no peer");
  const uris = alternativeNames(certificate.subjectAltName ?? "").filter(({ kind }) => kind === "URI");
  const [only] = uris;
  if (only === undefined) throw refuse("names no identity");
  if (uris.length > 1) throw refuse(`names ${uris.length} identities`);
  const identity = parseIdentityUri(only.value);
  return {
    ...identity,
    notBeforeMs: Date.parse(certificate.validFrom),
    notAfterMs: Date.parse(certificate.validTo),
  };
}

/** @throws TrustError `trust/expired`, `trust/not-yet-valid` */
export function checkTime({ role, name, notBeforeMs, notAfterMs }: CertifiedIdentity, nowMs: number): void {
  // Written so that a date that cannot be read, NaN, is refused.
  if (!(nowMs >= notBeforeMs)) {
    throw new TrustError(
      "trust/not-yet-valid",
      `the certificate of ${role} ${name} is valid from ${iso(notBeforeMs)}, and now it is ${iso(nowMs)}`,
      { hint: "Compare the clocks of the two machines." },
    );
  }
  if (!(nowMs < notAfterMs)) {
    throw new TrustError(
      "trust/expired",
      `the certificate of ${role} ${name} was valid until ${iso(notAfterMs)}, and now it is ${iso(nowMs)}`,
      { hint: "Issue another with `deltaworks certs issue`, or join again with a new token." },
    );
  }
}

interface AlternativeName {
  readonly kind: string;
  readonly value: string;
}

/**
 * The text in which Node gives alternative names, "URI:spiffe://…, DNS:host". Node quotes, as JSON, every value that
 * holds a comma, a quote or another character that could be taken for structure; so names inside quotes stay inside.
 */
export function alternativeNames(text: string): AlternativeName[] {
  const names: AlternativeName[] = [];
  const pattern = /([^:,]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;
  while (pattern.lastIndex < text.length) {
    const at = pattern.lastIndex;
    const [, kind, value] = pattern.exec(text) ?? [];
    if (kind === undefined || value === undefined) {
      throw new TrustError("trust/identity", `alternative names cannot be read from character ${at} on`, {
        hint: "Issue another certificate with `deltaworks certs issue`.",
      });
    }
    names.push({ kind, value });
  }
  return names;
}

function quotedSubject(certificate: X509Certificate): string {
  return JSON.stringify(certificate.subject ?? "");
}

function iso(timeMs: number): string {
  return Number.isFinite(timeMs) ? new Date(timeMs).toISOString() : "an unreadable date";
}
