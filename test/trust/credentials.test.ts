/** What comes through a real grpc-js connection, and what does not. */
import { writeFileSync } from "node:fs";
import { connect } from "node:tls";
import { credentials, ServerCredentials } from "@grpc/grpc-js";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { FileStore } from "../../storage/index.ts";
import {
  type Authority,
  CertificateStore,
  channelCredentials,
  type ExpectedPeer,
  findAuthority,
  fingerprintOf,
  type Identity,
  joinCredentials,
  serverCredentials,
  type TrustFiles,
} from "../../trust/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { EchoClient, serveEcho } from "./echo-service.ts";
import { HOUR_MS, issueFor, makeAuthority, writeFiles } from "./made-certificates.ts";

const store = new FileStore();
const coordinator: Identity = { role: "coordinator", name: "c1" };
const worker: Identity = { role: "worker", name: "w1" };
const AT_LOOPBACK: ExpectedPeer = { role: "coordinator", host: "127.0.0.1" };
let authority: Authority;
beforeAll(async () => {
  authority = await makeAuthority();
});

async function filesFor(
  identity: Identity,
  more: Parameters<typeof issueFor>[2] = {},
  by = authority,
): Promise<TrustFiles> {
  return writeFiles(temporaryFolder(), "own", by, await issueFor(by, identity, more));
}

async function opened(files: TrustFiles, options: Parameters<typeof CertificateStore.open>[2] = {}) {
  const opened = await CertificateStore.open(store, files, { pollMs: HOUR_MS, ...options });
  onTestFinished(() => opened.close());
  return opened;
}

async function serve(identity = coordinator, more: Parameters<typeof issueFor>[2] = {}): Promise<number> {
  return serveEcho(serverCredentials(await opened(await filesFor(identity, more))));
}

describe("mutual TLS", () => {
  test("the server knows role and name of its client", async () => {
    const client = new EchoClient(await serve(), channelCredentials(await opened(await filesFor(worker)), AT_LOOPBACK));
    expect(await client.whoAmI()).toBe("worker w1");
  });

  test("no certificate, no connection", async () => {
    const port = await serve();
    await expect(
      new EchoClient(port, joinCredentials(authority.certificate, "127.0.0.1")).whoAmI(),
    ).rejects.toMatchObject({
      code: 14,
    });
    await expect(new EchoClient(port, credentials.createInsecure()).whoAmI()).rejects.toMatchObject({ code: 14 });
  });

  test("a certificate of another authority gives no connection, though it claims to be an admin's", async () => {
    const other = await makeAuthority();
    const files = await filesFor({ role: "admin", name: "eve" }, {}, other);
    // It believes our server, so that it is the server which refuses.
    const store = await opened(files);
    writeFileSync(files.authority, authority.certificate + other.certificate);
    expect(await store.reload()).toBe(true);
    await expect(new EchoClient(await serve(), channelCredentials(store, AT_LOOPBACK)).whoAmI()).rejects.toMatchObject({
      code: 14,
    });
  });

  test("a client does not talk to a server of another authority", async () => {
    const other = await makeAuthority();
    const port = await serveEcho(serverCredentials(await opened(await filesFor(coordinator, {}, other)), "none"));
    const client = new EchoClient(port, channelCredentials(await opened(await filesFor(worker)), AT_LOOPBACK));
    await expect(client.whoAmI()).rejects.toMatchObject({
      code: 14,
      details: expect.stringMatching(/self.signed|issuer/i),
    });
  });

  test("a client does not talk to a worker that plays the coordinator", async () => {
    const client = new EchoClient(
      await serve(worker),
      channelCredentials(await opened(await filesFor({ role: "submitter", name: "s" })), AT_LOOPBACK),
    );
    await expect(client.whoAmI()).rejects.toMatchObject({
      details: expect.stringContaining("worker w1 answered where coordinator was expected"),
    });
  });

  test("a client does not talk to a coordinator at an address that its certificate does not name", async () => {
    const port = await serve(coordinator, { hosts: ["coordinator.example"] });
    const client = new EchoClient(port, channelCredentials(await opened(await filesFor(worker)), AT_LOOPBACK));
    await expect(client.whoAmI()).rejects.toMatchObject({ details: expect.stringContaining("127.0.0.1") });
  });

  test("a worker that listens is known by its name, wherever it is dialed", async () => {
    const port = await serve(worker, { hosts: [] });
    const store = await opened(await filesFor(coordinator));
    const expecting = (name: string) => channelCredentials(store, { role: "worker", name });
    expect(await new EchoClient(port, expecting("w1")).whoAmI()).toBe("coordinator c1");
    await expect(new EchoClient(port, expecting("w2")).whoAmI()).rejects.toMatchObject({
      details: expect.stringContaining("worker w1 answered where worker w2 was expected"),
    });
  });

  test("an expired certificate gives no connection", async () => {
    const expired = { nowMs: Date.now() - 2 * HOUR_MS, ttlMs: HOUR_MS };
    const client = await opened(await filesFor(worker, expired), { now: () => Date.now() - 2 * HOUR_MS });
    await expect(new EchoClient(await serve(), channelCredentials(client, AT_LOOPBACK)).whoAmI()).rejects.toMatchObject(
      {
        code: 14,
      },
    );
    const server = await opened(await filesFor(coordinator, expired), { now: () => Date.now() - 2 * HOUR_MS });
    const port = await serveEcho(serverCredentials(server));
    const ours = new EchoClient(port, channelCredentials(await opened(await filesFor(worker)), AT_LOOPBACK));
    await expect(ours.whoAmI()).rejects.toMatchObject({ code: 14, details: expect.stringMatching(/expired/) });
  });

  test.each(["TLSv1", "TLSv1.1"] as const)("%s is not spoken", async (version) => {
    const port = await serve();
    // Without the security level of OpenSSL's default ciphers the client would offer them.
    const socket = connect({
      port,
      host: "127.0.0.1",
      minVersion: version,
      maxVersion: version,
      rejectUnauthorized: false,
      ciphers: "DEFAULT@SECLEVEL=0",
    });
    const outcome = await new Promise((resolve) => {
      socket.once("secureConnect", () => resolve("connected"));
      socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code));
    });
    socket.destroy();
    expect(outcome).toMatch(/PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS/);
  });

  test("TLS 1.3 is what both sides choose", async () => {
    const port = await serve();
    const { key, chain } = await issueFor(authority, worker);
    const socket = connect({
      port,
      host: "127.0.0.1",
      ca: authority.certificate,
      key: key.reveal(),
      cert: chain,
      ALPNProtocols: ["h2"],
    });
    const protocol = await new Promise((resolve, reject) => {
      socket.once("secureConnect", () => resolve(socket.getProtocol()));
      socket.once("error", reject);
    });
    socket.destroy();
    expect(protocol).toBe("TLSv1.3");
  });
});

describe("the join service's port", () => {
  test("a client with the authority alone is served, and is nobody", async () => {
    const port = await serveEcho(serverCredentials(await opened(await filesFor(coordinator)), "none"));
    const found = await findAuthority({ host: "127.0.0.1", port }, fingerprintOf(authority.certificate));
    expect(found).toBe(authority.certificate);
    expect(await new EchoClient(port, joinCredentials(found, "127.0.0.1")).whoAmI()).toBe(
      "nobody: trust/no-certificate",
    );
  });

  test("a certificate that is shown there counts for nothing, forged or not", async () => {
    const port = await serveEcho(serverCredentials(await opened(await filesFor(coordinator)), "none"));
    const client = new EchoClient(
      port,
      channelCredentials(await opened(await filesFor({ role: "admin", name: "a" })), AT_LOOPBACK),
    );
    expect(await client.whoAmI()).toBe("nobody: trust/no-certificate");
  });

  test("an authority with another fingerprint is not taken", async () => {
    const port = await serve();
    const other = fingerprintOf((await makeAuthority()).certificate);
    await expect(findAuthority({ host: "127.0.0.1", port }, other)).rejects.toMatchObject({
      code: "trust/fingerprint",
    });
  });

  test("the true authority, shown behind a certificate that it did not sign, vouches for nothing", async () => {
    // Somebody in the middle shows our true authority behind a certificate of their own.
    const other = await makeAuthority();
    const issued = await issueFor(other, coordinator);
    const files = writeFiles(temporaryFolder(), "own", other, {
      ...issued,
      chain: issued.chain + authority.certificate,
    });
    const port = await serveEcho(serverCredentials(await opened(files), "none"));
    // It is ours, so it is found; but the connection on which a token would go is refused.
    const found = await findAuthority({ host: "127.0.0.1", port }, fingerprintOf(authority.certificate));
    const client = new EchoClient(port, joinCredentials(found, "127.0.0.1"));
    await expect(client.whoAmI()).rejects.toMatchObject({ code: 14 });
  });

  test("nobody listening, or no TLS, is an error that may pass", async () => {
    const port = await serveEcho(ServerCredentials.createInsecure());
    const fingerprint = fingerprintOf(authority.certificate);
    await expect(findAuthority({ host: "127.0.0.1", port }, fingerprint, 5000)).rejects.toMatchObject({
      code: "trust/unreachable",
      retryable: true,
    });
    await expect(findAuthority({ host: "127.0.0.1", port: 1 }, fingerprint)).rejects.toMatchObject({
      code: "trust/unreachable",
    });
  });
});

describe("certificates that change while connections stand", () => {
  test("new connections use the new ones on both sides, streams go on", async () => {
    const serverFiles = await filesFor(coordinator);
    const clientFiles = await filesFor(worker);
    const server = await opened(serverFiles);
    const client = await opened(clientFiles);
    const port = await serveEcho(serverCredentials(server));
    const stream = new EchoClient(port, channelCredentials(client, AT_LOOPBACK)).talk();
    expect(await stream.say("before")).toBe("worker w1: before");
    const serialBefore = await serialShown(port);

    // The authority itself is replaced: both sides believe both for a while.
    const next = await makeAuthority();
    const both = authority.certificate + next.certificate;
    for (const [files, identity] of [
      [serverFiles, coordinator],
      [clientFiles, { role: "worker", name: "w1-renewed" }],
    ] as const) {
      const { chain, key } = await issueFor(next, identity);
      writeFileSync(files.authority, both);
      writeFileSync(files.certificate, chain);
      writeFileSync(files.key, key.reveal());
    }
    expect([await server.reload(), await client.reload()]).toEqual([true, true]);

    expect(await stream.say("after")).toBe("worker w1: after");
    expect(await new EchoClient(port, channelCredentials(client, AT_LOOPBACK)).whoAmI()).toBe("worker w1-renewed");
    expect(await serialShown(port)).not.toBe(serialBefore);
    // Who has not been given a new one yet is still believed.
    expect(
      await new EchoClient(port, channelCredentials(await opened(await withBoth(both)), AT_LOOPBACK)).whoAmI(),
    ).toBe("worker old");
    stream.end();
  });

  async function withBoth(both: string): Promise<TrustFiles> {
    const files = await filesFor({ role: "worker", name: "old" });
    writeFileSync(files.authority, both);
    return files;
  }

  function serialShown(port: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["h2"] }, () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      });
      socket.once("error", reject);
    });
  }
});
