// Appends a second, replay and memory of the journals, each in a process of its own.
// Use: npm run bench:journal [-- --slices 100000]   (nats-servers: npm run nats-servers)
import { fork, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { makeNatsServers, natsServerPath, natsVersions } from "../scripts/nats-servers.mjs";

/** As many as a coordinator with many workers has under way. */
const AT_ONCE = 1024;
const self = fileURLToPath(import.meta.url);
const built = (room) => import(new URL(`../dist/coordinator/${room}/index.js`, import.meta.url).href);

if (process.send !== undefined) await child(JSON.parse(process.argv[2]));
else await parent();

async function parent() {
  const { values } = parseArgs({ options: { slices: { type: "string", default: "100000" } } });
  const slices = Number(values.slices);
  if (!existsSync(new URL("../dist", import.meta.url))) throw new Error("npm run build first");
  makeNatsServers();
  console.log(`${slices} slices, ${AT_ONCE} appends at once, in an epoch; Node ${process.version}\n`);
  console.log("journal                                appends/s   replay/s   peak RSS");
  for (const count of [1000, slices])
    report(`file, ${count} slices`, await inFolder((folder) => measure({ folder, count })));
  for (const version of natsVersions) {
    const sync = version.startsWith("2.9.") ? "" : "sync_interval: always";
    const name = `JetStream ${version}, ${sync === "" ? "default sync" : "sync always"}`;
    report(
      name,
      await inFolder((folder) => withServer(version, sync, folder, (url) => measure({ url, count: slices }))),
    );
  }
}

function report(name, { appendMs, replayMs, count, peakMiB }) {
  const rate = (ms) =>
    Math.round(count / (ms / 1000))
      .toLocaleString("en")
      .padStart(9);
  console.log(`${name.padEnd(38)} ${rate(appendMs)}  ${rate(replayMs)}   ${Math.round(peakMiB)} MiB`);
}

function measure(task) {
  return new Promise((resolve, reject) => {
    const process = fork(self, [JSON.stringify(task)]);
    process.once("message", resolve);
    process.once("exit", (code) => reject(new Error(`the measuring process ended with ${code}`)));
  });
}

async function inFolder(use) {
  const folder = mkdtempSync(join(tmpdir(), "deltaworks-bench-"));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function withServer(version, sync, folder, use) {
  const port = await freePort();
  const config = join(folder, "nats.conf");
  writeFileSync(config, `listen: "127.0.0.1:${port}"\njetstream { store_dir: "${folder}", ${sync} }\n`);
  const server = spawn(natsServerPath(version), ["-c", config], { stdio: "ignore" });
  try {
    return await use(`nats://127.0.0.1:${port}`);
  } finally {
    server.kill("SIGKILL");
  }
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function child({ folder, url, count }) {
  const { openFileJournal, openNatsJournal, takeOver } = await built("journal");
  const { FileStore } = await import(new URL("../dist/storage/index.js", import.meta.url).href);
  const nats = url === undefined ? undefined : await connected(url, new FileStore());
  const open = () =>
    nats ? openNatsJournal(nats, "bench") : openFileJournal(new FileStore(), join(folder, "journal"));
  const leader = await takeOver(await open(), null);
  const began = performance.now();
  let next = 0;
  const sha256 = "0123456789abcdef".repeat(4);
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < count) {
        const k = next++;
        await leader.append(
          { subject: `slice/s${k}`, body: { state: "done", attempt: leader.attemptBase + k, sha256 } },
          0n,
        );
      }
    }),
  );
  const appendMs = performance.now() - began;
  await leader.close();
  const again = await takeOver(await open(), null);
  const reading = performance.now();
  let found = 0;
  for await (const { entry } of again.read()) if (entry.subject !== "job") found++;
  const replayMs = performance.now() - reading;
  if (found !== count) throw new Error(`${found} of ${count} slices were read`);
  process.send({ appendMs, replayMs, count, peakMiB: process.resourceUsage().maxRSS / 1024 });
  process.disconnect();
  process.exit(0);
}

async function connected(url, store) {
  const { connectNats, createStreams, defaultSizes } = await built("nats");
  for (let tries = 0; ; tries++) {
    try {
      const nats = await connectNats(store, { servers: [url] });
      await createStreams(nats, defaultSizes);
      return nats;
    } catch (error) {
      if (tries === 20) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}
