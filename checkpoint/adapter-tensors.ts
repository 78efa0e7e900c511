import { unsupported } from "./adapter-config.ts";
import type { TensorEntry } from "./checkpoint.ts";
import { isFloatDtype } from "./dtype.ts";
import { CheckpointError, quoted } from "./errors.ts";

/** A and B of one module. */
export interface LoraPair {
  readonly a: TensorEntry;
  readonly b: TensorEntry;
  /** Of an embedding, to which (B A) transposed is added. */
  readonly isEmbedding?: true;
  /** DoRA: what the length of each row of the sum is made. */
  readonly magnitudes?: TensorEntry;
}

export interface AdapterTensors {
  /** By the module's path in the base model. */
  readonly pairs: ReadonlyMap<string, LoraPair>;
  /** Tensors that take the place of the base's (modules_to_save, trained biases), by the name they have in the base. */
  readonly saved: ReadonlyMap<string, TensorEntry>;
  /** Trained rows of an embedding, by its module's path; which rows they are, the config says. */
  readonly tokenRows: ReadonlyMap<string, TensorEntry>;
}

/** PEFT puts the model two levels down. */
const prefix = "base_model.model.";
const factorName = /^(.+)\.lora_([AB])(?:\.[^.]+)?\.weight$/;
const embeddingFactorName = /^(.+)\.lora_embedding_([AB])(?:\.[^.]+)?$/;
const magnitudeName = /^(.+)\.lora_magnitude_vector(?:\.[^.]+)?(?:\.weight)?$/;
/** Despite their name they are rows, and no differences. */
const tokenRowsName = /^(.+)\.token_adapter\.trainable_tokens_delta(?:\.[^.]+)?$/;
/** What else PEFT calls parts of adapters, and what they are. */
const otherParts: readonly (readonly [RegExp, string])[] = [
  [/\.lora_[AB](?:\.[^.]+)?\.bias$/, "a bias in A or B"],
  [/\.lora_[a-zA-Z_]+(?:\.|$)/, "parts beside A and B"],
  [/\.trainable_tokens\w*(?:\.|$)/, "trained rows of the embedding in a form of their own"],
  [/\.(?:ia3_|hada_|lokr_|oft_|vera_|boft_|hra_|fourierft_|ln_tuning_)/, "adapters that are no LoRA"],
];
const kohyaName = /\.lora_(?:down|up)\.weight$|\.alpha$|^lora_(?:unet|te\d?)_/;

/**
 * Which tensors of an adapter's file are factors, and which take the place of the base's. Names as PEFT writes them, with or without
 * the adapter's own name after lora_A and lora_B.
 * @throws CheckpointError `checkpoint/adapter-unsupported`, `checkpoint/adapter-tensor`
 */
export function sortAdapterTensors(tensors: ReadonlyMap<string, TensorEntry>, label: string): AdapterTensors {
  const halves = new Map<string, Halves>();
  const magnitudes = new Map<string, TensorEntry>();
  const saved = new Map<string, TensorEntry>();
  const tokenRows = new Map<string, TensorEntry>();
  for (const [name, entry] of tensors) {
    if (kohyaName.test(name)) throw unsupported(label, `it holds ${quoted(name)}`, "adapters not written by PEFT");
    const own = name.startsWith(prefix) ? name.slice(prefix.length) : name;
    const ofEmbedding = embeddingFactorName.exec(own);
    const factor = ofEmbedding ?? factorName.exec(own);
    if (factor !== null) {
      const [, module = "", which] = factor;
      addHalf(halves, module, which === "A" ? "a" : "b", entry, label);
      if (ofEmbedding !== null) halves.set(module, { ...halves.get(module), isEmbedding: true });
      continue;
    }
    const [, ofRows] = magnitudeName.exec(own) ?? [];
    if (ofRows !== undefined) {
      magnitudes.set(ofRows, entry);
      continue;
    }
    const [, embedding] = tokenRowsName.exec(own) ?? [];
    if (embedding !== undefined) {
      tokenRows.set(embedding, entry);
      continue;
    }
    for (const [part, what] of otherParts) {
      if (part.test(`.${own}`)) throw unsupported(label, `it holds ${quoted(name)}`, what);
    }
    saved.set(baseName(own), entry);
  }
  const pairs = new Map<string, LoraPair>();
  for (const [module, { a, b, isEmbedding }] of halves) {
    if (a === undefined || b === undefined) {
      throw odd(label, `module ${quoted(module)} has lora_${a === undefined ? "B" : "A"} only`);
    }
    const ofRows = magnitudes.get(module);
    magnitudes.delete(module);
    pairs.set(module, { a, b, ...(isEmbedding && { isEmbedding }), ...(ofRows && { magnitudes: ofRows }) });
  }
  const [alone] = magnitudes.values();
  if (alone !== undefined) throw odd(label, `${quoted(alone.name)} stands in it without A and B`);
  if (pairs.size === 0) throw odd(label, "it holds no lora_A and lora_B");
  return { pairs, saved, tokenRows };
}

/** The path in the base model, as the adapter's own files call it, of the module that a pair adapts. */
export function moduleOf({ a }: LoraPair): string {
  const own = a.name.startsWith(prefix) ? a.name.slice(prefix.length) : a.name;
  return (embeddingFactorName.exec(own) ?? factorName.exec(own))?.[1] ?? own;
}

interface Halves {
  a?: TensorEntry;
  b?: TensorEntry;
  isEmbedding?: true;
}

function addHalf(
  halves: Map<string, Halves>,
  module: string,
  which: "a" | "b",
  entry: TensorEntry,
  label: string,
): void {
  const half = halves.get(module) ?? {};
  if (half[which] !== undefined) {
    throw odd(label, `module ${quoted(module)} has several lora_${which.toUpperCase()}: several adapters in one file`);
  }
  if (!isFloatDtype(entry.dtype)) throw odd(label, `${quoted(entry.name)} is ${entry.dtype}, no floating point`);
  half[which] = entry;
  halves.set(module, half);
}

/** A saved module wraps its tensors in names of PEFT's own. */
function baseName(own: string): string {
  return own
    .replace(/\.modules_to_save(?:\.[^.]+)?(?=\.[^.]+$)/, "")
    .replace(/\.token_adapter(?=\.base_layer\.)/, "")
    .replace(/\.(?:original_module|base_layer)(?=\.)/, "");
}

function odd(label: string, found: string): CheckpointError {
  return new CheckpointError("checkpoint/adapter-tensor", `${label}: ${found}`, {
    hint: "The file was not written by PEFT as one LoRA adapter, or is damaged: get it again.",
  });
}
