import { malformed } from "./errors.ts";

/** A count or size of the wire as a number: it must be exact. @throws WireError `wire/malformed` */
export function numberOf(value: bigint, what: string): number {
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER))
    throw malformed(`${what} ${value}, which is no exact number`);
  return Number(value);
}

/** 32 bytes as 64 lowercase digits. @throws WireError `wire/malformed` */
export function hexOf(sha256: Uint8Array, what: string): string {
  if (sha256.length !== 32) throw malformed(`${what} of ${sha256.length} bytes, not 32`);
  return Buffer.from(sha256.buffer, sha256.byteOffset, sha256.length).toString("hex");
}

/** The bytes of a SHA-256 in hexadecimal. */
export function bytesOfHex(sha256: string): Buffer {
  const bytes = Buffer.from(sha256, "hex");
  if (bytes.length !== 32) throw new Error(`${JSON.stringify(sha256)} is no SHA-256`);
  return bytes;
}
