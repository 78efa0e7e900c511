import type { TensorTask } from "./tensor-task.ts";

/** Raised whenever the same recipe and inputs would give another plan or other bytes. */
export const PLAN_VERSION = 4;

/** Name of a slice, stable for a plan: "s000041". */
export type SliceId = string & { readonly __brand: "SliceId" };

/** JSON as a type: what plans, verdicts and journals are made of. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/**
 * What a merge will do, to the byte: a pure function of recipe, seed, options and input headers. Its digest is the job's name.
 * It holds nothing of the machine: no threads, memory, engine, absolute paths or times.
 */
export interface Plan {
  readonly version: number;
  /** The recipe in normal form, models by label. */
  readonly recipe: Json;
  /** Decimal, 0 to 2^64 - 1. */
  readonly seed: string;
  readonly options: PlanOptions;
  readonly inputs: readonly PlanInput[];
  /** Index into inputs: the base, or the first model; config and tokenizer come from it. */
  readonly definingInput: number;
  /** Layers of the output; undefined where models have none. */
  readonly layerCount?: number;
  /** Stacks of layers of another depth than the input's, in models of several towers. */
  readonly stacks?: readonly PlanStack[];
  /** What the output's config says otherwise of its layers than the defining input's: paths from the top, and values. */
  readonly configValues?: readonly PlanConfigValue[];
  /** Rows of the output's input embedding, where it has one. */
  readonly embeddingRows?: number;
  /** Where the output has a vocabulary of its own. */
  readonly vocabulary?: PlanVocabulary;
  /** SHA-256 (hex) of the chat template, where the recipe has one. */
  readonly chatTemplateSha256?: string;
  /** Where the output is a LoRA adapter as PEFT keeps it. */
  readonly adapter?: PlanAdapter;
  /** In output order. */
  readonly tasks: readonly TensorTask[];
  readonly shards: readonly PlanShard[];
  readonly slices: readonly Slice[];
  /** What is copied, cut or left out, and why. */
  readonly notes: readonly PlanNote[];
  /** What each model contributes. `usageOf` reads it. */
  readonly usage?: readonly PlanUsage[];
}

/**
 * How many elements the recipe's slices, modules and filters choose from a model, and how many of them are used: of the weights, or of
 * the vocabulary (embeddings, heads) where it chooses nothing else.
 */
export interface PlanUsage {
  /** The label of the model, or of model and adapter, or the name of an earlier document. */
  readonly model: string;
  readonly chosenElements: number;
  readonly usedElements: number;
  /** Elements that the recipe gives the weight 0; they are not chosen. */
  readonly zeroElements: number;
  /** Why the others are not used. */
  readonly unused: readonly UnusedTensors[];
}

export interface UnusedTensors {
  readonly reason: string;
  readonly tensors: number;
  readonly elements: number;
  /** The first of them, as the defining model would call it. */
  readonly example: string;
}

export interface PlanConfigValue {
  readonly path: readonly string[];
  readonly value: Json;
}

export interface PlanStack {
  /** Of the names of its tensors, before the number of the layer. */
  readonly prefix: string;
  readonly layerCount: number;
  /** In the defining input. */
  readonly layersBefore: number;
  /** Where its config counts them; several keys may say the same. */
  readonly configKeys: readonly (readonly string[])[];
}

/** The rows of the embeddings are those of the tasks; here is what is written about them. */
export interface PlanVocabulary {
  /** Index into inputs: whose tokenizer is the pattern of the output's. */
  readonly pattern: number;
  /** Tokens; the embeddings have `embeddingRows`, which may be more. */
  readonly size: number;
  /** SHA-256 (hex) of the tokenizer files that are written, by name. */
  readonly files: { readonly [name: string]: string };
}

/** What of the defining adapter's config is another in the output; what is missing stays as it is. */
export interface PlanAdapter {
  /** Scale 1 everywhere: alpha is the rank. */
  readonly ranks?: { readonly rank: number; readonly pattern: Readonly<Record<string, number>> };
  /** Every module by its path, where the adapters do not all say the same of their targets. */
  readonly targetModules?: readonly string[];
}

/** Options that alter bytes or their places. */
export interface PlanOptions {
  /** Most output bytes of a slice, unless a single block is larger. In layout "parts" the least, but for the last slice of a shard. */
  readonly sliceBytes: number;
  /** Most bytes of tensors in a shard, unless a single tensor is larger. */
  readonly shardBytes: number;
  readonly allowNonfinite: boolean;
  /**
   * How shards fall into slices. Absent: between blocks, so that nothing is computed twice, behind the header. "parts": at multiples of one
   * size from the first byte on, as multipart uploads want it; a block that lies across such a place is computed on both sides.
   */
  readonly layout?: "parts" | undefined;
}

export interface PlanInput {
  readonly label: string;
  readonly files: readonly PlanInputFile[];
}

export interface PlanInputFile {
  /** Relative to the model's root. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly headerSha256: string;
}

/** One output file. */
export interface PlanShard {
  readonly name: string;
  /** The header as JSON text, padded with spaces; the file begins with its length as u64. */
  readonly header: string;
  /** Where tensor data begins: 8 + length of the header. */
  readonly dataOffsetBytes: number;
  readonly sizeBytes: number;
  /** Indices into tasks, in order; each tensor follows the one before it without a gap. */
  readonly tasks: readonly number[];
}

/**
 * The unit of work: neighbouring bytes of one shard. Whole small tensors, or a range of blocks of a large one; in layout "parts" whatever
 * lies there, the shard's header too.
 */
export interface Slice {
  readonly id: SliceId;
  /** Index into shards. */
  readonly shard: number;
  /** From the start of the file. */
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  readonly parts: readonly SlicePart[];
}

export interface SlicePart {
  /** Index into tasks. */
  readonly task: number;
  /** Which of all parts of the tensor, and how many there are. */
  readonly part: number;
  readonly partCount: number;
  /** The part begins there. */
  readonly firstElement: number;
  /** Whole blocks. Less than all of the part where the slice ends within it. */
  readonly elementCount: number;
  /** Which of these elements' bytes are the slice's. Absent: all. */
  readonly kept?: { readonly skipBytes: number; readonly takeBytes: number };
}

export interface PlanNote {
  readonly tensor: string;
  readonly input?: string;
  readonly reason: string;
}

/** Bytes of the digest. Canonical: keys sorted by code unit, no spaces, numbers as JavaScript writes them, undefined left out. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}
