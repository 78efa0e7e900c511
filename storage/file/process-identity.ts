import { readFileSync, readlinkSync } from "node:fs";
import { errnoOf } from "../errors.ts";

/**
 * Tells one process from all others: its number, boot and clock tick of its start, and the namespace in which the number counts.
 * `12-5f0c91aax4711-4026531836`. Holds no ".". Where the system does not tell (no /proc), start and namespace are "unknown".
 * Earlier versions left the namespace out.
 */
export type ProcessIdentity = string & { readonly __brand: "ProcessIdentity" };

/** What can be seen of a process from here. "hidden": nothing, for it runs, or ran, in another container, boot or machine. */
export type Sight = "running" | "ended" | "hidden";

export interface Whereabouts {
  /** Of the boot; "" where the system does not tell. */
  readonly boot: string;
  /** Of process numbers; "" where the system does not tell. */
  readonly namespace: string;
}

export interface IdentityParts extends Whereabouts {
  readonly number: number;
  /** Boot and clock tick; "unknown" where the system does not tell. */
  readonly start: string;
}

const UNKNOWN = "unknown";

export function ownIdentity(): ProcessIdentity {
  return `${process.pid}-${startOf("self") || UNKNOWN}-${here().namespace || UNKNOWN}` as ProcessIdentity;
}

/** Where this process is. */
export function here(): Whereabouts {
  return { boot: bootOf(), namespace: namespaceOf() };
}

/** Undefined for text that names no process. */
export function partsOf(identity: ProcessIdentity): IdentityParts | undefined {
  const [number = "", start = "", namespace = ""] = identity.split("-", 3);
  const parsed = Number(number);
  if (!Number.isSafeInteger(parsed) || parsed <= 0 || start === "") return undefined;
  const known = namespace === UNKNOWN ? "" : namespace;
  return { number: parsed, start, boot: start === UNKNOWN ? "" : (start.split("x")[0] ?? ""), namespace: known };
}

/** What can be seen of a process by the numbers of this namespace. */
export function sightOf(parts: IdentityParts): Sight {
  const own = here();
  // A number that a namespace had before ours is free only once all processes of that have ended.
  if (parts.boot !== own.boot || parts.namespace !== own.namespace) return "hidden";
  if (own.boot === "") return isThere(parts.number) ? "running" : "ended";
  // The numbers that /proc shows may be another namespace's, which mounted it.
  if (numberInProc() !== process.pid) return "hidden";
  const start = startOf(parts.number);
  if (start === parts.start) return "running";
  // One of another user may be there and not be shown.
  return start === undefined && isThere(parts.number) ? "hidden" : "ended";
}

function isThere(number: number): boolean {
  try {
    process.kill(number, 0);
    return true;
  } catch (cause) {
    return errnoOf(cause) === "EPERM"; // there, but of another user
  }
}

function bootOf(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").slice(0, 8);
  } catch {
    return "";
  }
}

function namespaceOf(): string {
  try {
    return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "";
  } catch {
    return "";
  }
}

function numberInProc(): number {
  return Number.parseInt(readFileSync("/proc/self/stat", "latin1"), 10);
}

/** Boot and clock tick of the start, from Linux's /proc; "" for a zombie, undefined for what is not shown. */
function startOf(pid: number | "self"): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field is the program's name in parentheses and may hold anything; fields from the third on follow ") ".
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state, startTicks] = [fields[0], fields[19]];
    if (startTicks === undefined) return undefined;
    if (state === "Z" || state === "X") return "";
    return `${bootOf()}x${startTicks}`;
  } catch {
    return undefined;
  }
}
