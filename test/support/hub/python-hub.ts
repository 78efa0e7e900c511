/** Python's huggingface_hub, to hold what is ours to: its own, in `.bench/huggingface-hub`, by pip where it is not there yet. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { pythonWith } from "../python-environment.ts";

const VERSION = "2.4.0";

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
  const python = pythonWith("huggingface-hub", "huggingface_hub", VERSION);
  const { stdout } = await promisify(execFile)(python, ["-c", script, ...args], {
    env: {
      ...{ PATH: process.env.PATH, HOME: home, HF_HOME: home, HF_ENDPOINT: endpoint },
      ...{ HF_HUB_DISABLE_XET: "1", HF_HUB_DISABLE_TELEMETRY: "1", HF_HUB_DISABLE_PROGRESS_BARS: "1" },
      ...{ NO_PROXY: "127.0.0.1,localhost", ...environment },
    },
  });
  return JSON.parse(stdout);
}
