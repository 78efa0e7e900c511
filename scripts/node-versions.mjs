// Node's of other major versions than this one, from npm's package `node`, in .bench/node/<version>.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The newest of each that is supported when this was written. */
const versions = ["20.20.2", "22.23.3", "24.21.0"];

/** Puts them there and gives version and path of each. Throws where npm has none for this machine. */
export function otherNodes() {
  const own = process.versions.node.split(".")[0];
  return versions
    .filter((version) => version.split(".")[0] !== own)
    .map((version) => {
      const folder = join(root, ".bench", "node", version);
      const path = join(folder, "node_modules", "node", "bin", "node");
      if (!existsSync(path)) {
        mkdirSync(folder, { recursive: true });
        writeFileSync(join(folder, "package.json"), `${JSON.stringify({ private: true })}\n`);
        const quiet = ["--no-audit", "--no-fund", "--no-save", "--loglevel=error"];
        execFileSync("npm", ["install", ...quiet, `node@${version}`], { cwd: folder, stdio: "inherit" });
      }
      const found = execFileSync(path, ["--version"], { encoding: "utf8" }).trim();
      if (found !== `v${version}`) throw new Error(`npm's node@${version} is ${found}`);
      return { version, path };
    });
}
