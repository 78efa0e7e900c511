import fc from "fast-check";
import { expect, test } from "vitest";
import { summedBlocks } from "../../../merge/methods/chunks.ts";
import { type Chunk, chunkBlocksOf, chunksOf } from "../../../merge/methods/index.ts";

const BLOCK = 100;

/** Chunks of the blocks from the third on, as [first element, elements]. */
function chunks(
  elementCount: number,
  pieceElements: number,
  size: "blocks" | "pieces",
  partsAt: readonly number[] = [],
) {
  const range = {
    firstElement: 3 * BLOCK,
    elementCount,
    blockElements: BLOCK,
    cuts: [0, ...partsAt].map((block) => (3 + block) * BLOCK),
    chunkBlocks: chunkBlocksOf(elementCount, BLOCK, pieceElements),
  };
  return [...chunksOf(range, pieceElements, size)];
}

test("sums by block that take much are made of fewer blocks, but of 4 M elements in any case", () => {
  const range = { chunkBlocks: 1000, blockElements: 2 ** 16 };
  expect(summedBlocks(range, 8)).toBe(1000);
  expect(summedBlocks(range, 2 ** 20)).toBe(256);
  expect(summedBlocks(range, 2 ** 27)).toBe(64);
  // Where blocks are cut there is no choice.
  expect(summedBlocks({ ...range, chunkBlocks: 1 }, 2 ** 30)).toBe(1);
});

test("chunks are of no more blocks than are asked for", () => {
  const range = { firstElement: 0, elementCount: 950, blockElements: BLOCK, cuts: [0], chunkBlocks: 4 };
  expect(shown([...chunksOf(range, 400, "pieces", 3)])).toEqual([
    [0, 300],
    [300, 300],
    [600, 300],
    [900, 50],
  ]);
});

const shown = (list: readonly Chunk[]) => list.map(({ firstElement, elementCount }) => [firstElement, elementCount]);

test("a chunk is a piece of a block, or a block, where pieces are shorter than blocks", () => {
  expect(shown(chunks(150, 64, "pieces"))).toEqual([
    [300, 64],
    [364, 36],
    [400, 50],
  ]);
  expect(shown(chunks(150, 64, "blocks"))).toEqual([
    [300, 100],
    [400, 50],
  ]);
  expect(chunks(150, 64, "pieces").map(({ startsBlock, endsBlock }) => [startsBlock, endsBlock])).toEqual([
    [true, false],
    [false, true],
    [true, true],
  ]);
});

test.each(["pieces", "blocks"] as const)("else as many whole blocks as fit, which no cut divides: %s", (size) => {
  expect(shown(chunks(450, 250, size))).toEqual([
    [300, 200],
    [500, 200],
    [700, 50],
  ]);
  expect(shown(chunks(450, 250, size, [1, 4]))).toEqual([
    [300, 100],
    [400, 200],
    [600, 100],
    [700, 50],
  ]);
});

test("chunks make up the range, and none has more blocks than it may", async () => {
  const drawn = {
    elements: fc.integer({ min: 1, max: 2000 }),
    piece: fc.integer({ min: 1, max: 100 }).map((eighths) => 8 * eighths),
    size: fc.constantFrom("pieces" as const, "blocks" as const),
    parts: fc.uniqueArray(fc.integer({ min: 1, max: 19 }), { maxLength: 5 }),
  };
  fc.assert(
    fc.property(fc.record(drawn), ({ elements, piece, size, parts }) => {
      const blocks = Math.ceil(elements / BLOCK);
      const cuts = parts.filter((block) => block < blocks).toSorted((a, b) => a - b);
      let at = 3 * BLOCK;
      for (const { firstElement, elementCount, startsBlock, endsBlock } of chunks(elements, piece, size, cuts)) {
        expect(firstElement).toBe(at);
        at += elementCount;
        expect(startsBlock).toBe(firstElement % BLOCK === 0);
        expect(endsBlock).toBe(at % BLOCK === 0 || at === 3 * BLOCK + elements);
        const spanned = Math.ceil(at / BLOCK) - Math.floor(firstElement / BLOCK);
        expect(spanned).toBeLessThanOrEqual(chunkBlocksOf(elements, BLOCK, piece));
        if (spanned > 1) expect([startsBlock, endsBlock]).toEqual([true, true]);
        for (const block of cuts) expect(firstElement >= (3 + block) * BLOCK || at <= (3 + block) * BLOCK).toBe(true);
        if (size === "pieces") expect(elementCount).toBeLessThanOrEqual(piece);
      }
      expect(at).toBe(3 * BLOCK + elements);
    }),
  );
});
