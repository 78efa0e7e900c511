import { createHash } from "node:crypto";

/** 32 bytes that stand for a text: a name, or a secret that is not kept. */
export function sha256Of(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
