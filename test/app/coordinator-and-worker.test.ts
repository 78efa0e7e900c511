/** A coordinator and a worker as functions: what the commands start, and what a service would. */
import { join } from "node:path";
import { pino } from "pino";
import { expect, test } from "vitest";
import type { startCoordinator as StartCoordinator, startWorker as StartWorker } from "../../app/index.ts";
import { Rig } from "../cluster/rig.ts";
import { hashesOf, run } from "../e2e/cli-process.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

// As built: the worker's threads are files of the build.
const { startCoordinator, startWorker } = (await import(new URL("../../dist/app/index.js", import.meta.url).href)) as {
  readonly startCoordinator: typeof StartCoordinator;
  readonly startWorker: typeof StartWorker;
};

const settings = {
  place: [],
  ...{ listen: "127.0.0.1:0", auditShare: 0, lease: 5000, ioTimeout: 2000, grace: 5000, jobs: 1, reflection: false },
  ...{ planningTime: 60_000, planningMemory: 2 ** 30, keepEnded: 3_600_000 },
  ...{ insecure: false, natsPrefix: "deltaworks" },
};

function unbroken(error: unknown): never {
  throw error;
}

test("are started with typed settings, merge a job and are stopped", { timeout: 120_000 }, async () => {
  const rig = new Rig();
  const coordinator = await startCoordinator(
    { ...settings, state: temporaryFolder(), root: rig.roots.filter((word) => word !== "--root") },
    { log: pino({ level: "silent" }), defect: unbroken },
  );
  const worker = await startWorker(
    {
      coordinator: coordinator.address,
      name: "w1",
      root: [],
      place: [],
      throughCoordinator: false,
      threads: 1,
      engine: "wasm",
      grace: 5000,
      insecure: false,
    },
    { log: () => {}, fatal: unbroken },
  );
  expect((await rig.submit(coordinator.address, rig.recipe(), "merged").ended).code).toBe(0);
  expect((await run(["verify", join(rig.out, "merged"), "--json"])).code).toBe(0);
  expect(Object.keys(hashesOf(join(rig.out, "merged")))).toContain("SHA256SUMS");
  worker.drain();
  await worker.ended;
  await coordinator.stop();
});

test("what cannot be opened leaves nothing open: the next one with the same state begins", async () => {
  const state = temporaryFolder();
  const ports = { log: pino({ level: "silent" }), defect: unbroken };
  await expect(startCoordinator({ ...settings, state, root: ["models=/nowhere"] }, ports)).rejects.toMatchObject({
    code: "service/root",
  });
  const second = await startCoordinator({ ...settings, state, root: [] }, ports);
  await expect(startCoordinator({ ...settings, state, root: [] }, ports)).rejects.toMatchObject({
    code: "storage/locked",
  });
  await second.stop();
});
