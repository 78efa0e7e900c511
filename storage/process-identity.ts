import { readFileSync } from "node:fs";
import { errnoOf } from "./errors.ts";

/** Tells one process from all others of this machine, also from a later one with the same number. Holds no ".". */
export type ProcessIdentity = string & { readonly __brand: "ProcessIdentity" };

export function ownIdentity(): ProcessIdentity {
  return `${process.pid}-${startOf(process.pid) ?? "unknown"}` as ProcessIdentity;
}

/**
 * Whether the process still runs. Processes in other containers or on other machines are not seen: they count as ended.
 * Where the system does not tell when a process started (no /proc), one that got its number later is taken for it.
 */
export function isRunning(identity: ProcessIdentity): boolean {
  const [number, start] = splitIdentity(identity);
  if (number === undefined) return false;
  if (start !== "unknown") return startOf(number) === start;
  try {
    process.kill(number, 0);
    return true;
  } catch (cause) {
    return errnoOf(cause) === "EPERM"; // there, but of another user
  }
}

export function processNumber(identity: ProcessIdentity): number | undefined {
  return splitIdentity(identity)[0];
}

function splitIdentity(identity: ProcessIdentity): [number | undefined, string | undefined] {
  const [number, start] = identity.split("-", 2);
  const parsed = Number(number);
  return [Number.isSafeInteger(parsed) && parsed > 0 ? parsed : undefined, start];
}

/** Boot and clock tick of the start, from Linux's /proc; undefined for no process, a zombie, and other systems. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field is the program's name in parentheses and may hold anything; fields from the third on follow ") ".
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state, startTicks] = [fields[0], fields[19]];
    if (startTicks === undefined || state === "Z" || state === "X") return undefined;
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").slice(0, 8);
    return `${boot}x${startTicks}`;
  } catch {
    return undefined;
  }
}
