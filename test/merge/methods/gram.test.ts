import fc from "fast-check";
import { expect, test } from "vitest";
import { foldBlockSums } from "../../../merge/methods/block-sums.ts";
import { ColumnSummer, type ColumnSums, columnTotals, foldColumnSums } from "../../../merge/methods/column-sums.ts";
import { gramOf, gramReadsOf, surveyGram } from "../../../merge/methods/gram.ts";
import { resultOf } from "../../../merge/methods/index.ts";
import { f32Of } from "../engines/awkward-values.ts";
import { MemoryTensor } from "./memory-range.ts";

const SHAPE = { blockElements: 64, pieceElements: 16, spareBytes: 0 };
/** Three blocks in a chunk. */
const SPANNING = { ...SHAPE, pieceElements: 250 };
const modelsOf = (count: number, elements: number) =>
  Array.from({ length: count }, (_, seed) => f32Of({ style: "ordinary", equal: false, seed }, elements));

/** The dot as docs/spec/methods.md has it: lanes within a block, blocks in order. */
function dotInBlocks(a: Float32Array, b: Float32Array): number {
  let total = 0;
  for (let block = 0; block < a.length; block += SHAPE.blockElements) {
    const lanes = new Float64Array(8);
    for (let k = block; k < Math.min(a.length, block + SHAPE.blockElements); k++)
      lanes[(k - block) % 8]! += a[k]! * b[k]!;
    const pair = (lane: number) => lanes[lane]! + lanes[lane + 1]!;
    total += pair(0) + pair(2) + (pair(4) + pair(6));
  }
  return total;
}

// Fewer than are held at once, as many, one more, and several groups.
test.each([1, 7, 8, 9, 20])("the Gram matrix of %i models has the dots of all pairs, cut or not", async (count) => {
  const elements = 331;
  const tensor = await MemoryTensor.of(modelsOf(count, elements));
  const whole = await surveyGram(tensor.range([0], elements, SHAPE));
  const cut = resultOf(
    foldBlockSums(
      await surveyGram(tensor.range([0], 128, SHAPE)),
      await surveyGram(tensor.range([128], elements, SHAPE)),
    ),
  );
  const spanning = await surveyGram(tensor.range([0], elements, SPANNING));
  const spanningCuts = resultOf(
    foldBlockSums(
      await surveyGram(tensor.range([0, 64], 256, SPANNING)),
      await surveyGram(tensor.range([256], elements, SPANNING)),
    ),
  );
  for (const sums of [whole, cut, spanning, spanningCuts]) {
    const gram = gramOf(sums, count);
    for (const [i, a] of tensor.models.entries())
      for (const [j, b] of tensor.models.entries()) expect(gram(i, j)).toBe(dotInBlocks(a, b));
  }
  // Of the whole tensor one row is left, however many blocks it has.
  expect(whole.values).toHaveLength((count * (count + 1)) / 2);
});

test("models are read once for each group of those before them", async () => {
  const tensor = await MemoryTensor.of(modelsOf(20, 64));
  await surveyGram(tensor.range([0], 64, { ...SHAPE, pieceElements: 64 }));
  expect(tensor.reads).toHaveLength(
    Array.from({ length: 20 }, (_, j) => gramReadsOf(j)).reduce((sum, reads) => sum + reads),
  );
  expect([gramReadsOf(7), gramReadsOf(8)]).toEqual([1, 2]);
});

test("column sums are the same however their blocks fall into ranges, and a range keeps few of them", async () => {
  const blocks = 45;
  const tensor = await MemoryTensor.of(modelsOf(1, blocks * SHAPE.blockElements - 3));
  const [values] = tensor.models;
  const sumsOf = async (first: number, last: number, shape = SHAPE): Promise<ColumnSums> => {
    const scope = tensor.arena.scope();
    const end = Math.min(tensor.elementCount, last * SHAPE.blockElements);
    const range = tensor.range([first * SHAPE.blockElements], end, shape);
    const sums = new ColumnSummer(range, 2, 1);
    for (const chunk of range.chunks("blocks")) {
      for (let at = 0; at < chunk.elementCount; at += SHAPE.blockElements) {
        const from = chunk.firstElement + at;
        const sum = values!.subarray(from, Math.min(end, from + SHAPE.blockElements)).reduce((a, b) => a + b, 0);
        for (const [row, value] of [sum, sum * 0.3].entries()) {
          const place = sums.sums(row) + (8 * at) / SHAPE.blockElements;
          tensor.arena.staging(place, 8).bytes.set(new Uint8Array(Float64Array.of(value).buffer));
        }
      }
      await sums.endChunk(chunk);
    }
    scope.end();
    return sums.finish();
  };
  const whole = await sumsOf(0, blocks);
  // 45 = 32 + 8 + 4 + 1
  expect(whole.subtrees.map(({ level }) => level)).toEqual([5, 3, 2, 0]);
  const cuts = fc.uniqueArray(fc.integer({ min: 1, max: blocks - 1 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(cuts, async (inner) => {
      const ends = [0, ...inner.toSorted((a, b) => a - b), blocks];
      const ranges = await Promise.all(
        ends.slice(1).map(async (end, k) => sumsOf(ends[k]!, end, k % 2 === 0 ? SHAPE : SPANNING)),
      );
      for (const { subtrees } of ranges) expect(subtrees.length).toBeLessThanOrEqual(2 * Math.log2(blocks));
      const folded = ranges.reduce((left, right) => resultOf(foldColumnSums(left, right)));
      expect(folded).toEqual(whole);
      expect(columnTotals(folded)).toEqual(columnTotals(whole));
    }),
    { numRuns: 40 },
  );
});
