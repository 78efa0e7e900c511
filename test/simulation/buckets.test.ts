import { expect, test } from "vitest";
import { bucketBugs } from "./bucket-bugs.ts";
import { BucketCoverage } from "./bucket-coverage.ts";
import { bucketFaultKinds } from "./bucket-faults.ts";
import { bucketMerge, MERGES } from "./bucket-merge.ts";
import { simulateBucket } from "./bucket-story.ts";

test.each([3, 17, 240])("a seed is the same story every time: %i", async (seed) => {
  const [once, again] = [await simulateBucket(seed, { trace: true }), await simulateBucket(seed, { trace: true })];
  expect(again.trace.length).toBeGreaterThan(50);
  expect(again.trace).toEqual(once.trace);
  expect((await simulateBucket(seed + 1, { trace: true })).trace).not.toEqual(once.trace);
});

test("whatever goes wrong: no half output, none over a stranger's, one winner, and nothing left that clean does not find", async () => {
  const coverage = new BucketCoverage();
  for (let seed = 1; seed <= 150; seed++) {
    const finding = await simulateBucket(seed);
    expect(finding.violations, `seed ${seed}: npm run test:sim -- --buckets --seed ${seed}`).toEqual([]);
    coverage.add(finding);
  }
  expect(coverage.missing()).toEqual([]);
});

test("what no seed exercised is missed", () => {
  expect(new BucketCoverage().missing()).toEqual(
    expect.arrayContaining(bucketFaultKinds.map((kind) => `fault ${kind}`)),
  );
});

test.each(bucketBugs)("the auditor finds %s, and nothing where it is not", async (bug) => {
  let found: number | undefined;
  for (let seed = 1; seed <= 200 && found === undefined; seed++)
    if ((await simulateBucket(seed, { bug })).violations.length > 0) found = seed;
  expect(found, `${bug} is not found in 200 seeds`).toBeDefined();
  expect((await simulateBucket(found!, { provokes: bug })).violations).toEqual([]);
});

test("a merge into a bucket holds the files of the same merge into a folder, but for the manifest and its line", async () => {
  for (let number = 0; number < MERGES; number++) {
    const { files, filesOfFolder, plan } = await bucketMerge(number);
    const comparable = (whole: ReadonlyMap<string, Uint8Array>) =>
      [...whole]
        .filter(([name]) => name !== "deltaworks.manifest.json")
        .map(([name, bytes]) => {
          const lines = Buffer.from(bytes).toString("latin1").split("\n");
          const kept = lines.filter((line) => name !== "SHA256SUMS" || !/^#|manifest/.test(line));
          return [name, kept.join("\n")];
        });
    expect(comparable(files)).toEqual(comparable(filesOfFolder));
    expect([...files.keys()]).toEqual(expect.arrayContaining(["SHA256SUMS", "README.md", "mergekit_config.yml"]));
    expect(plan.slices.length).toBeGreaterThanOrEqual(plan.shards.length);
  }
});
