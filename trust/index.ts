export {
  type Authority,
  authorityOf,
  checkAuthority,
  createAuthority,
  createRequest,
  fingerprintOf,
  type Issued,
  issue,
  issueFromCsr,
  JOINED_MS,
  keyDigestOf,
  parseHost,
  REQUEST_BYTES_LIMIT,
  renewAtMs,
  type Validity,
} from "./authority.ts";
export {
  CertificateStore,
  type Credentials,
  loadCredentials,
  type TrustFiles,
  type WatchOptions,
} from "./certificate-store.ts";
export {
  channelCredentials,
  channelOptions,
  type ExpectedPeer,
  joinCredentials,
  serverCredentials,
} from "./credentials.ts";
export { type TrustCode, TrustError } from "./errors.ts";
export { findAuthority, parseFingerprint } from "./find-authority.ts";
export {
  type CertifiedIdentity,
  checkRole,
  type Identity,
  identityFrom,
  identityIn,
  identityOfCall,
  identityUri,
  type PeerCertificate,
  parseIdentityUri,
  parseName,
  parseRole,
  type Role,
} from "./identity.ts";
export { type Address, checkListenAddress, formatAddress, isLoopback, parseAddress } from "./listen-address.ts";
export { PEM_BYTES_LIMIT, parseCertificates } from "./pem.ts";
export { redact, Secret } from "./secrets/index.ts";
export { sha256Of } from "./sha256-of.ts";
export { TokenBook, type TokenRecord, type TokenWish } from "./token-book.ts";
export { TokenFile } from "./token-file.ts";
