/** Coordinators that share JetStream, with real servers that fail. */
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { run } from "../e2e/cli-process.ts";
import type { Cli, StorageFault } from "../support/child-process.ts";
import { NatsServer, natsVersions } from "../support/nats-server.ts";
import { ask, DEBUG, did, expectDone, MixedRig, TIMES } from "./mixed-rig.ts";

const LONG_MS = 240_000;
const SLOW: StorageFault = { call: "write", path: "\\.deltaworks/stage/.*safetensors$", do: "slow", ms: 150 };

interface Shared {
  readonly rig: MixedRig;
  /** Another coordinator, with a state of its own. */
  coordinator(name: string, args?: readonly string[]): Promise<{ readonly cli: Cli; readonly address: string }>;
  worker(address: string, name: string): Cli;
}

async function shared(servers: readonly NatsServer[]): Promise<Shared> {
  const rig = new MixedRig();
  const nats = ["--nats", servers.map(({ url }) => url).join(",")];
  const { code, stderr } = await run(["nats", "init", ...nats, "--replicas", String(servers.length)]);
  expect(code, stderr).toBe(0);
  return {
    rig,
    coordinator: (name, args = TIMES) => rig.coordinator([...args, ...nats, "--state", rig.path(`state-${name}`)]),
    worker: (address, name) => rig.worker(address, name, DEBUG, { faults: [SLOW] }),
  };
}

/** Slices that were recorded as done, once for each time. */
async function slicesDone(address: string): Promise<string[]> {
  const done = (await ask(address, "events", "job")).filter(({ event }) => event === "slices-done");
  return done.flatMap(({ slices }) => (slices as { readonly slice: string }[]).map(({ slice }) => slice));
}

describe.each(natsVersions)("nats-server %s", (version) => {
  test(
    "is killed and started again in the middle of a job: nothing is lost, no slice is done twice",
    async () => {
      const server = await NatsServer.start({ version });
      const { rig, coordinator, worker } = await shared([server]);
      const { address } = await coordinator("a");
      const first = worker(address, "w1");
      const job = rig.submit(address, rig.recipe(), "job");
      await did(first, "report-answered", 5);
      await server.stop("SIGKILL");
      const written = first.events.filter(({ msg }) => msg === "written").length;
      await did(first, "written", written + 1);
      await server.start();
      await expectDone(job);
      await rig.expectMerged("job");
      const done = await slicesDone(address);
      expect(done.length).toBe(new Set(done).size);
    },
    LONG_MS,
  );

  test.each(["killed", "told to end"])(
    "a coordinator that is %s and is started again goes on, long before a lease is over",
    async (how) => {
      const server = await NatsServer.start({ version });
      const { rig, coordinator, worker } = await shared([server]);
      // Longer than anybody waits here.
      const times = ["--lease", "1h"];
      const { cli, address } = await coordinator("a", times);
      const first = worker(address, "w1");
      rig.submit(address, rig.recipe(), "job", ["--no-wait"]);
      await did(first, "report-answered", 5);
      if (how === "killed") cli.kill();
      else cli.terminate();
      await cli.ended;
      const again = await coordinator("a", [...times, "--listen", address]);
      const end = await again.cli.event(({ msg }) => msg === "job ended");
      expect(end.outcome).toBe("done");
      await rig.expectMerged("job");
    },
    LONG_MS,
  );

  test(
    "two coordinators believe that they lead: the one that was taken over does no harm",
    async () => {
      const server = await NatsServer.start({ version });
      const { rig, coordinator, worker } = await shared([server]);
      const a = await coordinator("a");
      const first = worker(a.address, "w1");
      rig.submit(a.address, rig.recipe(), "job", ["--no-wait"]);
      await did(first, "report-answered", 5);
      // Now: either might have taken up a job that was there before.
      const b = await coordinator("b");
      worker(b.address, "w2");
      a.cli.freeze();
      await b.cli.event(({ msg }) => msg === "job began");
      // It wakes up while the other leads, and so does its worker's work.
      a.cli.thaw();
      const end = await b.cli.event(({ msg }) => msg === "job ended");
      expect(end.outcome).toBe("done");
      await rig.expectMerged("job");
      expect(a.cli.events.filter(({ msg, outcome }) => msg === "job ended" && outcome === "done")).toEqual([]);
      expect(a.cli.end).toBeUndefined();
      expect((await ask(a.address, "status", "job"))[0]?.state).toBe("done");
    },
    LONG_MS,
  );

  test(
    "loses the tail of the journal: the job is taken over, and what was lost is computed again",
    async () => {
      const server = await NatsServer.start({ version });
      const { rig, coordinator, worker } = await shared([server]);
      const { address, cli } = await coordinator("a");
      const first = worker(address, "w1");
      const job = rig.submit(address, rig.recipe(), "job");
      await did(first, "report-answered", 4);
      await server.stop();
      const restore = server.saveStore();
      await server.start();
      await did(first, "report-answered", 14);
      await server.stop("SIGKILL");
      restore();
      await server.start();
      await expectDone(job);
      await rig.expectMerged("job");
      expect(cli.stderr).toContain("journal/tail-lost");
    },
    LONG_MS,
  );

  test(
    "three of them are killed one after the other: the job goes on",
    async () => {
      const servers = await NatsServer.startCluster({ version });
      const { rig, coordinator, worker } = await shared(servers);
      const { address } = await coordinator("a");
      const first = worker(address, "w1");
      const job = rig.submit(address, rig.recipe(), "job");
      for (const [k, server] of servers.entries()) {
        await did(first, "report-answered", 4 * (k + 1));
        await server.stop("SIGKILL");
        await did(first, "report-answered", 4 * (k + 1) + 2);
        await server.start();
        while (!(await healthy(servers))) await delay(100);
      }
      await expectDone(job);
      await rig.expectMerged("job");
      const done = await slicesDone(address);
      expect(done.length).toBe(new Set(done).size);
    },
    LONG_MS,
  );
});

test(
  "NATS is away for a minute: workers go on with what they have, and the job ends",
  async () => {
    const server = await NatsServer.start({ version: natsVersions[0] ?? "" });
    const { rig, coordinator, worker } = await shared([server]);
    const { address, cli } = await coordinator("a");
    const first = worker(address, "w1");
    const job = rig.submit(address, rig.recipe(), "job");
    await did(first, "report-answered", 5);
    await server.stop("SIGKILL");
    await delay(60_000); // longer than a coordinator's claim of a job lasts
    await server.start();
    await cli.event(({ msg, outcome }) => msg === "job ended" && outcome === "done");
    await expectDone(job);
    await rig.expectMerged("job");
  },
  LONG_MS,
);

async function healthy(servers: readonly NatsServer[]): Promise<boolean> {
  return (await Promise.all(servers.map((server) => server.isHealthy()))).every(Boolean);
}
