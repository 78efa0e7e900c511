import { isEmbeddingLike } from "../checkpoint/index.ts";

/** What a tensor's inputs come to when their shapes differ. methods.md, "Shape mismatch". */
export type ShapeAgreement =
  | { readonly kind: "agreed"; readonly shape: readonly number[]; readonly skipped: readonly number[] }
  /** Models, by position, that are smaller than the base's embedding. */
  | { readonly kind: "too-small"; readonly models: readonly number[] }
  | { readonly kind: "differ" };

/**
 * The common leading submatrix of embeddings; of other tensors the one shape that all have.
 * `base`: undefined where the method keeps no base apart.
 */
export function agreeOrFail(name: string, shapes: readonly (readonly number[])[]): ShapeAgreement {
  const [first = []] = shapes;
  if (shapes.every((shape) => sameShape(shape, first))) return { kind: "agreed", shape: first, skipped: [] };
  const sameRank = shapes.every((shape) => shape.length === first.length);
  if (!isEmbeddingLike(name) || !sameRank) return { kind: "differ" };
  const common = first.map((_, axis) => Math.min(...shapes.map((shape) => shape[axis] ?? 0)));
  return { kind: "agreed", shape: common, skipped: [] };
}

/** The base's shape: embeddings are cut to it, other tensors that differ are left out. `skipped`: positions in `models`. */
export function agreeWithBase(
  name: string,
  base: readonly number[],
  models: readonly (readonly number[])[],
): ShapeAgreement {
  const positions = models.map((_, i) => i);
  const differs = (i: number) => !sameShape(models[i] ?? [], base);
  if (!isEmbeddingLike(name)) return { kind: "agreed", shape: base, skipped: positions.filter(differs) };
  const sameRank = (i: number) => models[i]?.length === base.length;
  const tooSmall = positions.filter((i) => sameRank(i) && base.some((size, axis) => (models[i]?.[axis] ?? 0) < size));
  if (tooSmall.length > 0) return { kind: "too-small", models: tooSmall };
  return { kind: "agreed", shape: base, skipped: positions.filter((i) => !sameRank(i)) };
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

/** `[2000, 128]` */
export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}
