import { randomBytes } from "node:crypto";
import { link, readdir, readFile, rename, unlink, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { errnoOf, StorageError } from "./errors.ts";
import { isRunning, ownIdentity, type ProcessIdentity, processNumber } from "./process-identity.ts";
import type { Lock } from "./store.ts";

/**
 * A lock is a file that names its holder, and ends with the holder's process.
 *
 * A lock left by a dead process must be taken over by one of many that try. Removing it is no way: between looking and
 * removing another may have taken it, and the lock of a living process would be lost. So each claim is a ticket with
 * a name used once, and whoever wants to succeed the dead ticket T makes the file `<path>.T.heir`, which only one can.
 * Before the heir counts itself the holder it looks at the lock again: if that is not the chain's root any more, the
 * succession was decided before and its traces swept, and the heir steps back. Only the holder replaces the lock, by a
 * rename over it, and only afterwards removes the heir files. An heir that dies on the way is succeeded like a holder.
 */
export async function lockFile(path: string): Promise<Lock> {
  const ticket = `${ownIdentity()}-${randomBytes(8).toString("hex")}`;
  const draft = `${path}.${ticket}.new`;
  await writeFile(draft, ticket, { flag: "wx" });
  try {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      if (await claim(path, draft, ticket)) return await held(path, ticket);
      if (await succeed(path, draft, ticket)) return await held(path, ticket);
    }
  } finally {
    await removeIfThere(draft);
  }
  throw new StorageError("storage/locked", `cannot lock ${path}: too many others are trying`, {
    hint: "Wait until they are done.",
    retryable: true,
  });
}

/** Each round is lost to another process that made headway; so many in a row do not happen. */
const MAX_ROUNDS = 100;

/** How long a lock may stand empty while its holder writes it. */
const BIRTH_MS = 100;

async function held(path: string, ticket: string): Promise<Lock> {
  await sweep(path, ticket);
  return {
    async release() {
      // Somebody may have removed the file by hand, and another taken the lock.
      if ((await ticketIn(path)) === ticket) await removeIfThere(path);
    },
  };
}

/** Makes `target` with the ticket in it, complete from its first moment. False if it is there. */
async function claim(target: string, draft: string, ticket: string): Promise<boolean> {
  try {
    await link(draft, target);
    return true;
  } catch (cause) {
    const errno = errnoOf(cause);
    if (errno === "EEXIST") return false;
    if (errno !== "EPERM" && errno !== "ENOTSUP" && errno !== "ENOSYS" && errno !== "EOPNOTSUPP") throw cause;
  }
  // A file system without hard links (exFAT, some FUSE): here a reader may see the file before its content.
  try {
    await writeFile(target, ticket, { flag: "wx" });
    return true;
  } catch (cause) {
    if (errnoOf(cause) === "EEXIST") return false;
    throw cause;
  }
}

/** Tries to succeed the dead holder of `path`. False: the lock changed meanwhile, look again. @throws `storage/locked` */
async function succeed(path: string, draft: string, ticket: string): Promise<boolean> {
  let root = await ticketIn(path);
  if (root === "") {
    // Either a crash of the machine lost the content, or (without hard links) the holder is just writing it.
    await delay(BIRTH_MS);
    root = await ticketIn(path);
  }
  if (root === undefined) return false;
  for (let last = root; ; ) {
    if (isRunning(holderOf(last))) throw lockedBy(path, last);
    const heir = heirFile(path, last);
    if (await claim(heir, draft, ticket)) {
      if ((await ticketIn(path)) === root) {
        await rename(draft, path); // draft, not the heir file: that must stay until the lock has changed
        return true;
      }
      await removeIfThere(heir);
      return false;
    }
    const next = await ticketIn(heir);
    if (next === undefined) return false;
    last = next;
  }
}

/** Removes what dead processes left beside the lock, and the traces of the succession. Only the holder may. */
async function sweep(path: string, ticket: string): Promise<void> {
  const prefix = `${basename(path)}.`;
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(prefix)) continue;
    const file = join(dirname(path), name);
    if (name.endsWith(".new")) {
      if (!isRunning(holderOf(name.slice(prefix.length, -".new".length)))) await removeIfThere(file);
    } else if (name.endsWith(".heir")) {
      const heir = await ticketIn(file);
      if (heir === ticket || heir === undefined || !isRunning(holderOf(heir))) await removeIfThere(file);
    }
  }
}

function heirFile(path: string, ticket: string): string {
  // What stands in a lock file may come from anywhere; a name is made of tame characters only.
  return `${path}.${ticket.replaceAll(/[^0-9A-Za-z-]/g, "_").slice(0, 80)}.heir`;
}

/** A ticket without its nonce. */
function holderOf(ticket: string): ProcessIdentity {
  return ticket.slice(0, Math.max(0, ticket.lastIndexOf("-"))) as ProcessIdentity;
}

async function ticketIn(path: string): Promise<string | undefined> {
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

function lockedBy(path: string, ticket: string): StorageError {
  return new StorageError(
    "storage/locked",
    `cannot lock ${path}: process ${processNumber(holderOf(ticket))} holds it`,
    {
      hint: "Wait until that process ends, or stop it.",
      retryable: true,
    },
  );
}
