import { randomBytes } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { link, readdir, readFile, rename, unlink, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { errnoOf, StorageError } from "../errors.ts";
import type { Lock, LockOptions } from "../port.ts";
import { flock, isOfThisKernel } from "./kernel-lock.ts";
import { holderOf, KERNEL_LOCKED, lockOfText, nameOfHolder, sightOfHolder, textOfLock } from "./lock-holder.ts";
import { ownIdentity, partsOf, type Sight } from "./process-identity.ts";

/**
 * A lock is a file that names its holder, and ends with the holder's process.
 *
 * A lock left by a dead process must be taken over by one of many that try. Removing it is no way: between looking and
 * removing another may have taken it, and the lock of a living process would be lost. So each claim is a ticket with
 * a name used once, and whoever wants to succeed the dead ticket T makes the file `<path>.T.heir`, which only one can.
 * Before the heir counts itself the holder it looks at the lock again: if that is not the chain's root any more, the
 * succession was decided before and its traces swept, and the heir steps back. Only the holder replaces the lock, by a
 * rename over it, and only afterwards removes the heir files. An heir that dies on the way is succeeded like a holder.
 *
 * A holder in another container or on another machine cannot be seen. It is succeeded only where its end is proven (lock-holder.ts):
 * for that the holder has its file locked by the kernel, too, where one kernel alone can have the place mounted; or where somebody who
 * knows says so, by its name. Of one that is seen to run nobody's word counts.
 */
export async function lockFile(path: string, { owner = "", gone = "" }: LockOptions & GoneHolder = {}): Promise<Lock> {
  const draft = `${path}.${ownIdentity()}-${randomBytes(8).toString("hex")}.new`;
  let descriptor: number | undefined = openSync(draft, "wx+");
  try {
    const kernelLocked = (await isOfThisKernel(dirname(path))) && (await flock(descriptor, "exclusive")) === "taken";
    const nonce = `${kernelLocked ? KERNEL_LOCKED : ""}${randomBytes(8).toString("hex")}`;
    const text = textOfLock({ ticket: `${ownIdentity()}-${nonce}`, host: hostname(), owner });
    await writeFile(draft, text, "latin1");
    const claim: Claim = { path, draft, text, owner, gone, kernelLocked };
    for (let round = 0; round < MAX_ROUNDS; round++) {
      if ((await put(path, claim)) || (await succeed(claim))) {
        const lock = await held(claim, descriptor);
        descriptor = undefined;
        return lock;
      }
    }
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
    await removeIfThere(draft);
  }
  throw new StorageError("storage/locked", `cannot lock ${path}: too many others are trying`, {
    hint: "Wait until they are done.",
    retryable: true,
  });
}

interface Claim {
  readonly path: string;
  /** A file that holds `text`. */
  readonly draft: string;
  readonly text: string;
  readonly owner: string;
  readonly gone: string;
  readonly kernelLocked: boolean;
}

export interface GoneHolder {
  /** Name of a holder of whom somebody is certain that it has ended; "": of nobody. */
  readonly gone?: string | undefined;
}

/** Each round is lost to another process that made headway; so many in a row do not happen. */
const MAX_ROUNDS = 100;

/** How long a lock may stand empty while its holder writes it. */
const BIRTH_MS = 100;

async function held({ path, text }: Claim, descriptor: number): Promise<Lock> {
  await sweep(path, text);
  let released = false;
  return {
    async release() {
      if (released) return;
      released = true;
      try {
        // Somebody may have removed the file by hand, and another taken the lock.
        if ((await textIn(path)) === text) await removeIfThere(path);
      } finally {
        closeSync(descriptor);
      }
    },
  };
}

/** Makes `target` with the claim's text in it, complete from its first moment. False if it is there. */
async function put(target: string, { draft, text, kernelLocked }: Claim): Promise<boolean> {
  try {
    await link(draft, target);
    return true;
  } catch (cause) {
    const errno = errnoOf(cause);
    if (errno === "EEXIST") return false;
    // The kernel's lock is that of the draft's file.
    if (kernelLocked || !["EPERM", "ENOTSUP", "ENOSYS", "EOPNOTSUPP"].includes(errno ?? "")) throw cause;
  }
  // A file system without hard links (exFAT, some FUSE): here a reader may see the file before its content.
  try {
    await writeFile(target, text, { encoding: "latin1", flag: "wx" });
    return true;
  } catch (cause) {
    if (errnoOf(cause) === "EEXIST") return false;
    throw cause;
  }
}

/** Tries to succeed the dead holder of the lock. False: it changed meanwhile, look again. @throws `storage/locked` */
async function succeed(claim: Claim): Promise<boolean> {
  const { path, draft } = claim;
  let root = await textIn(path);
  if (root === "") {
    // Either a crash of the machine lost the content, or (without hard links) the holder is just writing it.
    await delay(BIRTH_MS);
    root = await textIn(path);
  }
  if (root === undefined) return false;
  for (let [file, last] = [path, root]; ; ) {
    const sight = isOwnersOwn(last, claim) ? "ended" : await sightOfHolder(file, last);
    const isGone = sight === "hidden" && claim.gone === nameOfHolder(last);
    if (sight !== "ended" && !isGone) throw lockedBy(path, last, sight);
    const heir = heirFile(path, last);
    if (await put(heir, claim)) {
      if ((await textIn(path)) === root) {
        await rename(draft, path); // draft, not the heir file: that must stay until the lock has changed
        return true;
      }
      await removeIfThere(heir);
      return false;
    }
    const next = await textIn(heir);
    if (next === undefined) return false;
    [file, last] = [heir, next];
  }
}

/** A holder of our owner may be succeeded while it runs; not by another that is of this very process. */
function isOwnersOwn(text: string, { owner }: Claim): boolean {
  const other = lockOfText(text);
  return owner !== "" && other.owner === owner && holderOf(other.ticket) !== ownIdentity();
}

/** Removes what dead processes left beside the lock, and the traces of the succession. Only the holder may. */
async function sweep(path: string, text: string): Promise<void> {
  const prefix = `${basename(path)}.`;
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(prefix)) continue;
    const file = join(dirname(path), name);
    if (name.endsWith(".new")) {
      const draft = await textIn(file);
      // One that is being written is named by its holder too.
      const holder = draft || name.slice(prefix.length, -".new".length);
      if (draft !== undefined && (await sightOfHolder(file, holder)) === "ended") await removeIfThere(file);
    } else if (name.endsWith(".heir")) {
      const heir = await textIn(file);
      if (heir === text || heir === undefined || (await sightOfHolder(file, heir)) === "ended")
        await removeIfThere(file);
    }
  }
}

function heirFile(path: string, text: string): string {
  // What stands in a lock file may come from anywhere; a name is made of tame characters only.
  const { ticket } = lockOfText(text);
  return `${path}.${ticket.replaceAll(/[^0-9A-Za-z-]/g, "_").slice(0, 80)}.heir`;
}

async function textIn(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "latin1");
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw cause;
  }
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (cause) {
    if (errnoOf(cause) !== "ENOENT") throw cause;
  }
}

/** `text`: of the lock, or of an heir's. */
function lockedBy(path: string, text: string, sight: Exclude<Sight, "ended">): StorageError {
  const { ticket, host } = lockOfText(text);
  const number = partsOf(holderOf(ticket))?.number;
  const where = host === "" ? "" : ` on ${host}`;
  if (sight === "running") {
    return new StorageError("storage/locked", `cannot lock ${path}: process ${number}${where} holds it`, {
      hint: "Wait until that process ends, or stop it.",
      retryable: true,
    });
  }
  return new StorageError(
    "storage/locked",
    `cannot lock ${path}: process ${number}${where} holds it, in another container or on another machine, ` +
      "and whether it still runs cannot be seen from here",
    {
      hint:
        "Stop it there. If you are certain that it has ended (a crashed pod, a machine that is gone), give the command that needs " +
        `the lock: --take-over ${nameOfHolder(text)}`,
      retryable: true,
    },
  );
}
