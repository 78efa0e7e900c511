import { isAfterLayers, isEmbeddingLike, layerCountKey, splitLayer, vocabularySize } from "./architecture.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { packedWeights } from "./packed-weights.ts";
import { scaledTensors } from "./scaled-fp8.ts";
import { isTiedHead, saysTied } from "./tied-weights.ts";
import { modalityOf } from "./towers.ts";

/** What a model is, as far as its config and the headers of its files say. */
export interface ModelFacts {
  /** "LlamaForCausalLM"; undefined where no config says so. */
  readonly architecture: string | undefined;
  readonly modelType: string | undefined;
  /** Elements of all tensors; of packed weights these are codes and scales, not parameters. */
  readonly elements: number;
  readonly tensors: number;
  readonly sizeBytes: number;
  /** Elements by dtype, most first. */
  readonly dtypes: Readonly<Record<string, number>>;
  readonly stacks: readonly StackFacts[];
  readonly vocabulary: VocabularyFacts | undefined;
  readonly experts: ExpertFacts | undefined;
  /** Who packed the weights: "GPTQ, 4 bits", "fp8 with scales"; undefined for plain values. */
  readonly quantisation: string | undefined;
}

export interface StackFacts {
  /** "model.layers" */
  readonly prefix: string;
  /** Layers that are stored. */
  readonly layers: number;
  /** What the config counts, for the only or the main stack. */
  readonly configured?: number;
}

export interface VocabularyFacts {
  /** Of the input embedding. */
  readonly rows: number;
  /** The config's vocab_size. */
  readonly configured: number | undefined;
  /** own: an output head is stored; tied: none is, and the config does not say that there should be one; none: neither. */
  readonly head: "own" | "tied" | "none";
}

export interface ExpertFacts {
  /** Of the layer that has most. */
  readonly count: number;
  /** apart: each expert has tensors of its own; together: those of a layer lie in one. */
  readonly layout: "apart" | "together";
}

export function modelFacts({ config, tensors }: Pick<Checkpoint, "config" | "tensors">): ModelFacts {
  const dtypes = new Map<string, number>();
  let [elements, sizeBytes] = [0, 0];
  for (const tensor of tensors.values()) {
    dtypes.set(tensor.dtype, (dtypes.get(tensor.dtype) ?? 0) + tensor.elementCount);
    elements += tensor.elementCount;
    sizeBytes += tensor.sizeBytes;
  }
  const [architecture] = Array.isArray(config?.architectures) ? config.architectures : [];
  return {
    architecture: textOrNothing(architecture),
    modelType: textOrNothing(config?.model_type),
    elements,
    tensors: tensors.size,
    sizeBytes,
    dtypes: Object.fromEntries([...dtypes].sort(([, a], [, b]) => b - a)),
    stacks: stacksOf({ config, tensors }),
    vocabulary: vocabularyOf({ config, tensors }),
    experts: expertsOf(tensors),
    quantisation: quantisationOf({ config, tensors }),
  };
}

type Entries = Pick<Checkpoint, "config" | "tensors">;

function stacksOf({ config, tensors }: Entries): StackFacts[] {
  const counts = new Map<string, number>();
  const numbers = new Map<string, Set<number>>();
  for (const name of tensors.keys()) {
    const split = splitLayer(name);
    if (split === undefined) continue;
    counts.set(split.prefix, Math.max(counts.get(split.prefix) ?? 0, split.layer + 1));
    numbers.set(split.prefix, (numbers.get(split.prefix) ?? new Set()).add(split.layer));
  }
  // Linear modules with activations between them (`merger.mlp.0`, `merger.mlp.2`) are no layers.
  for (const [prefix, stored] of numbers)
    if (modalityOf(prefix) === "projector" && stored.size < (counts.get(prefix) ?? 0)) counts.delete(prefix);
  const configured = config && layerCountKey(config)?.count;
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  return [...counts].map(([prefix, layers]) => ({
    prefix,
    layers,
    ...(configured !== undefined && prefix === most?.[0] && { configured }),
  }));
}

function vocabularyOf({ config, tensors }: Entries): VocabularyFacts | undefined {
  const matrices = [...tensors.values()].filter(({ name, shape }) => shape.length === 2 && isEmbeddingLike(name));
  const stored = matrices.find(({ name }) => !isAfterLayers(name));
  // Of two that are one parameter the head may be what is stored.
  const embedding = stored ?? (saysTied(config) === true ? matrices.find(({ name }) => isTiedHead(name)) : undefined);
  if (embedding === undefined) return undefined;
  const hasHead = stored !== undefined && matrices.some(({ name }) => isAfterLayers(name));
  const says = config && [config, ...Object.values(config)].map(tiesOf).find((tied) => tied !== undefined);
  return {
    rows: embedding.shape[0] ?? 0,
    configured: config && vocabularySize(config),
    head: hasHead ? "own" : says === false ? "none" : "tied",
  };
}

function tiesOf(part: unknown): boolean | undefined {
  if (typeof part !== "object" || part === null || !Object.hasOwn(part, "tie_word_embeddings")) return undefined;
  return (part as { tie_word_embeddings: unknown }).tie_word_embeddings === true;
}

function expertsOf(tensors: Checkpoint["tensors"]): ExpertFacts | undefined {
  let [apart, together] = [0, 0];
  for (const { name, shape } of tensors.values()) {
    const number = /\.experts\.(\d+)\./.exec(name)?.[1];
    if (number !== undefined) apart = Math.max(apart, Number(number) + 1);
    else if (/\.(?:experts|block_sparse_moe)\.[^.]+(?:\.weight)?$/.test(name) && shape.length === 3)
      together = Math.max(together, shape[0] ?? 0);
  }
  if (apart > 0) return { count: apart, layout: "apart" };
  return together > 0 ? { count: together, layout: "together" } : undefined;
}

function quantisationOf(entries: Entries): string | undefined {
  const packed = packedWeights(entries);
  if (packed !== undefined) return packed.kind;
  return scaledTensors(entries, "", { packed: "leave" }).size > 0 ? "fp8 with scales" : undefined;
}

function textOrNothing(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
