import { readFileSync } from "node:fs";
import { join } from "node:path";
import { headers } from "@nats-io/transport-node";
import { describe, expect, onTestFinished, test } from "vitest";
import { readHistory } from "../../coordinator/job/index.ts";
import { lookAt, openNatsJournal } from "../../coordinator/journal/index.ts";
import { connectNats, createStreams } from "../../coordinator/nats/index.ts";
import { openNatsQueue } from "../../coordinator/queue/index.ts";
import { NatsServer, natsVersions } from "../support/nats-server.ts";
import { byName, doneSlices, store, versions } from "./left-behind.ts";

describe.each(versions)("what version %s left", (version) => {
  const place = join(import.meta.dirname, version);

  test("NATS: queue and journals", async () => {
    const server = await NatsServer.start({ version: natsVersions[0] ?? "" });
    const nats = await connectNats(store, { servers: [server.url] });
    onTestFinished(() => nats.close());
    await createStreams(nats, { replicas: 1, journalBytes: 2 ** 24 });
    for (const line of readFileSync(join(place, "nats.jsonl"), "utf8").split("\n").filter(Boolean)) {
      const message = JSON.parse(line) as { subject: string; headers: Record<string, string>; data: string };
      const own = headers();
      for (const [name, value] of Object.entries(message.headers)) own.set(name, value);
      await nats.client.publish(nats.names.prefix + message.subject, message.data, { headers: own });
    }
    const queue = openNatsQueue(nats, {
      log: (event, facts) => expect.unreachable(`${event} ${JSON.stringify(facts)}`),
    });
    const { done, queued, paused } = byName(await queue.list());
    expect([done?.state, queued?.name, paused?.wish]).toEqual(["ended", "queued", "pause"]);
    const repeated = { ...queued, name: "again", nameTaken: "refuse" } as Parameters<typeof queue.reserve>[0];
    expect(await queue.reserve(repeated, "c")).toMatchObject({ state: "repeated", job: { id: queued?.id } });
    const claim = await queue.claim("c");
    expect(claim?.job).toMatchObject({ id: queued?.id, claims: (queued?.claims ?? 0) + 1 });
    const journal = await openNatsJournal(nats, done?.id ?? "");
    const history = await readHistory(lookAt(journal));
    expect(history.phase).toBe("done");
    expect(doneSlices(history)).toBe(63);
    await journal.close();
    await queue.close();
  });
});
