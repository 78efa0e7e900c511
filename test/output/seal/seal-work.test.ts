import { describe, expect, test } from "vitest";
import type { Plan, Slice, SliceId } from "../../../merge/work/index.ts";
import { damagedSlices, headerSha256, SEAL_GROUP_BYTES, sealWork } from "../../../output/index.ts";
import { placeOf } from "../../../storage/index.ts";

const SLICE = SEAL_GROUP_BYTES / 4;

/** Two shards: one of nine slices (three groups), one of a single slice larger than a group. */
function plan(): Plan {
  const slices: Slice[] = [];
  const add = (shard: number, offsetBytes: number, sizeBytes: number) =>
    slices.push({ id: `s${slices.length}` as SliceId, shard, offsetBytes, sizeBytes, parts: [] });
  for (let k = 0; k < 9; k++) add(0, 16 + k * SLICE, SLICE);
  add(1, 16, SEAL_GROUP_BYTES + 1);
  const shard = (name: string, dataBytes: number) => ({
    name,
    header: "{}      ",
    dataOffsetBytes: 16,
    sizeBytes: 16 + dataBytes,
    tasks: [],
  });
  const shards = [shard("one", 9 * SLICE), shard("two", SEAL_GROUP_BYTES + 1)];
  return {
    version: 1,
    recipe: null,
    seed: "0",
    options: { sliceBytes: SLICE, shardBytes: 1, allowNonfinite: false },
    inputs: [],
    definingInput: 0,
    tasks: [],
    shards,
    slices,
    notes: [],
  };
}

describe("sealWork", () => {
  const units = sealWork(plan(), [placeOf("/stage/one"), placeOf("/stage/two")]);

  test("hashes every file once, from front to back", () => {
    expect(units.map(({ work }) => work).filter(({ kind }) => kind === "seal-file")).toEqual([
      { kind: "seal-file", path: "/stage/one", sizeBytes: 16 + 9 * SLICE },
      { kind: "seal-file", path: "/stage/two", sizeBytes: 17 + SEAL_GROUP_BYTES },
    ]);
  });

  test("reads every header and slice back once, in groups of a bounded size", () => {
    const groups = units.filter(({ work }) => work.kind === "seal-slices");
    expect(groups.map(({ slices }) => slices)).toEqual([[0, 1, 2, 3], [4, 5, 6, 7], [8], [9]]);
    expect(groups.map(({ coversHeader }) => coversHeader)).toEqual([true, false, false, true]);
    const ranges = groups.flatMap(({ work }) => (work.kind === "seal-slices" ? work.ranges : []));
    expect(ranges.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)).toBe(32 + 9 * SLICE + SEAL_GROUP_BYTES + 1);
    expect(ranges[0]).toEqual({ offsetBytes: 0, sizeBytes: 16 });
    expect(ranges[5]).toEqual({ offsetBytes: 16 + 4 * SLICE, sizeBytes: SLICE });
  });
});

describe("of shards that were uploaded in parts", () => {
  const parts: Plan = { ...plan(), options: { ...plan().options, layout: "parts" } };
  const units = sealWork(parts, [placeOf("s3://b/one"), placeOf("s3://b/two")]);
  const hashes = parts.slices.map(({ id }) => `hash of ${id}`);

  test("each is read once, for all hashes", () => {
    expect(units.map(({ slices }) => slices)).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 8], [9]]);
    const ranges = parts.slices.slice(0, 9).map(({ offsetBytes, sizeBytes }) => ({ offsetBytes, sizeBytes }));
    expect(units[0]?.work).toEqual({ kind: "seal-file", path: "s3://b/one", sizeBytes: 16 + 9 * SLICE, ranges });
  });

  test("the hash of the whole comes before those of slices, and header is part of one", () => {
    expect(damagedSlices(parts, units[0]!, hashes, ["whole", ...hashes.slice(0, 9)])).toEqual({
      ...{ slices: [], header: false },
    });
    expect(damagedSlices(parts, units[0]!, hashes, ["whole", "x", ...hashes.slice(1, 8), "y"])).toEqual({
      ...{ slices: [0, 8], header: false },
    });
  });
});

describe("damagedSlices", () => {
  const units = sealWork(plan(), [placeOf("/stage/one"), placeOf("/stage/two")]);
  const hashes = plan().slices.map(({ id }) => `hash of ${id}`);
  const first = units.find(({ slices }) => slices[0] === 0)!;
  const second = units.find(({ slices }) => slices[0] === 4)!;
  const header = headerSha256(plan(), 0);

  test("nothing, where all is as it was written", () => {
    expect(damagedSlices(plan(), first, hashes, [header, ...hashes.slice(0, 4)])).toEqual({
      slices: [],
      header: false,
    });
    expect(damagedSlices(plan(), second, hashes, hashes.slice(4, 8))).toEqual({ slices: [], header: false });
  });

  test("the slices whose hash is another, by their index in the plan", () => {
    expect(damagedSlices(plan(), first, hashes, [header, ...hashes.slice(0, 2), "x", "y"]).slices).toEqual([2, 3]);
    expect(damagedSlices(plan(), second, hashes, ["x", ...hashes.slice(5, 8)]).slices).toEqual([4]);
  });

  test("a header that is not the plan's, and ranges that were not reported", () => {
    expect(damagedSlices(plan(), first, hashes, ["x", ...hashes.slice(0, 4)])).toEqual({ slices: [], header: true });
    expect(damagedSlices(plan(), first, hashes, [header])).toEqual({ slices: [0, 1, 2, 3], header: false });
  });

  test("the header's hash is that of its length and its text", () => {
    // printf '\x08\0\0\0\0\0\0\0{}      ' | sha256sum
    expect(header).toBe("9bbcbf73561f6bc5d0a17ea6a2081feed2d1304e87602d8c502d9a5c4bd85576");
  });
});
