// Puts the nats-servers that the tests run against into .bench/nats/<version>/ and prints where they are.
// Built with Go; where Go is missing, the system's package manager brings it, or a nats-server of its own.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, ".bench", "nats");

/** The newest, and the last of the oldest line that is supported. */
export const natsVersions = ["2.15.2", "2.9.25"];

export const natsServerPath = (version) => join(folder, version, "nats-server");

/** Makes every server that is not there yet. Throws where none can be had. */
export function makeNatsServers() {
  const missing = natsVersions.filter((version) => !existsSync(natsServerPath(version)));
  if (missing.length === 0) return;
  mkdirSync(folder, { recursive: true });
  const go = maybeGo() ?? (installs("golang", "go", "golang-go") ? maybeGo() : undefined);
  for (const version of missing) {
    if (go === undefined || !builds(go, version)) takeSystems(version);
  }
}

/** Built aside and moved into place, so that several may do it at once. */
function builds(go, version) {
  console.log(`building nats-server ${version}`);
  const aside = join(folder, `${version}.building-${process.pid}`);
  mkdirSync(aside, { recursive: true });
  const { status } = spawnSync(go, ["install", `github.com/nats-io/nats-server/v2@v${version}`], {
    cwd: folder,
    env: { ...process.env, GOBIN: aside, GOFLAGS: "", CGO_ENABLED: "0" },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (status !== 0) {
    rmSync(aside, { recursive: true, force: true });
    return false;
  }
  if (existsSync(natsServerPath(version))) rmSync(aside, { recursive: true, force: true });
  else renameSync(aside, join(folder, version));
  return true;
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

function maybeGo() {
  return maybePath("go") ?? ["/usr/local/go/bin/go", "/usr/lib/go/bin/go"].find((path) => existsSync(path));
}

function maybePath(program) {
  const { status, stdout } = spawnSync("sh", ["-c", `command -v ${program}`], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

/** Tries the names of a package with the package managers that are here. */
function installs(...packages) {
  const managers = [
    ["apt-get", "install", "-y", "--no-install-recommends"],
    ["dnf", "install", "-y"],
    ["apk", "add"],
    ["brew", "install"],
  ];
  const asRoot = process.getuid?.() === 0 ? [] : ["sudo", "-n"];
  for (const [manager, ...words] of managers.filter(([program]) => maybePath(program) !== undefined)) {
    const prefix = manager === "brew" ? [] : asRoot;
    if (manager === "apt-get") spawnSync("sh", ["-c", [...prefix, "apt-get", "update"].join(" ")], { stdio: "ignore" });
    for (const name of packages) {
      const [program, ...rest] = [...prefix, manager, ...words, name];
      if (spawnSync(program, rest, { stdio: "ignore" }).status === 0) return true;
    }
  }
  return false;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  makeNatsServers();
  for (const version of natsVersions) console.log(natsServerPath(version));
}
