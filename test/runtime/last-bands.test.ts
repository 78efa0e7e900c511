import { expect, test } from "vitest";
import { LastBands } from "../../runtime/quantise-range.ts";

/** Two blocks in each band; the scales are the numbers of their blocks. */
function watched() {
  const last = new LastBands();
  const made: string[] = [];
  const scales = async (key: string, band: number, bandCount: number) => {
    const found = await last.scales(key, band, bandCount, async (first, count) => {
      made.push(`${key} ${first}+${count}`);
      return Float32Array.from({ length: 2 * count }, (_, k) => 2 * first + k);
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
  expect(made).toEqual(["a 3+2", "a 5+2", "b 6+1"]);
});

test("a chunk may need more bands than are kept", async () => {
  const { made, scales } = watched();
  const all = Array.from({ length: 40 }, (_, k) => k);
  expect(await scales("a", 0, 20)).toEqual(all);
  expect(await scales("a", 19, 1)).toEqual([38, 39]);
  expect(await scales("a", 0, 20)).toEqual(all);
  expect(made).toEqual(["a 0+20", "a 0+12"]);
});
