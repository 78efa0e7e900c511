import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import {
  type Journal,
  lookAt,
  type NatsJournal,
  type NatsJournalOptions,
  nothingYet,
  openNatsJournal,
  type Sequence,
  takeOver,
} from "../../../coordinator/journal/index.ts";
import { connectNats, createStreams, type Nats } from "../../../coordinator/nats/index.ts";
import { FileStore } from "../../../storage/index.ts";
import { NatsServer, natsVersions } from "../../support/nats-server.ts";
import { entry, journalContract, recordsOf } from "../journal.contract.ts";

/** Impatient, so that an outage need not be long to outlast several requests. */
async function connectTo(servers: readonly NatsServer[]): Promise<Nats> {
  const urls = servers.map(({ url }) => url);
  const nats = await connectNats(new FileStore(), { servers: urls, requestTimeoutMs: 500 });
  onTestFinished(() => nats.close());
  return nats;
}

async function journalOn(servers: readonly NatsServer[], options: NatsJournalOptions = {}, journalBytes = 2 ** 28) {
  const nats = await connectTo(servers);
  await createStreams(nats, { replicas: servers.length, journalBytes });
  return { nats, journal: await openNatsJournal(nats, "job", options) };
}

/** Appends to slice after slice, ten at once, until told to stop. `acknowledged`: what was, and where. */
function appendOn(journal: Journal, prefix = "") {
  const acknowledged = new Map<string, Sequence>();
  let stopped = false;
  const done = (async () => {
    for (let k = 0; !stopped; k++) {
      const subjects = Array.from({ length: 10 }, (_, n) => `slice/${prefix}${k}-${n}`);
      const appends = subjects.map(async (subject) => {
        acknowledged.set(subject, await journal.append(entry(subject, subject), nothingYet));
      });
      await Promise.all(appends);
    }
  })();
  done.catch(() => undefined);
  const stop = () => {
    stopped = true;
    return done;
  };
  return { acknowledged, done, stop };
}

/** All that was acknowledged is there, once, in its place, and nothing else. */
async function expectKept(journal: NatsJournal, acknowledged: ReadonlyMap<string, Sequence>) {
  const records = await recordsOf(journal);
  expect(acknowledged.size).toBeGreaterThan(0);
  const found = new Map(records.map((record) => [record.entry.subject, record.sequence]));
  const lost = [...acknowledged].filter(([subject, sequence]) => found.get(subject) !== sequence);
  expect({ lost: lost.length, records: records.length }).toEqual({ lost: 0, records: acknowledged.size });
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(condition: () => boolean) {
  while (!condition()) await sleep(5);
}

async function moreThan(acknowledged: ReadonlyMap<string, Sequence>, count: number) {
  const before = acknowledged.size;
  await until(() => acknowledged.size >= before + count);
}

describe.each(natsVersions)("a journal on nats-server %s", (version) => {
  test("outlives servers that are killed while it appends: each entry is there once", async () => {
    const server = await NatsServer.start({ version });
    const { journal } = await journalOn([server]);
    const appending = appendOn(journal);
    for (let k = 0; k < 3; k++) {
      await moreThan(appending.acknowledged, 100);
      await server.stop("SIGKILL");
      await server.start();
    }
    await moreThan(appending.acknowledged, 100);
    await appending.stop();
    await expectKept(journal, appending.acknowledged);
  });

  test("waits for a server that is away longer than a request waits", async () => {
    const server = await NatsServer.start({ version });
    const { journal } = await journalOn([server]);
    const appending = appendOn(journal);
    await moreThan(appending.acknowledged, 100);
    await server.stop();
    const before = appending.acknowledged.size;
    await sleep(2500);
    expect(appending.acknowledged.size - before).toBeLessThanOrEqual(10); // acknowledged while it stopped
    await server.start();
    await moreThan(appending.acknowledged, 100);
    await appending.stop();
    await expectKept(journal, appending.acknowledged);
  });

  test("waits for a server that is there and silent", async () => {
    const server = await NatsServer.start({ version });
    const { journal } = await journalOn([server]);
    const appending = appendOn(journal);
    await moreThan(appending.acknowledged, 100);
    server.pause();
    await sleep(1500);
    server.resume();
    await moreThan(appending.acknowledged, 100);
    await appending.stop();
    await expectKept(journal, appending.acknowledged);
  });

  test("says that it is unavailable once its patience has ended, and goes on when the server is back", async () => {
    const server = await NatsServer.start({ version });
    const { journal } = await journalOn([server], { outageMs: 500 });
    const first = await journal.append(entry("slice/1", 1), nothingYet);
    await server.stop();
    const unavailable = { code: "journal/unavailable" };
    await expect(journal.append(entry("slice/1", 2), first)).rejects.toMatchObject(unavailable);
    await expect(journal.last("slice/1")).rejects.toMatchObject(unavailable);
    await server.start();
    await until(() => server.isRunning);
    const patient = await openNatsJournal(await connectTo([server]), "job");
    // The outcome of the second append was unknown: it may have waited in the client and arrived since.
    const last = await patient.last("slice/1");
    await patient.append(entry("slice/1", 3), last);
    expect((await recordsOf(patient)).map((record) => record.entry.body)).toContain(3);
  });

  test("that is closed while the server is away gives up soon", async () => {
    const server = await NatsServer.start({ version });
    const { journal } = await journalOn([server], { closeMs: 100 });
    await server.stop();
    const append = journal.append(entry("slice/1", 1), nothingYet);
    append.catch(() => undefined);
    await journal.close();
    await expect(append).rejects.toMatchObject({ code: "journal/unavailable" });
  });

  test("keeps bodies that are longer than a message", async () => {
    const server = await NatsServer.start({ version });
    const { journal, nats } = await journalOn([server]);
    const body = { verdict: "é".repeat(1_500_000), end: true };
    await Promise.all(["verdict/1", "verdict/2"].map((subject) => journal.append(entry(subject, body), nothingYet)));
    const other = await openNatsJournal(nats, "job");
    expect((await recordsOf(other)).map((record) => record.entry.body)).toEqual([body, body]);
  });

  test("that is full refuses at once, and says what to do", async () => {
    const server = await NatsServer.start({ version });
    const { journal } = await journalOn([server], {}, 100_000);
    const bodies = Array.from({ length: 20 }, () => "x".repeat(10_000));
    const appends = bodies.map((body, k) => journal.append(entry(`slice/${k}`, body), nothingYet));
    const outcomes = await Promise.allSettled(appends);
    const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    expect(refused.length).toBeGreaterThan(0);
    const full = { code: "journal/unavailable", hint: expect.stringContaining("purge jobs that have ended") };
    for (const reason of refused) expect(reason).toMatchObject(full);
    expect(await recordsOf(journal)).toHaveLength(20 - refused.length);
  });

  test("names a message that something else put between its entries", async () => {
    const server = await NatsServer.start({ version });
    const { journal, nats } = await journalOn([server]);
    await nats.client.publish("deltaworks.j.job.s.x", "no JSON");
    await expect(recordsOf(journal)).rejects.toMatchObject({ code: "journal/corrupt" });
  });

  test("whose server was put back to an older state says so, and the job goes on from there", async () => {
    const server = await NatsServer.start({ version });
    const { journal } = await journalOn([server]);
    const leader = await takeOver(journal, null);
    await leader.append(entry("slice/1", "kept"), nothingYet);
    await server.stop();
    const restoreStore = server.saveStore();
    await server.start();
    await leader.append(entry("slice/2", "forgotten"), nothingYet);
    await leader.append(entry("slice/3", "forgotten"), nothingYet);
    await server.stop();
    restoreStore();
    await server.start();
    const lost = { code: "journal/tail-lost", message: expect.stringContaining("forgot") };
    await expect(leader.append(entry("slice/4", 4), nothingYet)).rejects.toMatchObject(lost);
    await expect(leader.append(entry("slice/5", 5), nothingYet)).rejects.toMatchObject(lost);
    const again = await openNatsJournal(await connectTo([server]), "job");
    const next = await takeOver(again, null);
    const slices = (await recordsOf(next)).filter((record) => record.entry.subject.startsWith("slice/"));
    expect(slices.map((record) => record.entry.subject)).toEqual(["slice/1", "slice/4"]);
    expect(again.lostRecords).toBe(2); // the first entry after the loss knew of two that are not before it
    await next.append(entry("slice/2", "computed again"), nothingYet);
  });

  test("of which two coordinators take turns in leading: what an append resolved counts, each slice once", async () => {
    const server = await NatsServer.start({ version });
    const { journal } = await journalOn([server]);
    const others = await connectTo([server]);
    const journals = [journal, await openNatsJournal(others, "job")];
    const resolved = new Map<string, Sequence>();
    for (let turn = 0; turn < 6; turn++) {
      const leader = await takeOver(journals[turn % 2] ?? journal, null);
      for await (const _ of leader.read());
      const appending = appendOn(leader, `${turn}-`);
      await moreThan(appending.acknowledged, 30);
      // The next one takes over while this one appends, and believes to lead until it is told.
      const next = await takeOver(journals[(turn + 1) % 2] ?? journal, null);
      await expect(appending.done).rejects.toMatchObject({ code: "journal/superseded" });
      await next.confirm();
      for (const [subject, sequence] of appending.acknowledged) resolved.set(subject, sequence);
    }
    const valid = new Map<string, Sequence>();
    for (const { entry, sequence } of await recordsOf(lookAt(journal))) {
      if (entry.subject === "job") continue;
      expect(valid.has(entry.subject)).toBe(false);
      valid.set(entry.subject, sequence);
    }
    for (const [subject, sequence] of resolved) expect(valid.get(subject)).toBe(sequence);
  });
});

describe.each(natsVersions)("a cluster of three of nats-server %s", (version) => {
  test("loses nothing when its servers are killed one by one", async () => {
    const servers = await NatsServer.startCluster({ version });
    const { journal, nats } = await journalOn(servers);
    const appending = appendOn(journal);
    for (const server of servers) {
      await moreThan(appending.acknowledged, 50);
      await server.stop("SIGKILL");
      await moreThan(appending.acknowledged, 50); // goes on with two
      await server.start();
      await healthy(servers, nats);
    }
    await appending.stop();
    await expectKept(journal, appending.acknowledged);
  });

  describe("that is left alone", () => {
    let servers: readonly NatsServer[];
    let nats: Nats;
    beforeAll(async () => {
      servers = await NatsServer.startCluster({ version, shared: true });
      nats = await connectNats(new FileStore(), { servers: servers.map(({ url }) => url) });
      await createStreams(nats, { replicas: 3, journalBytes: 2 ** 28 });
    });
    afterAll(async () => {
      await nats.close();
      await Promise.all(servers.map((server) => server.end()));
    });
    let jobs = 0;
    journalContract("its journal", async () => {
      const job = `job${jobs++}`;
      return () => openNatsJournal(nats, job);
    });
  });
});

/** Three servers hold everything again, the list of streams too: killing another takes only one away. */
async function healthy(servers: readonly NatsServer[], { manager, names }: Nats): Promise<void> {
  for (;;) {
    const info = await manager.streams.info(names.journalStream).catch(() => undefined);
    const replicas = info?.cluster?.replicas ?? [];
    const inSync = replicas.length === 2 && replicas.every(({ current, offline }) => current && offline !== true);
    if (inSync && (await Promise.all(servers.map((server) => server.isHealthy()))).every(Boolean)) return;
    await sleep(50);
  }
}
