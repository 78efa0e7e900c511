import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type CommandEvent, hashesOf, run } from "../e2e/cli-process.ts";
import { Cli } from "../support/child-process.ts";
import { Rig } from "./rig.ts";

const SLOW = 120_000;
/** A coordinator that was started again waits for so long before it lets anybody write. */
const SHORT = ["--lease", "2s", "--io-timeout", "1s"];

/** Of a command that asks the coordinator, with --json. */
async function ask(address: string, ...args: string[]): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await run([...args, "--coordinator", address, "--json"]);
  if (code !== 0) throw new Error(stderr);
  return stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Of the weights: recipes name their models in another way. */
function sums(out: string): Record<string, string> {
  return Object.fromEntries(Object.entries(hashesOf(out)).filter(([name]) => name.endsWith(".safetensors")));
}

const atLeast =
  (slices: number) =>
  ({ event, slicesDone }: CommandEvent) =>
    event === "progress" && Number(slicesDone) >= slices;

/** Of a job's events: slices that were recorded as done, once for each time. */
function slicesIn(events: readonly Readonly<Record<string, unknown>>[]) {
  const done = events.filter(({ event }) => event === "slices-done");
  return done.flatMap(({ slices }) => slices as { readonly slice: string; readonly worker: string }[]);
}

async function state(address: string, job: string) {
  const [found] = await ask(address, "status", job);
  return found?.state;
}

describe("jobs of a coordinator", { timeout: SLOW }, () => {
  test("are merged to the bytes of one machine, by workers that see the files and by one that sees none", async () => {
    const rig = new Rig();
    const { address } = await rig.coordinator();
    rig.worker(address, "w1");
    Cli.start(["worker", "--coordinator", address, "--name", "bare", "--threads", "1", "--json"]);
    const end = await rig.submit(address, rig.recipe(), "merged").ended;
    expect(end.code).toBe(0);
    expect(sums(join(rig.out, "merged"))).toEqual(sums(await rig.reference()));
    const workers = new Set(slicesIn(await ask(address, "events", "merged")).map(({ worker }) => worker));
    expect(workers).toContain("w1");
    expect(workers).toContain("bare");
  });

  test("go on after the coordinator was killed, and nothing that was durable is computed again", async () => {
    const rig = new Rig();
    const first = await rig.coordinator(SHORT);
    const worker = rig.worker(first.address, "w1");
    const submitted = rig.submit(first.address, rig.recipe(), "merged");
    await submitted.event(atLeast(20));
    await first.cli.killed();
    await rig.coordinator(["--listen", first.address, ...SHORT]);
    expect((await submitted.ended).code).toBe(0);
    expect(sums(join(rig.out, "merged"))).toEqual(sums(await rig.reference()));
    const done = slicesIn(await ask(first.address, "events", "merged")).map(({ slice }) => slice);
    expect(done.length).toBeGreaterThan(0);
    expect(done.length).toBe(new Set(done).size);
    worker.terminate();
    expect((await worker.ended).code).toBe(0);
  });

  test("are paused, stay so through a restart, are resumed, and end in the same bytes", async () => {
    const rig = new Rig();
    const first = await rig.coordinator(SHORT);
    rig.worker(first.address, "w1");
    const submitted = rig.submit(first.address, rig.recipe(), "merged");
    await submitted.event(atLeast(5));
    await ask(first.address, "pause", "merged");
    expect(await state(first.address, "merged")).toBe("paused");
    first.cli.terminate();
    expect((await first.cli.ended).code).toBe(0);
    await rig.coordinator(["--listen", first.address, ...SHORT]);
    expect(await state(first.address, "merged")).toBe("paused");
    await ask(first.address, "resume", "merged");
    expect((await submitted.ended).code).toBe(0);
    expect(sums(join(rig.out, "merged"))).toEqual(sums(await rig.reference()));
  });

  test.each(["cancel", "terminate"])("%s leaves nothing of them, and the submitter is told", async (change) => {
    const rig = new Rig();
    const { address } = await rig.coordinator(SHORT);
    rig.worker(address, "w1");
    const submitted = rig.submit(address, rig.recipe(), "merged");
    await submitted.event(atLeast(5));
    await ask(address, change, "merged");
    expect((await submitted.ended).code).toBe(1);
    await expect
      .poll(() => existsSync(join(rig.out, "merged", ".deltaworks", "stage")), { timeout: 30_000 })
      .toBe(false);
    expect(readdirSync(join(rig.out, "merged")).filter((name) => name.endsWith(".safetensors"))).toEqual([]);
    // The output is free again.
    expect((await rig.submit(address, rig.recipe(), "merged").ended).code).toBe(0);
    expect(sums(join(rig.out, "merged"))).toEqual(sums(await rig.reference()));
  });

  test("wait for workers, and share those that come by priority", async () => {
    const rig = new Rig();
    const { address } = await rig.coordinator();
    const low = rig.submit(address, rig.recipe(), "low", ["--priority", "0"]);
    const high = rig.submit(address, rig.recipe(), "high", ["--priority", "4"]);
    await Promise.all([low.event("submitted"), high.event("submitted")]);
    expect((await ask(address, "list")).map(({ name }) => name).sort()).toEqual(["high", "low"]);
    rig.worker(address, "w1");
    expect((await high.ended).code).toBe(0);
    expect((await low.ended).code).toBe(0);
    const [first, second] = await Promise.all([ask(address, "status", "high"), ask(address, "status", "low")]);
    expect(String(first[0]?.endedAt) < String(second[0]?.endedAt)).toBe(true);
  });

  test("that have a worker each, and are audited by one another's, end: neither waits for slots that the other keeps", async () => {
    const rig = new Rig();
    const { address } = await rig.coordinator([...SHORT, "--audit", "30%"]);
    // Both are there before the jobs are: each job has the slots of one.
    const workers = ["w1", "w2"].map((name) => rig.worker(address, name));
    await Promise.all(workers.map((worker) => worker.event(({ msg }) => msg === "attached")));
    const jobs = ["one", "two"].map((name) => rig.submit(address, rig.recipe(), name));
    for (const job of jobs) expect((await job.ended).code).toBe(0);
    const [reference, ...outputs] = [await rig.reference(), join(rig.out, "one"), join(rig.out, "two")].map(sums);
    expect(outputs).toEqual([reference, reference]);
  });

  test("with a wrong recipe or place are refused with every fault, before any work", async () => {
    const rig = new Rig();
    const { address } = await rig.coordinator();
    const submitted = rig.submit(address, rig.recipe("merge_method: linera\nzzz: 1"), "merged");
    expect((await submitted.ended).code).toBe(2);
    expect(submitted.stderr).toContain("linear");
    expect(submitted.stderr).toContain("zzz");
    const outside = await run(["submit", rig.recipe(), "out:../elsewhere", "--coordinator", address, "--json"]);
    expect(outside.stderr).toContain("service/root");
    expect(await ask(address, "list", "--all")).toEqual([]);
    expect(readdirSync(rig.out)).toEqual([]);
  });
});
