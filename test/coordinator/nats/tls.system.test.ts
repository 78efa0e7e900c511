import { describe, expect, onTestFinished, test } from "vitest";
import { connectNats } from "../../../coordinator/nats/index.ts";
import { FileStore, type Place } from "../../../storage/index.ts";
import { NatsServer, natsVersions } from "../../support/nats-server.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { issueFor, makeAuthority, writeFiles } from "../../trust/made-certificates.ts";

describe.each(natsVersions)("nats-server %s that demands certificates", (version) => {
  test("lets in who has one, and is told from a stranger", async () => {
    const folder = temporaryFolder();
    const authority = await makeAuthority();
    const stranger = await makeAuthority();
    const own = writeFiles(
      folder,
      "server",
      authority,
      await issueFor(authority, { role: "coordinator", name: "nats" }),
    );
    const other = writeFiles(folder, "other", stranger, await issueFor(stranger, { role: "coordinator", name: "x" }));
    const config = `tls { cert_file: "${own.certificate}", key_file: "${own.key}", ca_file: "${own.authority}", verify: true }`;
    const server = await NatsServer.start({ version, config });
    const connectWith = (tls: { ca: Place; cert?: Place; key?: Place }) =>
      connectNats(new FileStore(), { servers: [server.url.replace("nats:", "tls:")], tls });

    const nats = await connectWith({ ca: own.authority, cert: own.certificate, key: own.key });
    onTestFinished(() => nats.close());
    expect(nats.serverVersion).toBe(version);
    const refused = { name: "NatsError" };
    await expect(connectWith({ ca: own.authority })).rejects.toMatchObject(refused);
    await expect(connectWith({ ca: other.authority })).rejects.toMatchObject({ code: "nats/unreachable" });
    await expect(connectWith({ ca: own.authority, cert: other.certificate, key: other.key })).rejects.toMatchObject(
      refused,
    );
  });
});
