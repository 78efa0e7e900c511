import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { natsCheckCommand, natsInitCommand, natsPurgeCommand } from "../../../cli/commands/nats.ts";
import { nothingYet, openNatsJournal, takeOver } from "../../../coordinator/journal/index.ts";
import {
  connectNats,
  coordinatorPermissions,
  defaultSizes,
  natsNames,
  permissionsText,
} from "../../../coordinator/nats/index.ts";
import { openNatsQueue } from "../../../coordinator/queue/index.ts";
import { FileStore, placeOf } from "../../../storage/index.ts";
import { NatsServer, natsVersions } from "../../support/nats-server.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { entry, recordsOf } from "../journal.contract.ts";
import { claimOf, jobNamed } from "../queue.contract.ts";

const names = natsNames();
const permissions = coordinatorPermissions(names);
const less = { ...permissions, publish: permissions.publish.filter((subject) => subject !== "deltaworks.b.>") };
const noReading = { ...permissions, publish: permissions.publish.filter((subject) => !subject.includes("CREATE")) };
const user = (name: string, text: string) => `{ user: ${name}, password: "canary-${name}", ${text} }`;
const users = [
  user("admin", ""),
  user("coordinator", permissionsText(permissions)),
  user("less", permissionsText(less)),
  user("noreading", permissionsText(noReading)),
];

function userFile(name: string, password = `canary-${name}`): string {
  const path = join(temporaryFolder(), "user");
  writeFileSync(path, `${name}\n${password}\n`);
  return path;
}

/** Runs a command as a user; what it printed. */
async function run<T>(
  command: (
    args: readonly string[],
    options: T,
    io: { stdout(text: string): void; stderr(text: string): void },
  ) => Promise<number>,
  options: T,
  args: readonly string[] = [],
) {
  let [stdout, stderr] = ["", ""];
  const io = { stdout: (text: string) => (stdout += text), stderr: (text: string) => (stderr += text) };
  const exit = await command(args, options, io as never);
  expect(stdout + stderr).not.toContain("canary");
  return { exit, stdout, stderr };
}

describe.each(natsVersions)("on nats-server %s with users", (version) => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await NatsServer.start({
      version,
      shared: true,
      config: `authorization { users: [${users.join("\n")}] }`,
    });
  });
  afterAll(() => server.end());

  const as = (name: string, password?: string) => ({
    nats: server.url,
    natsPrefix: "deltaworks",
    natsUserFile: userFile(name, password),
  });
  const init = { replicas: 1, journalMax: 2 ** 28 };

  test("the administrator makes what is needed, once; a coordinator could not, and needs no more than is printed", async () => {
    const early = await run(natsCheckCommand, as("coordinator"));
    expect(early).toMatchObject({ exit: 1, stderr: expect.stringContaining("nats/missing") });
    const denied = await run(natsInitCommand, { ...as("coordinator"), ...init });
    expect(denied).toMatchObject({ exit: 1, stderr: expect.stringContaining("nats/denied") });

    const made = await run(natsInitCommand, { ...as("admin"), ...init });
    expect(made.exit).toBe(0);
    expect(made.stdout).toContain("made the stream DELTAWORKS_JOURNAL\n");
    expect(made.stdout).toContain("made the consumer priority-4 of DELTAWORKS_JOBS\n");
    expect(made.stdout).toContain(permissionsText(permissions));
    const again = await run(natsInitCommand, { ...as("admin"), ...init });
    expect(again.stdout).toMatch(/^everything was there\n/);

    const checked = await run(natsCheckCommand, as("coordinator"));
    expect(checked).toMatchObject({ exit: 0, stdout: expect.stringContaining(`nats-server ${version}`) });
    for (const name of ["less", "noreading"]) {
      const refused = await run(natsCheckCommand, as(name));
      expect(refused).toMatchObject({ exit: 1, stderr: expect.stringContaining("nats/denied") });
    }
  });

  test("a coordinator does all its work, and an administrator purges what has ended", async () => {
    await run(natsInitCommand, { ...as("admin"), ...init });
    const nats = await connectNats(new FileStore(), {
      servers: [server.url],
      credentials: { kind: "user", file: placeOf(userFile("coordinator")) },
    });
    onTestFinished(() => nats.close());
    const queue = openNatsQueue(nats);
    const stop = new AbortController();
    const changes = queue.changes(stop.signal)[Symbol.asyncIterator]();
    const { id } = await queue.submit(jobNamed("a"));
    expect((await changes.next()).value).toMatchObject({ name: "a" });
    const claim = await claimOf(queue);
    const journal = await openNatsJournal(nats, id);
    const leader = await takeOver(journal, null);
    const body = "x".repeat(2_000_000);
    const subjects = Array.from({ length: 50 }, (_, k) => `slice/${k}`);
    await Promise.all(subjects.map((subject) => leader.append(entry(subject, subject), nothingYet)));
    await leader.append(entry("verdict/1", body), nothingYet);
    expect(await recordsOf(leader)).toHaveLength(52);
    await claim.end("done");
    expect(await queue.list()).toHaveLength(1);
    stop.abort();
    await changes.return?.(undefined);

    const denied = await run(natsPurgeCommand, as("coordinator"), ["a"]);
    expect(denied).toMatchObject({ exit: 1, stderr: expect.stringContaining("nats/denied") });
    const purged = await run(natsPurgeCommand, as("admin"), ["a"]);
    expect(purged).toMatchObject({ exit: 0, stdout: "purged a: 56 messages\n" }); // 52, and four pieces of the long body
    expect(await recordsOf(journal)).toEqual([]);
    expect(await queue.find("a")).toBeUndefined();
    await queue.submit(jobNamed("b"));
    const queued = await run(natsPurgeCommand, as("admin"), ["b"]);
    expect(queued).toMatchObject({ exit: 1, stderr: expect.stringContaining("has not ended") });
  });

  test("a wrong password is refused by name, and never shown", async () => {
    const refused = await run(natsCheckCommand, as("coordinator", "canary-wrong"));
    expect(refused).toMatchObject({ exit: 1, stderr: expect.stringContaining("nats/denied") });
  });

  test("a stream that was changed since is named with what differs", async () => {
    const admin = await connectNats(new FileStore(), {
      servers: [server.url],
      prefix: "other",
      credentials: { kind: "user", file: placeOf(userFile("admin")) },
    });
    onTestFinished(() => admin.close());
    await run(natsInitCommand, { ...as("admin"), natsPrefix: "other", ...init });
    await admin.manager.streams.update("OTHER_JOURNAL", { max_age: 3_600_000_000_000 });
    const found = await run(natsCheckCommand, { ...as("admin"), natsPrefix: "other" });
    const message = "the stream OTHER_JOURNAL: max_age is 3600000000000, not 0";
    expect(found).toMatchObject({ exit: 1, stderr: expect.stringContaining(message) });
  });
});

test.each([
  ["no server", {}, "no NATS server is named"],
  ["a password in an address", { nats: "nats://me:canary@h:1" }, "holds a user or a password"],
  ["an address of something else", { nats: "http://h:1" }, "is no address of a NATS server"],
  ["two kinds of credentials", { nats: "nats://h:1", natsCreds: "a", natsNkey: "b" }, "2 kinds of credentials"],
  ["half a certificate", { nats: "nats://h:1", natsCert: "a" }, "only one is given"],
])("%s is refused before anything is done", async (_, options, message) => {
  const refused = await run(natsCheckCommand, { natsPrefix: "deltaworks", ...options });
  expect(refused).toMatchObject({ exit: 2, stderr: expect.stringContaining(message) });
});

test("the default journal holds more slices than a job has", () => {
  expect(defaultSizes.journalBytes).toBeGreaterThan(100_000 * 1024);
});
