// A nats-server of the newest version that is supported, with streams for a coordinator, in a folder of its own.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeNatsServers, natsServerPath, natsVersions } from "../scripts/nats-servers.mjs";

export async function startNats() {
  makeNatsServers();
  const folder = mkdtempSync(join(tmpdir(), "deltaworks-bench-nats-"));
  const port = await new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
  const config = join(folder, "nats.conf");
  writeFileSync(
    config,
    `listen: "127.0.0.1:${port}"\njetstream { store_dir: "${join(folder, "store")}", sync_interval: always }\n`,
  );
  const server = spawn(natsServerPath(natsVersions[0]), ["-c", config], { stdio: "ignore" });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const url = `nats://127.0.0.1:${port}`;
  const { connectNats, createStreams, defaultSizes } = await import("../dist/coordinator/nats/index.js");
  const { FileStore } = await import("../dist/storage/index.js");
  const nats = await connectNats(new FileStore(), { servers: [url] });
  await createStreams(nats, { ...defaultSizes, journalBytes: 2 ** 30 });
  await nats.close();
  return {
    url,
    close: () => {
      server.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
