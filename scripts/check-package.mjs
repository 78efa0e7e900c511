// Packs the package, installs it into an empty directory without dev dependencies or scripts, and merges with it.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const scratch = mkdtempSync(join(tmpdir(), "deltaworks-package-"));
const shell = process.platform === "win32";
const run = (command, args, cwd) =>
  execFileSync(command, args, { cwd, stdio: ["ignore", "inherit", "inherit"], shell });
try {
  run("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", scratch], root);
  const tarball = readdirSync(scratch).find((name) => name.endsWith(".tgz"));
  const home = join(scratch, "home");
  mkdirSync(home);
  writeFileSync(join(home, "package.json"), '{ "private": true }\n');
  run("npm", ["install", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", join(scratch, tarball)], home);
  const models = join(root, "examples", "models");
  run(
    "npx",
    ["deltaworks", "merge", join(root, "examples", "recipes", "ties.yml"), "out", "--models-root", models],
    home,
  );
  run("npx", ["deltaworks", "verify", "out"], home);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
