import { linuxOnly } from "../../scripts/linux-only.mjs";

/** Processes that see neither each other's numbers nor networks, as those of two containers; the files are the same. */

/**
 * What to put before a command, so that it runs in namespaces of its own, and ends when this process is killed. Root may make them; others
 * may where the system lets users make their own. Where neither is so the command fails, and its test with it.
 */
export function inNamespaces(kinds: readonly ("pid" | "net")[]): readonly string[] {
  linuxOnly("Namespaces are made by unshare");
  const user = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"];
  return ["unshare", ...user, ...kinds.map((kind) => `--${kind}`), "--fork", "--mount-proc", "--kill-child"];
}
