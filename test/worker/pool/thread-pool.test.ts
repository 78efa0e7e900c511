import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Assignment, Report, UnitId } from "../../../merge/work/index.ts";
import { ResultBuffers, ThreadPool, type ThreadPoolOptions } from "../../../worker/pool/index.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const MIB = 2 ** 20;
const HUNG_MS = 10_000;

async function pool(
  threads: number,
  resultBytes?: number,
  more: Partial<ThreadPoolOptions> = {},
  grants: (unit: string) => "granted" | "refused" | "not yet" = () => "granted",
) {
  const heard: string[] = [];
  const buffers: ArrayBuffer[] = [];
  const places: number[] = [];
  const waiting: (() => void)[] = [];
  const hear = (what: string) => {
    heard.push(what);
    for (const again of waiting.splice(0)) again();
  };
  const until = async (what: string) => {
    while (!heard.includes(what)) await new Promise<void>((resolve) => waiting.push(resolve));
  };
  const started: ThreadPool = await ThreadPool.start(
    {
      engines: new Array(threads).fill({ name: "reference", maximumBytes: MIB, arenas: 1 }),
      budget: { rangeElements: 1, spareBytes: 0, heldBytes: 0, pieceElements: 8, openFilesMax: 8 },
      ...(resultBytes === undefined ? {} : { resultBytes }),
      entry: new URL("scripted-thread.mjs", import.meta.url),
      ...more,
    },
    {
      computed: ({ unit }, { buffer }) => {
        if (buffer !== undefined) buffers.push(buffer);
        hear(`computed ${unit}`);
      },
      reported: (_, report: Report) =>
        hear(`${report.kind === "failed" ? report.failure.code : report.kind} ${report.unit}`),
      asked: (key) => {
        hear(`asked ${key.unit}`);
        const answer = grants(key.unit);
        if (answer !== "not yet") started.answer(key, answer === "granted");
      },
      gathered: (threadId) => places.push(threadId),
      dropped: ({ unit }) => hear(`dropped ${unit}`),
      replaced: () => hear("replaced"),
      broken: ({ code }) => hear(`broken ${code}`),
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
  return { started, heard, buffers, places, until, slice };
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
  expect(heard).toEqual(["replaced", "worker/thread-ended die", "computed next"]);
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

describe("a thread whose device works on several slices at once", () => {
  const engines = [{ name: "reference", maximumBytes: MIB, arenas: 3 }];

  test("is given as many, and one more where they are streamed", async () => {
    const { started, slice } = await pool(1, undefined, { engines }, () => "not yet");
    for (const unit of ["a", "b", "c", "d", "e"]) slice(unit);
    expect(started.waiting().map(({ unit }) => unit)).toEqual(["e"]);
  });

  test("is given as many where they are held", async () => {
    const { started, slice } = await pool(1, 8 * MIB, { engines });
    for (const unit of ["a", "b", "c", "d"]) slice(unit);
    expect(started.waiting().map(({ unit }) => unit)).toEqual(["d"]);
  });

  test("when it hangs all of these fail, and may be tried again; what it had not begun goes on", async () => {
    const { started, until, slice, heard } = await pool(1, 8 * MIB, { engines });
    for (const unit of ["hang", "b", "c", "next"]) slice(unit);
    const now = performance.now();
    for (const lookMs of [now, now + 1, now + HUNG_MS + 1000]) started.look(lookMs, HUNG_MS);
    expect(heard).toEqual(["replaced", "worker/hung hang", "worker/hung b", "worker/hung c"]);
    await until("computed next");
  });
});

describe("slices that are streamed", () => {
  const keyOf = (unit: string) => ({ job: "job", unit: unit as UnitId, attempt: 1 });

  test("are asked for, written, and reported once durable; the next is computed meanwhile, a third waits", async () => {
    const { started, heard, until, slice } = await pool(1);
    for (const unit of ["slow", "next", "third"]) slice(unit);
    expect(started.waiting()).toEqual([keyOf("third")]);
    await until("slice next");
    await until("slice third");
    expect(heard).toEqual(["asked slow", "asked next", "slice next", "asked third", "slice third"]);
  });

  test("whose grant is refused are dropped, and the next one has its turn", async () => {
    const { heard, until, slice } = await pool(1, undefined, {}, (unit) => (unit === "no" ? "refused" : "granted"));
    slice("no");
    slice("next");
    await until("slice next");
    expect(heard).toEqual(["asked no", "dropped no", "asked next", "slice next"]);
  });

  test("are dropped by a real thread, too, where their grant is refused", async () => {
    const entry = new URL("../../../dist/worker/pool/thread.js", import.meta.url);
    const { started, heard, until, slice } = await pool(1, undefined, { entry }, () => "refused");
    slice("no");
    await until("dropped no");
    expect(heard).toEqual(["asked no", "dropped no"]);
    expect(started.has(keyOf("no"))).toBe(false);
  });

  test("of a thread that ends: what was begun has failed, durable or not; what was not goes to the next thread", async () => {
    const { heard, until, slice } = await pool(1);
    slice("slow");
    slice("die");
    await until("worker/thread-ended die");
    expect(heard).toEqual([
      ...["asked slow", "asked die", "replaced", "worker/thread-ended slow", "worker/thread-ended die"],
    ]);
    slice("die again");
    slice("next");
    await until("slice next");
    expect(heard.slice(5)).toEqual([
      ...["asked die again", "replaced", "worker/thread-ended die again", "asked next", "slice next"],
    ]);
  });

  test("of a thread that hangs fail once it has ended: until then it may write", async () => {
    const { started, heard, until, slice } = await pool(1);
    slice("hang");
    await until("asked hang");
    started.look(0, HUNG_MS);
    started.look(HUNG_MS + 1, HUNG_MS);
    expect(heard).toEqual(["asked hang", "replaced"]);
    await until("worker/hung hang");
    slice("next");
    await until("slice next");
  });

  test("that wait for a grant, or to become durable, do not hang", async () => {
    const { started, heard, until, slice } = await pool(1, undefined, {}, (unit) => {
      return unit === "waits" ? "not yet" : "granted";
    });
    slice("slow");
    slice("waits");
    await until("asked waits");
    for (let looks = 0; looks < 5; looks++) started.look(looks * HUNG_MS, HUNG_MS - 1);
    expect(heard).toEqual(["asked slow", "asked waits"]);
    started.answer(keyOf("waits"), true);
    await until("slice waits");
    for (let looks = 5; looks < 9; looks++) started.look(looks * HUNG_MS, HUNG_MS - 1);
    expect(heard).not.toContain("replaced");
  });

  test("of equal names go to one thread, others to whichever has least to do", async () => {
    const sameThread = ({ unit }: Assignment) => unit.slice(0, 4);
    const { places, until, slice } = await pool(2, undefined, { sameThread });
    for (const unit of ["slow a", "slow b", "slow c", "next", "slow d"]) slice(unit);
    await until("slice next");
    while (places.length < 5) await new Promise((resolve) => setImmediate(resolve));
    expect(new Set(places).size).toBe(2);
    expect([...places].sort()).toEqual([...Array(4).fill(Math.min(...places)), Math.max(...places)].sort());
  });
});

test("a thread that cannot be started three times in a row breaks the pool, once, and says what came of the rest", async () => {
  const file = join(temporaryFolder(), "no-start");
  vi.stubEnv("DELTAWORKS_TEST_NO_START", file);
  onTestFinished(() => void vi.unstubAllEnvs());
  const { heard, until, slice } = await pool(2);
  writeFileSync(file, "");
  slice("die");
  await until("broken worker/thread-ended");
  expect(heard).toEqual(["asked die", "replaced", "worker/thread-ended die", "broken worker/thread-ended"]);
});
