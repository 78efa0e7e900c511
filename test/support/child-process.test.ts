/** The tools of the cluster tests do what they say, shown with merges on one machine. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeEach, describe, expect, test } from "vitest";
import { hashesOf, journalOf, MODELS, run, slicesDone } from "../e2e/cli-process.ts";
import { STACKED_SIZES, stackedRecipe } from "../e2e/stacked-recipe.ts";
import { Cli, type StorageFault } from "./child-process.ts";
import { temporaryFolder } from "./temporary-folder.ts";

let folder: string;
let out: string;

beforeEach(() => {
  folder = temporaryFolder();
  out = join(folder, "out");
  writeFileSync(join(folder, "recipe.yml"), stackedRecipe("merge_method: linear"));
});

const args = (into = out) => [
  ...["merge", join(folder, "recipe.yml"), into, "--models-root", MODELS, "--threads", "2", ...STACKED_SIZES, "--json"],
];

let sound: Record<string, string> | undefined;

async function expectResumes(): Promise<void> {
  expect((await run(args())).code).toBe(0);
  if (sound === undefined) {
    expect((await run(args(join(folder, "sound")))).code).toBe(0);
    sound = hashesOf(join(folder, "sound"));
  }
  expect(hashesOf(out)).toEqual(sound);
}

async function withFault(fault: StorageFault): Promise<Cli> {
  const cli = Cli.start(args(), { faults: [fault] });
  await cli.ended;
  return cli;
}

describe("a process", () => {
  test("is waited for, frozen, thawed and killed", async () => {
    const cli = Cli.start(args());
    const { event, state } = await cli.event("began");
    expect([event, state]).toEqual(["began", "fresh"]);
    await cli.event(({ slicesDone }) => Number(slicesDone) >= 5);
    cli.freeze();
    cli.thaw();
    await cli.event(({ slicesDone }) => Number(slicesDone) >= 10);
    await cli.killed();
    expect(cli.end).toEqual({ code: null, signal: "SIGKILL" });
    await expect(cli.event("done")).rejects.toThrow(/ended \(SIGKILL\) without event done[\s\S]*"began"/);
  });

  test("dies of SIGKILL also while it is frozen", async () => {
    const cli = Cli.start(args());
    await cli.event("began");
    cli.freeze();
    await cli.killed();
    expect(cli.end?.signal).toBe("SIGKILL");
  });

  test("says what it prints", async () => {
    const cli = Cli.start(["methods"]);
    await cli.says("ties");
    await cli.says(/^della_linear /m);
    expect(await cli.ended).toEqual({ code: 0, signal: null });
  });
});

describe("storage that fails", () => {
  test.each(["ENOSPC", "EIO"] as const)("a write of a slice with %s", async (code) => {
    const cli = await withFault({ call: "write", path: "stage/.*safetensors$", thread: "worker", from: 3, do: code });
    expect(cli.end?.code).toBe(1);
    expect(cli.events.findLast(({ event }) => event === "error")?.message).toContain(`${code}: injected by a test`);
    await expectResumes();
  });

  test("a sync with EIO", async () => {
    const cli = await withFault({ call: "sync", path: "stage/.*safetensors$", from: 5, times: 1, do: "EIO" });
    expect([0, 1]).toContain(cli.end?.code);
    await expectResumes();
  });

  test("a disk that is full while a file is there, and then no more", async () => {
    const full = join(folder, "full");
    writeFileSync(full, "");
    const fault: StorageFault = { call: "write", path: "stage/.*safetensors$", while: full, do: "ENOSPC" };
    expect((await withFault(fault)).end?.code).toBe(1);
    rmSync(full);
    expect((await withFault(fault)).end?.code).toBe(0);
  });

  test("a bit that flips on its way to the disk is found by the seal and computed again", async () => {
    const cli = await withFault({
      call: "write",
      path: "stage/.*safetensors$",
      thread: "worker",
      from: 9,
      times: 1,
      do: "flip",
    });
    expect(cli.end?.code, cli.stderr).toBe(0);
    const lost = journalOf(out).filter(({ body }) => body.state === "lost");
    expect(lost.length).toBeGreaterThan(0);
    await expectResumes();
  });

  test.each(["kill", "kill-after"] as const)(
    "a process that is killed at its n-th write to the journal: %s",
    async (how) => {
      const cli = await withFault({ call: "write", path: "/journal$", from: 4, do: how });
      expect(cli.end?.signal).toBe("SIGKILL");
      const done = slicesDone(out).size;
      const again = await withFault({ call: "write", path: "/journal$", from: 4, do: how });
      expect(again.end?.signal).toBe("SIGKILL");
      expect(slicesDone(out).size).toBeGreaterThanOrEqual(done);
      await expectResumes();
    },
  );

  test("a call that hangs, and one that is slow", async () => {
    const cli = Cli.start(args(), { faults: [{ call: "rename", path: "/config.json$", do: "hang" }] });
    await cli.event("began");
    await cli.event(({ phase }) => phase === "publishing");
    expect(cli.end).toBeUndefined();
    await cli.killed();
    const slow = await withFault({ call: "rename", path: "/config.json$", do: "slow", ms: 20 });
    expect(slow.end?.code).toBe(0);
  });

  test("a fault that nobody knows is refused", async () => {
    const cli = Cli.start(["methods"], { faults: [{ call: "wirte" as "write", path: ".", do: "EIO" }] });
    expect((await cli.ended).code).not.toBe(0);
    expect(cli.stderr).toContain("no call wirte");
  });
});

describe("a clock that jumps", () => {
  const preload = pathToFileURL(join(import.meta.dirname, "clock-jump.mjs")).href;

  test("shifts Date by what the file says, at once, and no monotonic clock", async () => {
    const { spawnSync } = await import("node:child_process");
    const clock = join(folder, "clock");
    const program = `
      import { writeFileSync } from "node:fs";
      const real = process.hrtime.bigint();
      const before = [Date.now(), new Date().getTime(), performance.now()];
      writeFileSync(${JSON.stringify(clock)}, "3600000");
      const after = [Date.now(), new Date().getTime(), performance.now()];
      writeFileSync(${JSON.stringify(clock)}, "-3600000");
      console.log(JSON.stringify({
        jumps: after.map((value, k) => Math.round((value - before[k]) / 3600000)),
        back: Math.round((Date.now() - before[0]) / 3600000),
        fixed: new Date(0).toISOString(),
        parsed: new Date("2030-01-01T00:00:00Z").getTime() === Date.UTC(2030, 0, 1),
        isDate: new Date() instanceof Date && new Date().constructor === Date,
        text: Date().length > 20,
        monotonic: process.hrtime.bigint() - real < 60_000_000_000n,
      }));`;
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ["--import", preload, "--input-type=module", "-e", program],
      {
        env: { ...process.env, DELTAWORKS_TEST_CLOCK: clock },
        encoding: "utf8",
      },
    );
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual({
      jumps: [1, 1, 0],
      back: -1,
      fixed: "1970-01-01T00:00:00.000Z",
      parsed: true,
      isDate: true,
      text: true,
      monotonic: true,
    });
  });

  test("a merge whose clock jumps an hour forth and back ends in the same bytes", async () => {
    const cli = Cli.start(args(), { movableClock: true });
    await cli.event("began");
    cli.jumpClock(3_600_000);
    await cli.event(({ slicesDone }) => Number(slicesDone) >= 20);
    cli.jumpClock(-3_600_000);
    expect((await cli.ended).code).toBe(0);
    await expectResumes();
  });
});
