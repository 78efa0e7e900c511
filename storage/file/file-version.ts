import type { Version } from "../port.ts";

/** Of a file of this machine: its inode, and when it was modified last, in nanoseconds since 1970 by the file system's clock. */
export function fileVersion({ inode, mtimeNs }: { readonly inode: bigint; readonly mtimeNs: bigint }): Version {
  const billion = 1_000_000_000n;
  const ns = ((mtimeNs % billion) + billion) % billion;
  const seconds = new Date(Number((mtimeNs - ns) / 1_000_000n)).toISOString().slice(0, -".000Z".length);
  return `inode ${inode}, modified ${seconds}.${String(ns).padStart(9, "0")}Z`;
}
