import { createHash } from "node:crypto";

/** 32 bytes that stand for a name. */
export function sha256Of(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
