// Puts the nats-servers that the tests run against into .bench/nats/<version>/ and prints where they are.
// Built with Go; where Go is missing, the system's package manager brings it, or a nats-server of its own.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildGoProgram, installs, maybePath } from "./go-program.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, ".bench", "nats");

/** The newest, and the last of the oldest line that is supported. */
export const natsVersions = ["2.15.2", "2.9.25"];

export const natsServerPath = (version) => join(folder, version, "nats-server");

/** Makes every server that is not there yet. Throws where none can be had. */
export function makeNatsServers() {
  const missing = natsVersions.filter((version) => !existsSync(natsServerPath(version)));
  if (missing.length === 0) return;
  for (const version of missing) {
    const module = `github.com/nats-io/nats-server/v2@v${version}`;
    if (!buildGoProgram({ module, folder: join(folder, version) })) takeSystems(version);
  }
}

/** Better the version that the system has than none: what the tests hold must hold for any. */
function takeSystems(version) {
  const found = maybePath("nats-server") ?? (installs("nats-server") ? maybePath("nats-server") : undefined);
  if (found === undefined) {
    throw new Error(`no nats-server ${version}: it needs Go (https://go.dev/dl), or a nats-server in PATH`);
  }
  console.log(`nats-server ${version} cannot be built here; in its place: ${execFileSync(found, ["-v"])}`.trim());
  mkdirSync(join(folder, version), { recursive: true });
  symlinkSync(found, natsServerPath(version));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  makeNatsServers();
  for (const version of natsVersions) console.log(natsServerPath(version));
}
