import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { connectNats, createStreams, type Nats } from "../../../coordinator/nats/index.ts";
import { type NatsQueueOptions, openNatsQueue } from "../../../coordinator/queue/index.ts";
import { FileStore } from "../../../storage/index.ts";
import { NatsServer, natsVersions } from "../../support/nats-server.ts";
import { claimOf, jobNamed, queueContract } from "../queue.contract.ts";

const sizes = { replicas: 1, journalBytes: 2 ** 24 };
let places = 0;

/** A place of its own on a server: streams of a prefix that no other test uses. Ends with the test. */
async function connectTo(server: NatsServer, prefix = `t${places++}`): Promise<Nats> {
  const nats = await connectNats(new FileStore(), { servers: [server.url], prefix, requestTimeoutMs: 500 });
  onTestFinished(() => nats.close());
  await createStreams(nats, sizes);
  return nats;
}

describe.each(natsVersions)("nats-server %s", (version) => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await NatsServer.start({ version, shared: true });
  });
  afterAll(() => server.end());

  queueContract("the JetStream queue", async () => {
    const nats = await connectTo(server);
    return async () => openNatsQueue(nats);
  });

  async function twoQueues(options: NatsQueueOptions = {}) {
    const one = await connectTo(server);
    const two = await connectTo(server, one.names.prefix);
    return { one, two, queues: [openNatsQueue(one, options), openNatsQueue(two, options)] as const };
  }

  test("of coordinators that claim at once, each job goes to one", async () => {
    const { queues } = await twoQueues();
    for (let k = 0; k < 20; k++) await queues[0].submit(jobNamed(`job-${k}`));
    const names: string[] = [];
    await Promise.all(
      [...queues, ...queues].map(async (queue, k) => {
        for (let c = await queue.claim(`c${k}`); c !== undefined; c = await queue.claim(`c${k}`))
          names.push(c.job.name);
      }),
    );
    expect(names.sort()).toEqual(Array.from({ length: 20 }, (_, k) => `job-${k}`).sort());
  });

  test("a job whose coordinator is gone is claimed by another", async () => {
    const { one, two, queues } = await twoQueues({ keepAliveMs: 100 });
    await shortenAckWait(one);
    await queues[0].submit(jobNamed("a"));
    await claimOf(queues[0], "c1");
    await one.connection.close(); // as a crash would
    const next = await claimOf(queues[1], "c2");
    expect(next.job).toMatchObject({ holder: "c2", claims: 2 });
    await next.end("done");
    expect(await openNatsQueue(two).find("a")).toMatchObject({ state: "ended", outcome: "done", holder: "c2" });
  });

  test("a claim that is vouched for stays, however long it takes; one that is lost is told", async () => {
    const { one, queues } = await twoQueues({ keepAliveMs: 100 });
    await shortenAckWait(one);
    await queues[0].submit(jobNamed("a"));
    const claim = await claimOf(queues[0], "c1");
    for (let k = 0; k < 15; k++) {
      expect(await queues[1].claim("c2")).toBeUndefined();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(claim.lost.aborted).toBe(false);
    // Somebody else holds the record now, as after a take-over while this one was cut off.
    await takeRecord(one, "a");
    await new Promise((resolve) => claim.lost.addEventListener("abort", resolve, { once: true }));
    await expect(claim.end("done")).rejects.toMatchObject({ code: "queue/claim-lost" });
    await claim.release();
    expect(await queues[1].find("a")).toMatchObject({ holder: "thief" });
  });

  test("a token without a record, and one of an ended job, lead to no claim", async () => {
    const { one, queues } = await twoQueues();
    await one.client.publish(`${one.names.prefix}.q.2.orphan`, JSON.stringify({ id: "orphan", name: "none" }));
    await one.client.publish(`${one.names.prefix}.q.2.junk`, "junk");
    expect(await queues[0].claim("c1")).toBeUndefined();
    await queues[0].submit(jobNamed("a"));
    await queues[0].wish("a", "cancel");
    expect(await queues[0].claim("c1")).toBeUndefined();
    const { state } = await one.manager.streams.info(one.names.jobsStream);
    expect(state.messages).toBe(1); // the orphan's, which is not old enough yet
  });
});

/** So that a test need not wait for half a minute. */
async function shortenAckWait({ manager, names }: Nats): Promise<void> {
  await manager.consumers.update(names.jobsStream, "priority-2", { ack_wait: 500_000_000 });
}

async function takeRecord({ client, manager, names }: Nats, name: string): Promise<void> {
  const subject = `${names.prefix}.r.${name}`;
  const record = (await manager.streams.getMessage(names.recordsStream, { last_by_subj: subject }))?.json<object>();
  await client.publish(subject, JSON.stringify({ ...record, holder: "thief" }));
}
