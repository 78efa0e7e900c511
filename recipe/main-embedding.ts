import { type Checkpoint, isAfterLayers, isEmbeddingLike, isTiedHead, vocabularySize } from "../checkpoint/index.ts";

/**
 * The embedding of a model's text: of several (a talker's, those of each layer) the one with the rows that the config counts, else
 * the one with the most. Where only the head that is tied to it is stored, that. Undefined where none is recognised by name.
 */
export function mainEmbedding(checkpoint: WithTensors): Embedding | undefined {
  const known = found.get(checkpoint);
  if (known !== undefined) return known.embedding;
  const embedding = findIn(checkpoint);
  found.set(checkpoint, { embedding });
  return embedding;
}

type WithTensors = Pick<Checkpoint, "config" | "tensors">;

interface Embedding {
  readonly name: string;
  readonly rows: number;
}

/** Every name is looked at to find one, and every pair of models asks. */
const found = new WeakMap<WithTensors, { readonly embedding: Embedding | undefined }>();

function findIn({ config, tensors }: WithTensors): Embedding | undefined {
  const counted = config && vocabularySize(config);
  let main: { name: string; rows: number } | undefined;
  for (const [name, { shape }] of tensors) {
    const [rows = 0] = shape;
    if (shape.length !== 2 || !isEmbeddingLike(name) || isAfterLayers(name)) continue;
    if (main === undefined || (main.rows !== counted && (rows === counted || rows > main.rows))) main = { name, rows };
  }
  if (main !== undefined || counted === undefined) return main;
  const head = [...tensors].find(([name, { shape }]) => shape.length === 2 && isTiedHead(name));
  return head && { name: head[0], rows: head[1].shape[0] ?? 0 };
}
