import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { nothingYet, openNatsJournal } from "../../../coordinator/journal/index.ts";
import { connectNats, createStreams, type Nats } from "../../../coordinator/nats/index.ts";
import { FileStore } from "../../../storage/index.ts";
import { lagBehind } from "../../support/lagging-leader.ts";
import { NatsServer, natsVersions } from "../../support/nats-server.ts";
import { epochContract } from "../epoch.contract.ts";
import { journalContract } from "../journal.contract.ts";

const sizes = { replicas: 1, journalBytes: 2 ** 28 };

describe.each(natsVersions)("nats-server %s", (version) => {
  let server: NatsServer;
  let one: Nats;
  let two: Nats;

  beforeAll(async () => {
    server = await NatsServer.start({ version, shared: true });
    one = await connectNats(new FileStore(), { servers: [server.url] });
    two = await connectNats(new FileStore(), { servers: [server.url] });
    await createStreams(one, sizes);
  });
  afterAll(async () => {
    await Promise.all([one, two].map((nats) => nats.close()));
    await server.end();
  });

  journalContract("the JetStream journal", async () => {
    const job = randomBytes(4).toString("hex");
    return () => openNatsJournal(one, job);
  });
  epochContract("the JetStream journal", async () => {
    const job = randomBytes(4).toString("hex");
    return [await openNatsJournal(one, job), await openNatsJournal(two, job)];
  });

  test("asks a leader again that has not taken over a long body yet; one that is nowhere is told", async () => {
    const job = randomBytes(4).toString("hex");
    const journal = await openNatsJournal(one, job);
    const body = { text: "x".repeat(3_000_000) };
    await journal.append({ subject: "job", body }, nothingYet);
    const read = async () => {
      const bodies = [];
      for await (const { entry } of (await openNatsJournal(two, job)).read()) bodies.push(entry.body);
      return bodies;
    };
    lagBehind(two, "b");
    expect(await read()).toEqual([body]);
    onTestFinished(lagBehind(two, "b", false));
    await expect(read()).rejects.toMatchObject({ code: "journal/corrupt" });
  });

  test("is kept by this run of the server, for all who have it open; started again it may have forgotten something", async () => {
    const server = await NatsServer.start({ version });
    const connected = async () => {
      const nats = await connectNats(new FileStore(), { servers: [server.url] });
      onTestFinished(() => nats.close());
      return nats;
    };
    const [a, b] = [await connected(), await connected()];
    await createStreams(a, sizes);
    const journals = [await openNatsJournal(a, "j"), await openNatsJournal(b, "j")] as const;
    const before = await journals[0].keeper();
    expect(before).toMatch(/^server \w+$/);
    expect(await journals[1].keeper()).toBe(before);
    await server.stop("SIGKILL");
    await server.start();
    const after = await journals[0].keeper();
    expect(after).toMatch(/^server \w+$/);
    expect(after).not.toBe(before);
  });

  test("is kept by replicas of which one may fail", async () => {
    const servers = await NatsServer.startCluster({ version });
    const nats = await connectNats(new FileStore(), { servers: servers.map(({ url }) => url) });
    onTestFinished(() => nats.close());
    await createStreams(nats, { ...sizes, replicas: 3 });
    expect(await (await openNatsJournal(nats, "j")).keeper()).toMatch(/^3 replicas since /);
  });
});
