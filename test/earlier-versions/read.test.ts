import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { type JobHistory, readHistory } from "../../coordinator/job/index.ts";
import { lookAt, openFileJournal } from "../../coordinator/journal/index.ts";
import type { WorkerHub } from "../../coordinator/link/index.ts";
import { openFileQueue } from "../../coordinator/queue/index.ts";
import { linuxOnly } from "../../scripts/linux-only.mjs";
import { InlinePlanner, JobCoordinator, Roots } from "../../service/index.ts";
import { placeOf } from "../../storage/index.ts";
import { TokenFile } from "../../trust/index.ts";
import { Secret } from "../../trust/secrets/index.ts";
import { Rig } from "../cluster/rig.ts";
import { run } from "../e2e/cli-process.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { byName, doneSlices, store, versions } from "./left-behind.ts";

test("there is something of an earlier version", () => expect(versions).toContain("0.1.0"));

describe.each(versions)("what version %s left", (version) => {
  const place = join(import.meta.dirname, version);

  function copied(name: string): string {
    const folder = join(temporaryFolder(), name);
    cpSync(join(place, name), folder, { recursive: true });
    return folder;
  }

  test("a queue: jobs are as they were, one that ran is due again, and requests are known", async () => {
    const queue = await openFileQueue(store, placeOf(copied("queue")));
    onTestFinished(() => queue.close());
    const { done, running, paused, cancelled } = byName(await queue.list());
    expect(done).toMatchObject({ state: "ended", outcome: "done", wish: "none" });
    expect(running).toMatchObject({ state: "queued", claims: 1, out: { root: "out", path: "running" } });
    expect(paused).toMatchObject({ wish: "pause", priority: 0 });
    expect(cancelled).toMatchObject({ state: "ended", outcome: "cancelled" });
    for (const job of [done, running, paused, cancelled]) expect(job?.requestId).toMatch(/^[0-9a-f-]{36}$/);
    const repeated = { ...running, name: "again", nameTaken: "refuse" } as Parameters<typeof queue.reserve>[0];
    expect(await queue.reserve(repeated, "c")).toMatchObject({ state: "repeated", job: { id: running?.id } });
    expect((await queue.claim("c"))?.job.id).toBe(running?.id);
  });

  test("a job that waits: it is planned and run with the options that it was submitted with", async () => {
    const out = placeOf(temporaryFolder());
    const roots = await Roots.open(store, [
      { name: "models", path: placeOf(resolve("examples/models")) },
      { name: "out", path: out },
    ]);
    const queue = await openFileQueue(store, placeOf(copied("queue")));
    onTestFinished(() => queue.close());
    const begun: unknown[] = [];
    const hub = { workers: [], jobs: new Map(), source: () => async () => {}, closeJob: async () => {} };
    const coordinator = new JobCoordinator({
      ...{ store, roots, queue, hub: hub as unknown as WorkerHub, jobsMax: 1, slotsPerThread: 2, toolVersion: "0" },
      ...{ leaseMs: 1000, ioTimeoutMs: 1000, surveyElements: 2 ** 20, clock: { nowMs: () => performance.now() } },
      name: { state: "ab", start: 1 },
      planner: new InlinePlanner(store, roots),
      log: (event, facts) => begun.push({ event, ...facts }),
    });
    onTestFinished(() => coordinator.stop(1000));
    coordinator.start();
    await expect
      .poll(() => begun, { timeout: 20_000 })
      .toContainEqual(expect.objectContaining({ event: "job began", job: "running", state: "fresh" }));
  });

  test("journals of outputs: what they told is told", async () => {
    const folder = copied("journals");
    const histories: Record<string, JobHistory> = {};
    for (const name of readdirSync(folder)) {
      const journal = await openFileJournal(store, placeOf(join(folder, name)));
      histories[name] = await readHistory(lookAt(journal));
      expect([journal.tornBytes, journal.lostRecords]).toEqual([0, 0]);
      await journal.close();
    }
    const { done, running, paused, cancelled } = histories;
    expect(done).toMatchObject({ phase: "done", planVersion: 2 });
    expect(doneSlices(done as JobHistory)).toBe(63);
    // Its verdicts are not used: NaN had become null in them. The tensors are surveyed again.
    expect(done?.verdicts.size).toBe(0);
    expect(done?.files.map(({ name }) => name)).toContain("model.safetensors");
    expect(done?.inputs?.flat()[0]).toMatchObject({
      sizeBytes: expect.any(Number),
      version: expect.stringMatching(/^inode [0-9]+, modified /),
    });
    expect(running).toMatchObject({ phase: "planned", plan: done?.plan });
    expect(paused?.paused).toMatchObject({ code: "service/paused" });
    expect(cancelled?.phase).toMatch(/^cancell(?:ing|ed)$/);
  });

  describe("a state directory whose coordinator was killed", { timeout: 60_000 }, () => {
    function stateOf(rig: Rig, boot: string): void {
      mkdirSync(rig.state);
      for (const name of ["starts", "queue", "lock"])
        cpSync(join(place, name), join(rig.state, name), { recursive: true });
      for (const lock of ["lock", "queue/lock"].map((name) => join(rig.state, name))) {
        writeFileSync(lock, readFileSync(lock, "latin1").replace("00000000", boot));
      }
    }

    test("before the machine was started anew: a coordinator goes on with it", async () => {
      const rig = new Rig();
      stateOf(rig, "00000000");
      const { address } = await rig.coordinator();
      const { stdout } = await run(["list", "--all", "--coordinator", address, "--json"]);
      const names = stdout
        .split("\n")
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as { name: string }).name);
      expect(names.sort()).toEqual(["cancelled", "done", "paused", "running"]);
    });

    test("since: it is refused, and goes on when somebody says by its name that the coordinator has ended", async () => {
      linuxOnly("Which boot of the machine this is, is read from /proc");
      const rig = new Rig();
      stateOf(rig, readFileSync("/proc/sys/kernel/random/boot_id", "latin1").slice(0, 8));
      const { code, stderr } = await run(["coordinator", "--listen", "127.0.0.1:0", "--state", rig.state, "--json"]);
      expect(code).toBe(1);
      expect(stderr).toContain("storage/locked");
      const [, holder = ""] = /--take-over (\d+-\w+@[\w.-]*)/.exec(stderr) ?? [];
      const { address } = await rig.coordinator(["--take-over", holder]);
      const { stdout } = await run(["list", "--all", "--coordinator", address, "--json"]);
      expect(stdout.split("\n").filter(Boolean)).toHaveLength(4);
    });
  });

  test("an output: it is verified, and what is damaged in it is named, with who can repair it", async () => {
    const out = copied("output");
    expect(await run(["verify", out])).toMatchObject({ code: 0 });
    const shard = join(out, "model.safetensors");
    const bytes = readFileSync(shard);
    bytes[30_000]! ^= 1;
    writeFileSync(shard, bytes);
    expect(await run(["verify", out])).toMatchObject({ code: 3, stdout: expect.stringContaining("s000000") });
    const repaired = await run(["repair", out, "--models-root", "examples/models"]);
    expect(repaired.stderr).toContain("publish/plan-differs");
    expect(repaired.stderr).toContain(`deltaworks ${version}, which made the output, plans differently`);
  });

  test("a merge that had not ended: it is refused, with who can finish it and how to begin anew", async () => {
    const [out, recipe] = [join(temporaryFolder(), "out"), join(place, "recipe.yml")];
    mkdirSync(join(out, ".deltaworks"), { recursive: true });
    const lines = readFileSync(join(place, "output/.deltaworks/journal"), "latin1").trimEnd().split("\n");
    writeFileSync(join(out, ".deltaworks/journal"), `${lines.slice(0, -2).join("\n")}\n`, "latin1");
    const merge = ["merge", recipe, out, "--models-root", "examples/models", "--threads", "1", "--quiet"];
    const { code, stderr } = await run(merge);
    expect(code).toBe(2);
    expect(stderr).toContain("coordinator/other-job");
    expect(stderr).toContain(
      "Finish it with the version of deltaworks that began it, or discard what it computed with --restart",
    );
    expect(await run([...merge, "--restart"])).toMatchObject({ code: 0 });
    expect(await run(["verify", out])).toMatchObject({ code: 0 });
  });

  test("join tokens: one that is not used yet is good", async () => {
    const path = placeOf(join(temporaryFolder(), "tokens"));
    cpSync(join(place, "tokens"), path);
    const tokens = await TokenFile.open(store, path);
    const token = new Secret("dw1.342dabe90dbc.ncHF7pfv2jY_cp9roNWF0pybsEDF3A_IHsluACuqB6E");
    expect(await tokens.redeem(token, "a".repeat(64), 1)).toMatchObject({ role: "worker" });
  });
});
