// Programs that tests run against, built with Go; where Go is missing the system's package manager brings it.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";

/** `module` as `go install` takes it. Built aside and moved to `folder`, so that several may do it at once. Returns whether it is there. */
export function buildGoProgram({ module, folder }) {
  const go = maybeGo() ?? (installs("golang", "go", "golang-go") ? maybeGo() : undefined);
  if (go === undefined) return false;
  console.log(`building ${module}`);
  const aside = `${folder}.building-${process.pid}`;
  mkdirSync(aside, { recursive: true });
  const { status } = spawnSync(go, ["install", module], {
    cwd: aside,
    env: { ...process.env, GOBIN: aside, GOFLAGS: "", CGO_ENABLED: "0" },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (status === 0 && !existsSync(folder)) renameSync(aside, folder);
  else rmSync(aside, { recursive: true, force: true });
  return existsSync(folder);
}

function maybeGo() {
  return maybePath("go") ?? ["/usr/local/go/bin/go", "/usr/lib/go/bin/go"].find((path) => existsSync(path));
}

export function maybePath(program) {
  const { status, stdout } = spawnSync("sh", ["-c", `command -v ${program}`], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

/** Tries the names of a package with the package managers that are here. */
export function installs(...packages) {
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
