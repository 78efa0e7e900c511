import { expect, onTestFinished, test } from "vitest";
import type { Assignment, Report } from "../../../merge/work/index.ts";
import { ResultBuffers, ThreadPool } from "../../../worker/pool/index.ts";

const MIB = 2 ** 20;
const HUNG_MS = 10_000;

async function pool(threads: number, resultBytes: number) {
  const heard: string[] = [];
  const buffers: ArrayBuffer[] = [];
  const waiting: (() => void)[] = [];
  const hear = (what: string) => {
    heard.push(what);
    for (const again of waiting.splice(0)) again();
  };
  const until = async (what: string) => {
    while (!heard.includes(what)) await new Promise<void>((resolve) => waiting.push(resolve));
  };
  const started = await ThreadPool.start(
    {
      threads,
      budget: { rangeElements: 1, spareBytes: 0, heldBytes: 0, pieceElements: 8, openFilesMax: 8 },
      engine: { name: "reference", maximumBytes: MIB },
      resultBytes,
      entry: new URL("scripted-thread.mjs", import.meta.url),
    },
    {
      computed: ({ unit }, { buffer }) => {
        if (buffer !== undefined) buffers.push(buffer);
        hear(`computed ${unit}`);
      },
      reported: (_, report: Report) =>
        hear(`${report.kind === "failed" ? report.failure.code : report.kind} ${report.unit}`),
      dropped: ({ unit }) => hear(`dropped ${unit}`),
      replaced: () => hear("replaced"),
      broken: () => hear("broken"),
    },
  );
  started.begin({
    job: "job",
    description: { seed: { low: 0, high: 0 }, allowNonfinite: false, inputs: [], shardPaths: [] },
  });
  onTestFinished(() => started.end());
  const slice = (unit: string, sizeBytes = MIB) =>
    started.assign("job", {
      ...{ unit, attempt: 1, kind: "slice", tasks: [], verdicts: [], audit: false },
      slice: { id: unit, shard: 0, offsetBytes: 0, sizeBytes, parts: [] },
    } as unknown as Assignment);
  return { started, heard, buffers, until, slice };
}

test("a thread that hangs is not alive, and after its time is ended and replaced; its work fails in a way that may be tried again", async () => {
  const { started, until, slice, heard } = await pool(1, 4 * MIB);
  slice("hang");
  slice("next");
  const now = performance.now();
  // No step since it was given: at the first look it may have begun just now, at the next it has not moved.
  started.look(now, HUNG_MS);
  expect(started.look(now + 1, HUNG_MS).find(({ unit }) => (unit as string) === "hang")?.alive).toBe(false);
  expect(started.look(now + 1, HUNG_MS).find(({ unit }) => (unit as string) === "next")?.alive).toBe(true);
  expect(heard).toEqual([]);
  started.look(now + HUNG_MS + 1000, HUNG_MS);
  expect(heard).toEqual(["replaced", "worker/hung hang"]);
  await until("computed next");
});

test("a thread that dies is replaced, its work fails, the rest goes on", async () => {
  const { until, slice, heard } = await pool(1, 4 * MIB);
  slice("die");
  slice("next");
  await until("computed next");
  expect(heard).toEqual(["replaced", "merge/internal die", "computed next"]);
});

test("slices wait until there is memory for their results; a drop takes what waits", async () => {
  const { started, until, slice, heard, buffers } = await pool(2, 2 * MIB);
  for (const unit of ["a", "b", "c", "d"]) slice(unit);
  await until("computed b");
  await until("computed a");
  expect(started.waiting().map(({ unit }) => unit)).toEqual(["c", "d"]);
  started.drop({ job: "job", unit: "c" as never, attempt: 1 });
  expect(heard).toContain("dropped c");
  const [buffer] = buffers;
  if (buffer !== undefined) started.release(buffer);
  await until("computed d");
  expect(heard).not.toContain("computed c");
});

test("buffers are used again, never exceed their limit together, and one is lent however large", () => {
  const buffers = new ResultBuffers(4 * MIB);
  const first = buffers.maybeTake(10 * MIB);
  expect(first?.byteLength).toBe(10 * MIB);
  expect(buffers.maybeTake(1)).toBeUndefined();
  if (first !== undefined) buffers.give(first);
  expect(buffers.maybeTake(3 * MIB)).toBe(first);
  if (first !== undefined) buffers.give(first);
  // It is freed for two that fit the limit.
  const large = buffers.maybeTake(11 * MIB);
  expect(large?.byteLength).toBe(11 * MIB);
  expect(buffers.totalBytes).toBe(11 * MIB);
});
