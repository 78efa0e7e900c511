import { haveSameBytes } from "../checkpoint/index.ts";
import type { Fault, IntegerCopy } from "../recipe/index.ts";
import { inParallel, type Source } from "../storage/index.ts";
import { CALLS_AT_ONCE } from "./bounds.ts";

/**
 * A warning for each model whose integer tensors are others than those that are copied. Of each tensor 64 KiB at most are compared.
 * `file`: the recipe's name. @throws StorageError
 */
export async function differingIntegers(store: Source, copies: readonly IntegerCopy[], file: string): Promise<Fault[]> {
  const differing = new Map<string, { readonly first: IntegerCopy; count: number }>();
  const same = await inParallel(copies, CALLS_AT_ONCE, async ({ bytes }) => {
    return bytes !== undefined && (await haveSameBytes(store, ...bytes));
  });
  for (const copy of copies.filter((_, k) => same[k] === false)) {
    const known = differing.get(copy.other);
    if (known === undefined) differing.set(copy.other, { first: copy, count: 1 });
    else known.count++;
  }
  return [...differing.values()].map(({ first: { name, from, other, place }, count }) => {
    const more = count === 1 ? "" : ` (and ${count - 1} more ${count === 2 ? "tensor" : "tensors"})`;
    const message = `the integers of ${name} are others in "${other}" than in "${from}", from which they are copied${more}`;
    const hint = "Integers are not merged: masks, ids and indices that differ mean different things.";
    return { code: "recipe/integers-differ", message, hint, file, line: place.line, column: place.column };
  });
}
