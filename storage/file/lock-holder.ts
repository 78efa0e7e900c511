import { close, open, read } from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { flock, isOfThisKernel } from "./kernel-lock.ts";
import {
  here,
  type IdentityParts,
  type ProcessIdentity,
  partsOf,
  type Sight,
  sightOf,
  type Whereabouts,
} from "./process-identity.ts";

/** What a lock file says: a ticket used once, the host's name for people, and who else may have the lock. A line each. */
export interface LockText {
  /** `<process identity>-<nonce>`; a nonce that begins with "f" says that the kernel keeps a lock for the file, too. */
  readonly ticket: string;
  readonly host: string;
  /** Whoever has the same owner may take the lock over: other things keep them apart. "": nobody may. */
  readonly owner: string;
}

export const KERNEL_LOCKED = "f";

export function textOfLock({ ticket, host, owner }: LockText): string {
  return [ticket, host, ...(owner === "" ? [] : [owner])].join("\n");
}

export function lockOfText(text: string): LockText {
  const [ticket = "", host = "", owner = ""] = text.split("\n");
  return { ticket, host, owner };
}

export function holderOf(ticket: string): ProcessIdentity {
  return ticket.slice(0, Math.max(0, ticket.lastIndexOf("-"))) as ProcessIdentity;
}

/** As messages name a holder and people do: `12-5f0c91aax4711-4026531836@host`, unlike that of any other process. */
export function nameOfHolder(text: string): string {
  const { ticket, host } = lockOfText(text);
  // What stands in a lock file may come from anywhere.
  return `${holderOf(ticket)}@${host}`.replaceAll(/[^0-9A-Za-z.@_-]/g, "_");
}

/** What is known of a holder that cannot be seen, and of the place of its lock. */
export interface Hidden {
  readonly holder: Whereabouts;
  readonly own: Whereabouts;
  /** Nobody but processes of this kernel has files of the place open. */
  readonly ofThisKernel: boolean;
  /** Whether somebody has the file's kernel lock; "unknown" where it has none, or it cannot be asked. */
  readonly kernelLock: "held" | "free" | "unknown";
}

/**
 * Whether a holder in another container, boot or machine still runs. "ended" only where that is proven: a place that one kernel alone
 * can have mounted, and either a lock of an earlier boot or one that this kernel no longer keeps. No wait, however long, is a proof.
 */
export function judge({ holder, own, ofThisKernel, kernelLock }: Hidden): Sight {
  if (kernelLock === "held") return "running";
  if (!ofThisKernel || holder.boot === "" || own.boot === "") return "hidden";
  if (holder.boot !== own.boot) return "ended";
  return kernelLock === "free" ? "ended" : "hidden";
}

/** Whether the holder of a lock still runs; `path`: of a file that holds `text`. What names no process was left by nobody. */
export async function sightOfHolder(path: string, text: string): Promise<Sight> {
  const { ticket, host } = lockOfText(text);
  const parts = partsOf(holderOf(ticket));
  if (parts === undefined) return "ended";
  if (!isOnAnotherHost(parts, host)) {
    const seen = sightOf(parts);
    if (seen !== "hidden") return seen;
  }
  const own = here();
  const ofThisKernel = await isOfThisKernel(dirname(path));
  const asked = parts.boot === own.boot && isKernelLocked(ticket);
  const kernelLock = asked ? await kernelLockOf(path, text) : "unknown";
  return judge({ holder: parts, own, ofThisKernel, kernelLock });
}

/** The mark stands before sixteen hexadecimal digits, of which the first may look like it. */
export function isKernelLocked(ticket: string): boolean {
  return new RegExp(`-${KERNEL_LOCKED}[0-9a-f]{16}$`).test(ticket);
}

/** Where the system tells no boots, names must do. */
function isOnAnotherHost({ boot }: IdentityParts, host: string): boolean {
  return boot === "" && host !== "" && host !== hostname();
}

const openFile = promisify(open);
const closeFile = promisify(close);
const readFile = promisify(read);

async function kernelLockOf(path: string, text: string): Promise<"held" | "free" | "unknown"> {
  let descriptor: number;
  try {
    descriptor = await openFile(path, "r");
  } catch {
    return "unknown";
  }
  try {
    const bytes = Buffer.alloc(text.length + 1);
    const { bytesRead } = await readFile(descriptor, bytes, 0, bytes.length, 0);
    if (bytes.toString("latin1", 0, bytesRead) !== text) return "unknown"; // another's by now
    const outcome = await flock(descriptor, "shared");
    return outcome === "taken" ? "free" : outcome;
  } finally {
    await closeFile(descriptor);
  }
}
