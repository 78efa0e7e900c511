import { CodedError, type Explanations } from "../errors/index.ts";

/** Every code a TrustError may carry. docs/errors.md is made of this. */
export const trustCodes = {
  "trust/option": {
    means: "A role, name, host, address, time or fingerprint that cannot be one.",
    advice: "The hint says how it is written.",
  },
  "trust/exists": {
    means: "A file is there already that a new certificate or key would replace.",
    advice:
      "Choose another folder or name, or remove the old files. Certificates of a replaced authority are believed by nobody.",
  },
  "trust/pem": {
    means: "A file of certificates or a key cannot be read.",
    advice: "Give PEM, keys without a passphrase.",
  },
  "trust/no-authority": {
    means: "What should be the authority's certificate is not one.",
    advice: "Give the `ca.pem` that `deltaworks certs init` made.",
  },
  "trust/key-mismatch": {
    means: "Key and certificate do not belong together.",
    advice: "Give the two files that were made together. While files are being replaced this passes by itself.",
  },
  "trust/wrong-authority": {
    means: "The certificate was not issued by the authority given.",
    advice: "Give the `ca.pem` of the authority that issued it.",
  },
  "trust/expired": {
    means: "A certificate's time is over.",
    advice: "Issue another; a worker may join again with a new token.",
  },
  "trust/not-yet-valid": {
    means: "A certificate's time has not begun.",
    advice: "Compare the clocks of the machines.",
  },
  "trust/no-certificate": {
    means: "The peer showed no certificate where one is needed.",
    advice: "Give `--cert` and `--key`.",
  },
  "trust/identity": {
    means: "A certificate does not say who its bearer is, or says it twice.",
    advice:
      "Its alternative names must hold one URI, `spiffe://deltaworks/ROLE/NAME`; `deltaworks certs issue` makes it so.",
  },
  "trust/role": {
    means: "The peer's role may not do this.",
    advice: "Use a certificate with one of the roles that are named.",
  },
  "trust/request": {
    means: "A certificate request is damaged, or its sender did not prove to have the key.",
    advice: "Start the worker again; use the same version on both ends.",
  },
  "trust/fingerprint": {
    means: "The server shows no authority with the fingerprint given.",
    advice:
      "Compare with `deltaworks certs show ca.pem` on the coordinator. If that is right, somebody else answers at this address.",
  },
  "trust/unreachable": {
    means: "Nothing at the join address speaks TLS.",
    advice: "Check address and coordinator; it is tried again.",
  },
  "trust/token": {
    means: "The join token is not known.",
    advice: "Make a new one, copy all of it.",
  },
  "trust/token-expired": {
    means: "The join token's time is over.",
    advice: "Make a new one; `--ttl` says how long it lives.",
  },
  "trust/token-used": {
    means: "The join token was used by another.",
    advice: "A token is good for one worker. If that was not yours, find out whose.",
  },
  "trust/token-book": {
    means: "The coordinator's file of tokens is damaged, or full.",
    advice: "Remove it and make new tokens; certificates stay good.",
  },
  "trust/plaintext-address": {
    means: "Listening on, or connecting to, another machine without TLS.",
    advice: "Give `--cert`, `--key` and `--ca`, or say `--insecure` if the network itself is safe.",
  },
} satisfies Explanations<"trust">;

export type TrustCode = keyof typeof trustCodes;

/** Its message and hint name certificates, roles and files; never a key or a token. */
export class TrustError extends CodedError<TrustCode> {}
