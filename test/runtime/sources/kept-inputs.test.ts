import { expect, test } from "vitest";
import type { StoredSource } from "../../../merge/work/index.ts";
import { KeptInputs } from "../../../runtime/sources/kept-inputs.ts";

const source = (input: number, dtype: "BF16" | "F32"): StoredSource => ({
  ...{ input, file: 0, tensor: "weight", dtype, offsetBytes: 0, storedRowLength: 8 },
});
const [base, model, other] = [source(0, "F32"), source(1, "BF16"), source(2, "BF16")];
/** As an arena gives memory: so many bytes from 4096 on. */
const arenaOf = () => {
  const asked: number[] = [];
  const allocate = (sizeBytes: number) => {
    asked.push(sizeBytes);
    return 4096;
  };
  return { asked, allocate };
};

test("what one round has read the next one finds, chunk by chunk", () => {
  const kept = new KeptInputs(arenaOf(), [base, model], { firstElement: 0, elementCount: 1000 });
  const place = kept.placeOf(model, 0, 100);
  // So short a range is read at once.
  expect(place?.missing).toEqual({ first: 0, count: 1000, into: place?.address });
  kept.wasRead(model, { first: 0, count: 1000 });
  expect(kept.placeOf(model, 300, 100)).toEqual({ address: (place?.address ?? 0) + 600, missing: undefined });
  expect(kept.placeOf(base, 300, 100)).toBeUndefined(); // each source by itself
});

test("a long range is read half a megabyte ahead, and not past its end", () => {
  const kept = new KeptInputs(arenaOf(), [model], { firstElement: 5000, elementCount: 300_000 });
  const first = kept.placeOf(model, 5000, 32_768)?.missing;
  expect(first).toMatchObject({ first: 5000, count: 262_144 });
  kept.wasRead(model, { first: 5000, count: 262_144 });
  const last = kept.placeOf(model, 5000 + 262_144, 32_768)?.missing;
  expect(last).toEqual({ first: 267_144, count: 37_856, into: (first?.into ?? 0) + 2 * 262_144 });
});

test("a chunk that reaches beyond what was read gets what is missing only", () => {
  const kept = new KeptInputs(arenaOf(), [model], { firstElement: 0, elementCount: 1_000_000 });
  kept.wasRead(model, { first: 0, count: 1000 });
  const place = kept.placeOf(model, 500, 1000);
  expect(place?.missing).toMatchObject({ first: 1000, into: (place?.address ?? 0) + 1000 });
});

test.each([
  ["after a gap", 2000],
  ["before the range", 90],
])("elements %s are read elsewhere", (_, first) => {
  const kept = new KeptInputs(arenaOf(), [model], { firstElement: 100, elementCount: 10_000 });
  kept.wasRead(model, { first: 100, count: 1000 });
  expect(kept.placeOf(model, first, 100)).toBeUndefined();
});

test("sources lie equally far apart, in the room that was asked for", () => {
  const arena = arenaOf();
  const kept = new KeptInputs(arena, [base, model, other], { firstElement: 0, elementCount: 5000 });
  for (const each of [base, model, other]) kept.wasRead(each, { first: 0, count: 5000 });
  const { address, strideBytes } = kept.manyOf(model, 1000);
  expect(address).toBe(4096 + strideBytes + 2000);
  expect(kept.placeOf(other, 1000, 1)?.address).toBe(address + strideBytes);
  expect(strideBytes).toBeGreaterThanOrEqual(5000 * 4);
  expect(arena.asked).toEqual([3 * strideBytes]);
});
