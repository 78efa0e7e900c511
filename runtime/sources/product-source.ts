import { type Address, put } from "../../merge/engines/index.ts";
import { lowRankProduct, type Matrix, zeros } from "../../merge/math/index.ts";
import { canonicalJson, type ProductSource } from "../../merge/work/index.ts";
import { hostF32 } from "./host-values.ts";
import type { SourceReader } from "./source-reader.ts";

/** The last product that was made: its two factors are asked for one after the other, chunk by chunk. */
export class LastProduct {
  #key = "";
  #left: Float32Array = new Float32Array();
  #right: Float32Array = new Float32Array();

  async factor(source: ProductSource, make: () => Promise<{ left: Matrix; right: Matrix }>): Promise<Float32Array> {
    const { rank, rows, columns, terms } = source;
    const key = canonicalJson({ rank, rows, columns, terms });
    if (key !== this.#key) {
      const { left, right } = await make();
      this.#left = Float32Array.from(left.values);
      this.#right = Float32Array.from(right.values);
      this.#key = key;
    }
    return source.side === "left" ? this.#left : this.#right;
  }
}

/** Elements of one factor of the best product of low rank. All of both is made at once: adapters are small. */
export async function readProduct(
  reader: SourceReader,
  source: ProductSource,
  first: number,
  count: number,
  into: Address,
): Promise<void> {
  const factor = await reader.options.products.factor(source, () => productOf(reader, source));
  put(reader.arena, into, factor.subarray(first, first + count));
}

/** All B side by side, times their factors, and all A one below the other: the sum is the product of the two. */
async function productOf(reader: SourceReader, { rows, columns, rank, terms }: ProductSource) {
  const inner = terms.reduce((sum, term) => sum + term.rank, 0);
  const b = zeros(rows, inner);
  const a = zeros(inner, columns);
  let before = 0;
  for (const term of terms) {
    const ofB = await hostF32(reader, term.b, 0, rows * term.rank);
    for (let row = 0; row < rows; row++) {
      for (let k = 0; k < term.rank; k++) {
        b.values[row * inner + before + k] = term.factor * (ofB[row * term.rank + k] ?? 0);
      }
    }
    a.values.set(await hostF32(reader, term.a, 0, term.rank * columns), before * columns);
    before += term.rank;
  }
  return lowRankProduct(b, a, rank);
}
