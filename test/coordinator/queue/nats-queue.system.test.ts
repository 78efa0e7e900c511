import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { connectNats, createStreams, type Nats } from "../../../coordinator/nats/index.ts";
import { type JobReservation, type NatsQueueOptions, openNatsQueue } from "../../../coordinator/queue/index.ts";
import { FileStore } from "../../../storage/index.ts";
import { lagBehind } from "../../support/lagging-leader.ts";
import { NatsServer, natsVersions } from "../../support/nats-server.ts";
import { claimOf, jobNamed, queueContract, reservationIn } from "../queue.contract.ts";

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

  test("what somebody had who is known to have ended is claimed at once, and what others have is not", async () => {
    const { one, queues } = await twoQueues();
    await queues[0].submit(jobNamed("a"));
    await claimOf(queues[0], "killed-1");
    await one.connection.close();
    await queues[1].submit(jobNamed("b"));
    const other = await claimOf(queues[1], "other-1");
    expect(await queues[1].claim("killed-2")).toBeUndefined();
    await queues[1].giveBackOf((holder) => holder === "killed-1");
    const again = await claimOf(queues[1], "killed-2");
    expect(again.job).toMatchObject({ name: "a", holder: "killed-2", claims: 2 });
    expect(await queues[1].claim("killed-2")).toBeUndefined();
    // Given back once more by what the first claim left behind: it is somebody else's by now.
    await queues[1].giveBackOf((holder) => holder === "killed-1");
    expect(await queues[1].claim("killed-3")).toBeUndefined();
    await again.end("done");
    await other.end("done");
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

  test("submissions through two coordinators at once: one job for a request, one for an output", async () => {
    const { queues } = await twoQueues();
    const made = Array.from({ length: 6 }, (_, k) => ({
      ...jobNamed(`job-${k % 2}`),
      nameTaken: "suffix" as const,
      requestId: `r${k % 2}`,
    }));
    const records = await Promise.all(made.map((job, k) => (queues[k % 2] ?? queues[0]).submit(job)));
    expect(new Set(records.map(({ id }) => id)).size).toBe(2);
    const outcomes = await Promise.allSettled(
      queues.map((queue, k) => queue.submit({ ...jobNamed(`x-${k}`), out: { root: "out", path: "one" } })),
    );
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(await queues[0].list()).toHaveLength(3);
  });

  test("whatever changes between reading all and reserving, the decision is made anew", async () => {
    const { one, queues } = await twoQueues();
    const [slow, fast] = queues;
    const before = reservationIn(await fast.reserve({ ...jobNamed("z"), requestId: "z" }, "c2"));
    const wanted = (name: string) => ({ ...jobNamed(name), out: { root: "out", path: "one" }, requestId: name });
    const publish = one.client.publish.bind(one.client);
    let others: JobReservation | undefined;
    one.client.publish = async (subject, ...rest) => {
      if (others === undefined && subject.includes(".r.=p")) {
        // The other's record takes a place that was not free as this one read.
        await before.release();
        others = reservationIn(await fast.reserve(wanted("b"), "c2"));
      }
      return publish(subject, ...rest);
    };
    const submitted = slow.reserve(wanted("a"), "c1");
    while (others === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
    const { id } = await (others as JobReservation).confirm({});
    expect(await submitted).toMatchObject({ state: "output-taken", job: { id } });
  });

  test("a leader that has not taken over all yet is asked again: no job is told to be gone, or taken for gone", async () => {
    const { one, queues } = await twoQueues();
    const [lagging, other] = queues;
    const { id } = await other.submit(jobNamed("a"));
    lagBehind(one, "r");
    expect(await lagging.find("a")).toMatchObject({ id });
    lagBehind(one, "r");
    expect(await lagging.find(id)).toMatchObject({ id });
    lagBehind(one, "r");
    expect(await lagging.find(id), "one that was found before").toMatchObject({ id });
    const reservation = reservationIn(await lagging.reserve(jobNamed("b"), "c1"));
    lagBehind(one, "r");
    expect(await reservation.confirm({}), "what it wrote itself").toMatchObject({ name: "b" });
    lagBehind(one, "r");
    expect(await lagging.list()).toHaveLength(2);
    // Its token is as old as that of a submitter who died before he wrote the record.
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3_600_000 });
    onTestFinished(() => void vi.useRealTimers());
    const third = await connectTo(server, one.names.prefix);
    lagBehind(third, "r");
    const claims = await openNatsQueue(third)
      .claim("c3")
      .then((claim) => (claim === undefined ? [] : [claim]));
    vi.useRealTimers();
    while (claims.length < 2) claims.push(...[(await other.claim("c2")) ?? []].flat());
    expect(claims.map(({ job }) => job.name).sort()).toEqual(["a", "b"]);
  });

  test("what a coordinator was planning that is gone is free after a while, and its late word does not count", async () => {
    const { one, queues } = await twoQueues({ keepAliveMs: 60_000, silenceMs: 300 });
    const job = { ...jobNamed("a"), requestId: "r1" };
    const dead = reservationIn(await queues[0].reserve(job, "c1"));
    const record = await queues[1].submit(job);
    await expect(dead.confirm({})).rejects.toMatchObject({ code: "queue/claim-lost", retryable: true });
    expect(await queues[0].list()).toEqual([record]);
    expect((await claimOf(queues[0])).job.id).toBe(record.id);
    // The job, and what submissions that are being planned use again and again.
    for (let k = 0; k < 3; k++) await queues[k % 2]?.submit({ ...jobNamed(`b${k}`), requestId: `b${k}` });
    expect((await one.manager.streams.info(one.names.recordsStream)).state.messages).toBe(4 + 1);
  });

  test("a job that is looked for by its id again and again is found without reading all records, whoever has its name", async () => {
    const { one, queues } = await twoQueues({});
    const [queue] = queues;
    for (let k = 0; k < 20; k++) await queue.submit(jobNamed(`other-${k}`));
    const first = await queue.submit({ ...jobNamed("a"), priority: 4 });
    expect(await queue.find(first.id)).toEqual(first);
    const asked = async (id: string) => {
      const before = one.connection.stats();
      const found = await queue.find(id);
      const { inMsgs, outMsgs } = one.connection.stats();
      return { found, messages: inMsgs - before.inMsgs + outMsgs - before.outMsgs };
    };
    const again = await asked(first.id);
    expect(again.found).toEqual(first);
    expect(again.messages).toBeLessThanOrEqual(2);
    const ended = await (await claimOf(queue)).end("done");
    await queues[1].submit(jobNamed("a"));
    const past = await asked(first.id);
    expect(past.found).toEqual(ended);
    expect(past.messages).toBeLessThanOrEqual(4);
    await queue.forget(first.id);
    expect(await queue.find(first.id)).toBeUndefined();
  });

  test("what nobody waits for goes too, once coordinators have seen it silent", async () => {
    const { one, queues } = await twoQueues({ keepAliveMs: 60_000, silenceMs: 100 });
    const dead = reservationIn(await queues[0].reserve(jobNamed("a"), "c1"));
    const stop = new AbortController();
    void queues[1].changes(stop.signal)[Symbol.asyncIterator]().next();
    for (;;) {
      await queues[1].claim("c2");
      const { subject, data } = (await lastRecord(one)) ?? { subject: "", data: "x" };
      if (subject.includes(".r.=p") && data.length === 0) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await expect(dead.confirm({})).rejects.toMatchObject({ code: "queue/claim-lost" });
    stop.abort();
  });

  test("planning that is vouched for holds what it took, however long it takes", async () => {
    const { queues } = await twoQueues({ keepAliveMs: 30, silenceMs: 300 });
    const job = { ...jobNamed("a"), requestId: "r1" };
    const reservation = reservationIn(await queues[0].reserve(job, "c1"));
    const again = queues[1].reserve(job, "c2");
    await new Promise((resolve) => setTimeout(resolve, 1200));
    const record = await reservation.confirm({});
    expect(await again).toMatchObject({ state: "repeated", job: { id: record.id } });
  });

  test("a record of another version is passed over, and said once; its job is left to others", async () => {
    const said: unknown[] = [];
    const { one, queues } = await twoQueues({ log: (event, { subject }) => said.push([event, subject]) });
    const [queue] = queues;
    const newer = await queue.submit(jobNamed("newer"));
    const subject = `${one.names.prefix}.r.newer`;
    await one.client.publish(subject, JSON.stringify({ ...newer, version: 2, state: "somehow" }));
    await one.client.publish(`${one.names.prefix}.r.junk`, "junk");
    const stop = new AbortController();
    const changes = queue.changes(stop.signal)[Symbol.asyncIterator]();
    const known = await queue.submit(jobNamed("known"));
    expect((await changes.next()).value).toEqual(known);
    expect(await queue.list()).toEqual([known]);
    await expect(queue.submit({ ...jobNamed("newer"), requestId: "r" })).rejects.toMatchObject({
      code: "queue/name-taken",
    });
    await expect(queue.wish("newer", "pause")).rejects.toMatchObject({ code: "queue/corrupt" });
    expect((await claimOf(queue)).job.id).toBe(known.id);
    expect(said).toEqual([
      ["record passed over", subject],
      ["record passed over", `${one.names.prefix}.r.junk`],
    ]);
    // The token of the newer version's job is still there.
    expect((await one.manager.streams.info(one.names.jobsStream)).state.messages).toBe(2);
    stop.abort();
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

async function lastRecord({ manager, names }: Nats) {
  return manager.streams.getMessage(names.recordsStream, { last_by_subj: `${names.prefix}.r.*` });
}

async function takeRecord({ client, manager, names }: Nats, name: string): Promise<void> {
  const subject = `${names.prefix}.r.${name}`;
  const record = (await manager.streams.getMessage(names.recordsStream, { last_by_subj: subject }))?.json<object>();
  await client.publish(subject, JSON.stringify({ ...record, holder: "thief" }));
}
