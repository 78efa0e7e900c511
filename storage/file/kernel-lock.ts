import { spawn } from "node:child_process";
import { statfs } from "node:fs/promises";

/**
 * Locks that the kernel keeps for open files (flock(2)), by the command `flock` of util-linux or busybox: Node has no call for it.
 * The command locks the open file that it inherits and ends; the lock stays with our descriptor, and goes when that is closed, by
 * us or because the process ended, however it did. All processes of one kernel see it, whatever container they are in.
 */
export type FlockOutcome = "taken" | "held" | "unknown";

/** @param descriptor open for writing where the lock is exclusive: network file systems ask for it. */
export function flock(descriptor: number, mode: "exclusive" | "shared"): Promise<FlockOutcome> {
  return new Promise((resolve) => {
    const command = spawn("flock", ["-n", mode === "exclusive" ? "-x" : "-s", "3"], {
      stdio: ["ignore", "ignore", "ignore", descriptor],
    });
    command.once("error", () => resolve("unknown")); // there is no such command
    command.once("exit", (code) => resolve(code === 0 ? "taken" : code === 1 ? "held" : "unknown"));
  });
}

/**
 * Kinds of file systems, as statfs(2) numbers them, that one kernel alone has mounted at a time: ext2 to ext4, xfs, btrfs, f2fs, zfs,
 * bcachefs, jfs, tmpfs, ramfs, and overlays of those.
 */
const LOCAL = new Set([
  ...[0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x2fc12fc1, 0xca451a4e, 0x3153464a],
  ...[0x01021994, 0x858458f6, 0x794c7630],
]);

/** Whether only processes of this kernel can have files of the directory open. Where it cannot be told: false. */
export async function isOfThisKernel(directory: string): Promise<boolean> {
  if (process.platform !== "linux") return false;
  try {
    return LOCAL.has(Number((await statfs(directory)).type) >>> 0);
  } catch {
    return false;
  }
}
