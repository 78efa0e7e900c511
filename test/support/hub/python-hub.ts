/** Python's huggingface_hub, to hold what is ours to: its own, in `.bench/huggingface-hub`, by pip where it is not there yet. */
import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const VERSION = "2.4.0";
const folder = fileURLToPath(new URL("../../../.bench/huggingface-hub/", import.meta.url));
const environmentFolder = join(folder, VERSION);

/** Made aside and moved into place, so that several may do it at once: what is called by its interpreter may be moved. */
function makeEnvironment(): void {
  if (existsSync(environmentFolder)) return;
  mkdirSync(folder, { recursive: true });
  const aside = join(folder, `${VERSION}.making-${process.pid}`);
  execFileSync("python3", ["-m", "venv", aside], { stdio: "inherit" });
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", `huggingface_hub==${VERSION}`];
  execFileSync(join(aside, "bin", "python"), pip, { stdio: "inherit" });
  if (existsSync(environmentFolder)) rmSync(aside, { recursive: true, force: true });
  else renameSync(aside, environmentFolder);
}

/**
 * Runs a script, which finds `args` in `sys.argv[1:]`, and gives what it printed as JSON. It finds the Hub at `endpoint`, its cache below
 * `home`, and fetches large files by the way that everybody can go.
 */
export async function runPython(
  script: string,
  args: readonly string[],
  {
    endpoint,
    home,
    environment = {},
  }: { endpoint: string; home: string; environment?: Readonly<Record<string, string>> },
): Promise<unknown> {
  makeEnvironment();
  const { stdout } = await promisify(execFile)(join(environmentFolder, "bin", "python"), ["-c", script, ...args], {
    env: {
      ...{ PATH: process.env.PATH, HOME: home, HF_HOME: home, HF_ENDPOINT: endpoint },
      ...{ HF_HUB_DISABLE_XET: "1", HF_HUB_DISABLE_TELEMETRY: "1", HF_HUB_DISABLE_PROGRESS_BARS: "1" },
      ...{ NO_PROXY: "127.0.0.1,localhost", ...environment },
    },
  });
  return JSON.parse(stdout);
}
