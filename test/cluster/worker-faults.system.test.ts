/** Workers that are slow, fail, lie, or whose disk fails them. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { journalOf } from "../e2e/cli-process.ts";
import type { Cli, StorageFault } from "../support/child-process.ts";
import { ask, DEBUG, did, expectDone, MixedRig, TIMES, timesDone } from "./mixed-rig.ts";

const STAGED = "\\.deltaworks/stage/.*safetensors$";
const MODEL_ONE = "/one/model.safetensors$";

interface Site {
  readonly rig: MixedRig;
  readonly address: string;
  readonly coordinator: Cli;
  worker(name: string, ...faults: StorageFault[]): Cli;
  submit(...args: string[]): Cli;
}

async function site(): Promise<Site> {
  const rig = new MixedRig();
  const { address, cli } = await rig.coordinator(TIMES);
  return {
    rig,
    address,
    coordinator: cli,
    worker: (name, ...faults) => rig.worker(address, name, DEBUG, { faults }),
    submit: (...args) => rig.submit(address, rig.recipe(), "job", args),
  };
}

/** Who computed each slice that is done. */
function doneBy(rig: MixedRig): ReadonlyMap<string, { readonly worker: string; readonly attempt: number }> {
  const entries = journalOf(join(rig.out, "job")).filter(({ body }) => body.state === "done" && body.worker);
  return new Map(
    entries.map(({ subject, body }) => [
      subject.replace("slice/", ""),
      { worker: String(body.worker), attempt: Number(body.attempt) },
    ]),
  );
}

/** Where an epoch's attempts begin is a multiple of this. */
const ATTEMPTS_OF_A_UNIT = 2 ** 7;

test("a straggler: what it holds is tried elsewhere too, the second attempt wins, and it writes nothing of it", async () => {
  const { rig, submit, worker } = await site();
  const slow = worker("slow", { call: "read", path: MODEL_ONE, thread: "worker", do: "slow", ms: 4000 });
  await did(slow, "attached");
  const job = submit();
  await did(slow, "job begins");
  worker("fast");
  await expectDone(job);
  await rig.expectMerged("job");
  const done = doneBy(rig);
  const won = [...done.values()].filter((by) => by.worker === "fast" && by.attempt % ATTEMPTS_OF_A_UNIT > 1);
  expect(won.length).toBeGreaterThan(0);
  const written = slow.events.filter(({ msg }) => msg === "written").map(({ unit }) => String(unit));
  for (const unit of written) expect(done.get(unit.replace("slice/", ""))?.worker).toBe("slow");
});

test("a poison slice, which fails whoever computes it: after three workers the job fails, and says why", async () => {
  const { rig, address, submit, worker } = await site();
  const poison = { call: "read", path: MODEL_ONE, thread: "worker", byte: 100_000, do: "EIO" } as const;
  const poisoned = ["a", "b", "c"].map((name) => worker(name, poison));
  const job = submit();
  expect((await job.ended).code).toBe(1);
  const [status] = await ask(address, "status", "job");
  expect(status).toMatchObject({ state: "failed", cause: { code: "storage/io" } });
  expect(JSON.stringify(status?.cause)).toContain("one/model.safetensors");
  // Started again with sound disks, the same command goes on where it ended.
  for (const [k, one] of ["a", "b", "c"].entries()) {
    await poisoned[k]?.killed();
    rig.worker(address, one);
  }
  await expectDone(submit("--name", "again"));
  await rig.expectMerged("job");
  expect(Math.max(...timesDone(join(rig.out, "job")).values())).toBe(1);
});

test("a poison worker, which fails at everything: it is set aside, and the job goes on without it", async () => {
  const { rig, address, submit, worker } = await site();
  const poisoned = worker("poisoned", { call: "open", path: MODEL_ONE, thread: "worker", do: "EIO" });
  for (const one of [poisoned, worker("sound"), worker("other")]) await did(one, "attached");
  await expectDone(submit());
  await rig.expectMerged("job");
  const [mine] = (await ask(address, "workers")).filter(({ name }) => name === "poisoned");
  expect(mine?.setAside).toMatchObject({ code: "storage/io" });
});

test("a worker that flips bits as it computes: --audit 100% finds it, sets it aside, and the output is right", async () => {
  const { rig, address, submit, worker } = await site();
  const liar = worker("liar", { call: "read", path: MODEL_ONE, thread: "worker", do: "flip" });
  for (const one of [liar, worker("a"), worker("b")]) await did(one, "attached");
  await expectDone(submit("--audit", "100%"));
  await rig.expectMerged("job");
  expect(journalOf(join(rig.out, "job")).some(({ body }) => body.state === "disputed")).toBe(true);
  const [found] = (await ask(address, "workers")).filter(({ name }) => name === "liar");
  expect(found?.setAside).toMatchObject({ code: "coordinator/nondeterministic" });
});

test("a disk that keeps other bytes than were written: the seal finds the slice, and it is written anew", async () => {
  const { rig, submit, worker } = await site();
  worker("a", { call: "write", path: STAGED, from: 3, times: 1, do: "flip" });
  await expectDone(submit());
  await rig.expectMerged("job");
  expect(journalOf(join(rig.out, "job")).filter(({ body }) => body.state === "lost")).toHaveLength(1);
});

test("EIO as a worker syncs: the slice is written again on a file that is opened anew", async () => {
  const { rig, submit, worker } = await site();
  worker("a", { call: "sync", path: STAGED, from: 3, times: 2, do: "EIO" });
  await expectDone(submit());
  await rig.expectMerged("job");
  expect(Math.max(...timesDone(join(rig.out, "job")).values())).toBe(1);
});

test.each(["write", "sync"] as const)(
  "a disk that is full at %s: the job pauses and says so, keeps what is done, and goes on when it is resumed",
  async (call) => {
    const { rig, address, submit, worker } = await site();
    const full = rig.path("full");
    writeFileSync(full, "");
    worker("a", { call, path: STAGED, from: 5, while: full, do: "ENOSPC" });
    const job = submit();
    await job.event(({ state }) => state === "paused");
    const [status] = await ask(address, "status", "job");
    expect(status).toMatchObject({ state: "paused", cause: { code: "storage/full" } });
    expect(timesDone(join(rig.out, "job")).size).toBeGreaterThanOrEqual(4);
    rmSync(full);
    await ask(address, "resume", "job");
    await expectDone(job);
    await rig.expectMerged("job");
    expect(Math.max(...timesDone(join(rig.out, "job")).values())).toBe(1);
  },
);

test("a quota of one worker: the job goes on with the others and says so; where it is all workers', it pauses", async () => {
  const { rig, address, submit, worker } = await site();
  const full = rig.path("full");
  writeFileSync(full, "");
  const quota: StorageFault = { call: "write", path: STAGED, from: 2, while: full, do: "EDQUOT" };
  const mine = worker("mine", quota);
  const other = worker("other");
  for (const one of [mine, other]) await did(one, "attached");
  await expectDone(submit());
  await rig.expectMerged("job");
  expect(timesDone(join(rig.out, "job")).size).toBeGreaterThan(0);
  const [status] = await ask(address, "status", "job");
  expect(JSON.stringify(status?.warnings)).toMatch(/goes on without worker mine.*EDQUOT/);
  // No other job need go without it.
  expect((await ask(address, "workers")).map(({ setAside }) => setAside)).toEqual([undefined, undefined]);
  other.terminate();
  await other.ended;
  const second = rig.submit(address, rig.recipe(), "second");
  await second.event(({ state }) => state === "paused");
  expect((await ask(address, "status", "second"))[0]).toMatchObject({ cause: { code: "storage/over-limit" } });
  rmSync(full);
  await ask(address, "resume", "second");
  await expectDone(second);
  await rig.expectMerged("second");
});

const HOUR_MS = 3_600_000;

test.each([HOUR_MS, -HOUR_MS])(
  "clocks that jump by %i ms, in coordinator and worker: nothing is lost by it",
  async (jumpMs) => {
    const rig = new MixedRig();
    const { address, cli } = await rig.coordinator(TIMES, { movableClock: true });
    const slow: StorageFault = { call: "write", path: STAGED, do: "slow", ms: 50 };
    const worker = rig.worker(address, "w", [], { movableClock: true, faults: [slow] });
    const job = rig.submit(address, rig.recipe(), "job");
    await job.event(({ slicesDone }) => Number(slicesDone) >= 3);
    cli.jumpClock(jumpMs);
    await job.event(({ slicesDone }) => Number(slicesDone) >= 10);
    worker.jumpClock(jumpMs);
    await job.event(({ slicesDone }) => Number(slicesDone) >= 15);
    cli.jumpClock(0);
    await expectDone(job);
    await rig.expectMerged("job");
    for (const { attempt } of doneBy(rig).values()) expect(attempt % ATTEMPTS_OF_A_UNIT).toBe(1);
  },
);
