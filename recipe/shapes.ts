import { isEmbeddingLike } from "../checkpoint/index.ts";

/** What a tensor's inputs come to when their shapes differ. methods.md, "Shape mismatch". */
export type ShapeAgreement =
  | { readonly kind: "agreed"; readonly shape: readonly number[]; readonly skipped: readonly number[] }
  /** Models, by position, that are smaller than the base's embedding. */
  | { readonly kind: "too-small"; readonly models: readonly number[] }
  | { readonly kind: "differ" };

/**
 * The rows that all embeddings have, where their rows are of one length; of other tensors the one shape that all have. Columns are the
 * hidden size: models of unlike size do not fit, and are never cut to fit.
 */
export function agreeOrFail(name: string, shapes: readonly (readonly number[])[]): ShapeAgreement {
  const [first = []] = shapes;
  if (shapes.every((shape) => sameShape(shape, first))) return { kind: "agreed", shape: first, skipped: [] };
  if (!isEmbeddingLike(name) || !shapes.every((shape) => sameRowLength(shape, first))) return { kind: "differ" };
  const rows = Math.min(...shapes.map(([count = 0]) => count));
  return { kind: "agreed", shape: [rows, ...first.slice(1)], skipped: [] };
}

/**
 * The base's shape: the rows of embeddings are cut to it, other tensors that differ are left out. `skipped`: positions in `models`.
 */
export function agreeWithBase(
  name: string,
  base: readonly number[],
  models: readonly (readonly number[])[],
): ShapeAgreement {
  const positions = models.map((_, i) => i);
  const differs = (i: number) => !sameShape(models[i] ?? [], base);
  if (!isEmbeddingLike(name)) return { kind: "agreed", shape: base, skipped: positions.filter(differs) };
  if (!models.every((shape) => sameRowLength(shape, base))) return { kind: "differ" };
  const tooSmall = positions.filter((i) => (models[i]?.[0] ?? 0) < (base[0] ?? 0));
  if (tooSmall.length > 0) return { kind: "too-small", models: tooSmall };
  return { kind: "agreed", shape: base, skipped: [] };
}

/** Whether two tensors differ in nothing but the number of their rows. */
function sameRowLength(a: readonly number[], b: readonly number[]): boolean {
  return a.length > 0 && sameShape(a.slice(1), b.slice(1)) && a.length === b.length;
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

/** `[2000, 128]` */
export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}
