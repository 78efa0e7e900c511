// Runs the command in this process and, when it ends, writes to file descriptor 3 its peak resident memory in bytes and its processor time
// in seconds, user and system, of all threads.
// node bench/peak.mjs MODULE ARGUMENT...
import { readFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

process.on("exit", () => {
  const { user, system } = process.cpuUsage();
  writeSync(3, `${peakResidentBytes()} ${(user + system) / 1e6}`);
});

const [module] = process.argv.splice(2, 1);
process.argv[1] = module;
await import(pathToFileURL(module).href);

/** VmHWM starts anew with every program; ru_maxrss, the way elsewhere, counts what the parent had when it forked. */
function peakResidentBytes() {
  try {
    const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"));
    if (line) return Number(line[1]) * 1024;
  } catch {
    // No /proc: not Linux.
  }
  return process.resourceUsage().maxRSS * 1024;
}
