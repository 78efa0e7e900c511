import { expect, test } from "vitest";
import { LastScales } from "../../runtime/quantise-range.ts";

/** `blocks` in each band; the scales are the numbers of their blocks. */
function watched({ blocks = 2, bands = 40 } = {}) {
  const last = new LastScales();
  const made: string[] = [];
  const scaling = { rows: 8 * bands, columns: 4 * blocks, blockRows: 8, blockColumns: 4, codes: "F8_E4M3" } as const;
  const scales = async (key: string, band: number, bandCount: number) => {
    const found = await last.scales(key, scaling, band, bandCount, async (first, count) => {
      made.push(`${key} ${first}+${count}`);
      return Float32Array.from({ length: blocks * count }, (_, k) => blocks * first + k);
    });
    return [...found];
  };
  return { made, scales };
}

test("bands that are not known are made together, and those that are not again", async () => {
  const { made, scales } = watched();
  expect(await scales("a", 3, 2)).toEqual([6, 7, 8, 9]);
  expect(await scales("a", 4, 3)).toEqual([8, 9, 10, 11, 12, 13]);
  expect(await scales("a", 6, 1)).toEqual([12, 13]);
  expect(await scales("b", 6, 1)).toEqual([12, 13]);
  expect(await scales("a", 2, 5)).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
  expect(made).toEqual(["a 3+2", "a 5+2", "b 6+1", "a 2+1"]);
});

test("those that were used last are kept, to so many bytes, and those in use in any case", async () => {
  const small = watched({ blocks: 2 ** 12, bands: 16 }); // a quarter of what is kept
  for (const key of ["a", "b", "c", "d", "a", "e", "a", "b"]) await small.scales(key, 0, 1);
  expect(small.made).toEqual(["a 0+1", "b 0+1", "c 0+1", "d 0+1", "e 0+1", "b 0+1"]);
  const large = watched({ blocks: 2 ** 12, bands: 100 });
  for (const band of [0, 1, 0]) await large.scales("a", band, 1);
  expect(large.made).toEqual(["a 0+1", "a 1+1"]);
});
