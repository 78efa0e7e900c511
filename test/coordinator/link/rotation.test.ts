import { writeFileSync } from "node:fs";
import { expect, onTestFinished, test } from "vitest";
import { RpcServer } from "../../../coordinator/link/index.ts";
import { FileStore } from "../../../storage/index.ts";
import { CertificateStore, channelCredentials, type Identity, serverCredentials } from "../../../trust/index.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { EchoClient, implementation, service } from "../../trust/echo-service.ts";
import { HOUR_MS, issueFor, makeAuthority, writeFiles } from "../../trust/made-certificates.ts";

test("calls of one client come with its next certificate once its connection is old; its stream goes on", async () => {
  const authority = await makeAuthority();
  const filesFor = async (identity: Identity) =>
    writeFiles(temporaryFolder(), "own", authority, await issueFor(authority, identity));
  const opened = async (files: Parameters<typeof CertificateStore.open>[1]) => {
    const certificates = await CertificateStore.open(new FileStore(), files, { pollMs: HOUR_MS });
    onTestFinished(() => certificates.close());
    return certificates;
  };
  const server = new RpcServer({
    services: [{ name: "test.Echo", definition: service, handlers: implementation }],
    credentials: serverCredentials(await opened(await filesFor({ role: "coordinator", name: "c" }))),
    connectionMs: 50,
  });
  const port = await server.listen("127.0.0.1:0");
  onTestFinished(() => server.shutdown(0));

  const files = await filesFor({ role: "worker", name: "w1" });
  const certificates = await opened(files);
  const client = new EchoClient(port, channelCredentials(certificates, { role: "coordinator", host: "127.0.0.1" }));
  const stream = client.talk();
  expect(await stream.say("before")).toBe("worker w1: before");
  const { chain, key } = await issueFor(authority, { role: "worker", name: "w1-renewed" });
  writeFileSync(files.certificate, chain);
  writeFileSync(files.key, key.reveal());
  await certificates.reload();
  // Not one of the calls fails while the connection is exchanged.
  while ((await client.whoAmI()) !== "worker w1-renewed");
  expect(await stream.say("after")).toBe("worker w1: after");
  stream.end();
});
