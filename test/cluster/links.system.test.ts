/** What networks do to the link between a worker and its coordinator: every bit must be right all the same. */
import { expect, onTestFinished, test } from "vitest";
import type { Cli } from "../support/child-process.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { DEBUG, did, expectDone, MixedRig, TIMES } from "./mixed-rig.ts";

interface Linked {
  readonly rig: MixedRig;
  readonly address: string;
  readonly proxy: TcpProxy;
  /** Behind the proxy. */
  readonly worker: Cli;
  readonly job: Cli;
}

/** A job that a worker behind a proxy has begun to work on. */
async function linked(): Promise<Linked> {
  const rig = new MixedRig();
  const { address } = await rig.coordinator(TIMES);
  const proxy = await TcpProxy.listen({ port: Number(address.split(":")[1]) });
  onTestFinished(() => proxy.close());
  const slow = { call: "write", path: "\\.deltaworks/stage/.*safetensors$", do: "slow", ms: 60 } as const;
  const worker = rig.worker(`127.0.0.1:${proxy.port}`, "far", DEBUG, { faults: [slow] });
  const job = rig.submit(address, rig.recipe(), "job");
  await did(worker, "written", 3);
  return { rig, address, proxy, worker, job };
}

test("a pulled cable: the other worker takes over what was lent, and the first attaches again when there is a link", async () => {
  const { rig, address, proxy, worker, job } = await linked();
  proxy.silence();
  rig.worker(address, "near");
  await expectDone(job);
  await rig.expectMerged("job");
  proxy.restore();
  await did(worker, "attached", 2);
});

test("a pulled cable and nobody else: the job waits, and goes on when there is a link", async () => {
  const { rig, proxy, worker, job } = await linked();
  proxy.silence();
  // It notices by itself, for nobody tells it.
  await did(worker, "not attached");
  proxy.restore();
  await expectDone(job);
  await rig.expectMerged("job");
});

test.each(["dialer", "target"] as const)(
  "half open, the %s has lost the connection: both find out, and the job ends",
  async (end) => {
    const { rig, proxy, worker, job } = await linked();
    proxy.forget(end);
    await did(worker, "attached", 2);
    await expectDone(job);
    await rig.expectMerged("job");
  },
);

test("a link that stalls for longer than leases last: what comes late changes nothing", async () => {
  const { rig, address, proxy, job } = await linked();
  proxy.stall();
  rig.worker(address, "near");
  await expectDone(job);
  proxy.restore();
  await rig.expectMerged("job");
});

test("a link that is reset again and again: the job goes on each time", async () => {
  const { rig, proxy, worker, job } = await linked();
  for (let times = 2; times <= 4; times++) {
    proxy.reset();
    await did(worker, "attached", times);
  }
  await expectDone(job);
  await rig.expectMerged("job");
});

test("1 kB/s: the worker counts for little, and nothing waits for it", async () => {
  const { rig, address, proxy, job } = await linked();
  proxy.set({ bytesPerSecond: 1000 });
  rig.worker(address, "near");
  await expectDone(job);
  await rig.expectMerged("job");
  expect(proxy.open).toBeGreaterThan(0);
});
