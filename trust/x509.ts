/** @peculiar/x509, which asks for metadata on Reflect before it loads, with the cryptography of Node under it. */
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

type Crypto = Parameters<typeof x509.cryptoProvider.set>[1];

// Node's type of itself is narrower than the browser's type that the library names; the object is the same.
export const crypto = webcrypto as unknown as Crypto;
x509.cryptoProvider.set(crypto);

export { x509 };

/** P-256: what every TLS stack has, small, and fast to verify. */
export const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256" };
export const SIGNING_ALGORITHM = { name: "ECDSA", hash: "SHA-256" };

export async function makeKeys() {
  return crypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
}

export type CryptoKeyOf = Awaited<ReturnType<typeof makeKeys>>["publicKey"];
