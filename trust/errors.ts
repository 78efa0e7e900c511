import { CodedError } from "../errors/index.ts";

/** Every code a TrustError may carry. docs/errors.md explains each. */
export const trustCodes = [
  "trust/option",
  "trust/exists",
  "trust/pem",
  "trust/no-authority",
  "trust/key-mismatch",
  "trust/wrong-authority",
  "trust/expired",
  "trust/not-yet-valid",
  "trust/no-certificate",
  "trust/identity",
  "trust/role",
  "trust/request",
  "trust/fingerprint",
  "trust/unreachable",
  "trust/token",
  "trust/token-expired",
  "trust/token-used",
  "trust/token-book",
  "trust/plaintext-address",
] as const;

export type TrustCode = (typeof trustCodes)[number];

/** Its message and hint name certificates, roles and files; never a key or a token. */
export class TrustError extends CodedError<TrustCode> {}
