import { InvalidArgumentError } from "commander";
import { parseSeed } from "../../merge/math/index.ts";

/** Options of merge and plan, as commander gives them: parsed by the functions below. */
export interface PlanningOptions {
  readonly randomSeed: string;
  readonly sliceSize: number;
  readonly shardSize: number;
  readonly allowNonfinite: boolean;
  readonly allowUnknownKeys: boolean;
  readonly allowVocabularyMismatch: boolean;
  readonly cutEmbeddings: boolean;
  readonly modelsRoot?: string | undefined;
  readonly json: boolean;
}

export const SLICE_BYTES_DEFAULT = 32 * 1024 * 1024;
export const SHARD_BYTES_DEFAULT = 5_000_000_000;

const units: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
};

/** "512MB", "1.5GiB", "65536". */
export function parseBytes(text: string): number {
  const [, digits = "", unit = ""] = /^\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const factor = units[unit.toLowerCase()];
  const bytes = Math.floor(Number(digits) * (factor ?? Number.NaN));
  if (digits !== "" && Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new InvalidArgumentError("Give a number of bytes, such as 512MB or 1.5GiB.");
}

export function parseThreads(text: string): number {
  const threads = Number(text);
  if (Number.isInteger(threads) && threads >= 1 && threads <= 256) return threads;
  throw new InvalidArgumentError("Give a whole number of threads, 1 to 256.");
}

/** Checked here, kept as text: it has 64 bits. */
export function parseSeedText(text: string): string {
  try {
    const { low, high } = parseSeed(text);
    return String((BigInt(high) << 32n) | BigInt(low));
  } catch {
    throw new InvalidArgumentError("Give a whole number from 0 to 2^64 - 1.");
  }
}
