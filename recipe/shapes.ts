import { isEmbeddingLike } from "../checkpoint/index.ts";

/** What a tensor's inputs come to when their shapes differ. docs/spec/methods.md, "Shape mismatch". */
export type ShapeAgreement =
  | { readonly kind: "agreed"; readonly shape: readonly number[]; readonly skipped: readonly number[] }
  /** Embeddings that differ in their rows alone: vocabularies of different sizes. */
  | { readonly kind: "rows-differ" }
  | { readonly kind: "differ" };

/** The one shape that all have. `cutsRows`: of embeddings that differ in their rows alone, the rows that all have. */
export function agreeOrFail(
  name: string,
  shapes: readonly (readonly number[])[],
  { cutsRows }: { readonly cutsRows: boolean },
): ShapeAgreement {
  const [first = []] = shapes;
  if (shapes.every((shape) => sameShape(shape, first))) return { kind: "agreed", shape: first, skipped: [] };
  const [, ...width] = first;
  const isOfRows = shapes.every((shape) => shape.length === first.length && sameShape(shape.slice(1), width));
  if (!isEmbeddingLike(name) || !isOfRows || first.length === 0) return { kind: "differ" };
  if (!cutsRows) return { kind: "rows-differ" };
  const rows = Math.min(...shapes.map((shape) => shape[0] ?? 0));
  return { kind: "agreed", shape: [rows, ...width], skipped: [] };
}

/** As agreeOrFail for embeddings; other tensors have the base's shape, and what differs is left out. `skipped`: positions in `models`. */
export function agreeWithBase(
  name: string,
  base: readonly number[],
  models: readonly (readonly number[])[],
  options: { readonly cutsRows: boolean },
): ShapeAgreement {
  if (isEmbeddingLike(name)) return agreeOrFail(name, [base, ...models], options);
  const skipped = models.flatMap((shape, i) => (sameShape(shape, base) ? [] : [i]));
  return { kind: "agreed", shape: base, skipped };
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

/** `[2000, 128]` */
export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}
