import type { Json } from "../../merge/work/index.ts";

/** What shapes a merge, as the queue keeps it. */
export interface JobOptions {
  /** Of the call that submitted it: repeating the call makes no second job. */
  readonly requestId: string;
  /** Decimal. */
  readonly seed: string;
  readonly sliceBytes: number;
  readonly shardBytes: number;
  readonly allowNonfinite: boolean;
  readonly allowUnknownKeys: boolean;
  readonly allowVocabularyMismatch: boolean;
  readonly cutEmbeddings: boolean;
  readonly overwrite: boolean;
  readonly restart: boolean;
  readonly hashInputs: boolean;
  /** 0 to 1. */
  readonly auditShare: number;
  /** For messages. */
  readonly recipeName: string;
}

export function jsonOfOptions(options: JobOptions): Json {
  return { ...options };
}

/** What a record of the queue holds; it was written by this program. */
export function optionsOfJson(value: Json): JobOptions {
  return value as unknown as JobOptions;
}
