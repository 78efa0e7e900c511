import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe } from "vitest";
import { openNatsJournal } from "../../../coordinator/journal/index.ts";
import { connectNats, createStreams, type Nats } from "../../../coordinator/nats/index.ts";
import { FileStore } from "../../../storage/index.ts";
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
});
