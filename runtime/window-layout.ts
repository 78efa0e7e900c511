import { type Extent, joinedExtents } from "./wanted-extents.ts";

export const WINDOW_MAX_BYTES = 8 * 2 ** 20;
/** With less the pause before each answer takes most of the time. */
export const WINDOW_GOOD_BYTES = 2 ** 20;
/** With less it is better to read what is asked for as it is asked for. */
export const WINDOW_MIN_BYTES = 128 * 2 ** 10;

/** Parts of an assignment that follow each other, and whose windows are held together. */
export interface WindowGroup {
  /** What its parts read. */
  readonly extents: readonly Extent[];
  /** How many parts. */
  readonly parts: number;
  /** Whether its windows stay until its end, so that each byte is read once in however many rounds. */
  readonly isKept: boolean;
}

/** How what is far is read, of one assignment. */
export interface WindowLayout {
  /** 0: by no windows, there is no room for one of each extent. */
  readonly windowBytes: number;
  readonly groups: readonly WindowGroup[];
}

/**
 * `parts`: what each part of an assignment reads; they are taken in one after the other. Windows become smaller, down to 1 MiB, so that all
 * of a part has room. Where it has not, its extents are read in turns, some windows of each at once, and anew in each round; of many
 * models windows become smaller than that, so that memory does not depend on their number.
 */
export function layOutWindows(capacityBytes: number, parts: readonly (readonly Extent[])[]): WindowLayout {
  // Of two groups one is computed with while the next is on its way.
  const grouped = groupsOf(parts, capacityBytes / 2).map((members) => ({
    extents: joinedExtents(members.flat()),
    parts: members.length,
  }));
  const sizes: number[] = [];
  for (let size = WINDOW_MAX_BYTES; size >= WINDOW_MIN_BYTES; size /= 2) sizes.push(size);
  const longest = Math.max(0, ...grouped.flatMap(({ extents }) => extents.map(lengthOf)));
  // No window is longer than the longest needs.
  const good = sizes.filter((size) => size === WINDOW_GOOD_BYTES || (size > WINDOW_GOOD_BYTES && size / 2 < longest));
  const ofGroups = grouped.map(({ extents }) => {
    const kept = good.find((size) => windowCount(size, extents) * size <= capacityBytes);
    if (kept !== undefined) return { windowBytes: kept, isKept: true };
    const fits = (each: number) => (size: number) => each * size * extents.length <= capacityBytes;
    const found =
      good.find(fits(3)) ?? good.find(fits(2)) ?? good.find(fits(1)) ?? sizes.find(fits(2)) ?? sizes.find(fits(1));
    return { windowBytes: found ?? 0, isKept: false };
  });
  const windowBytes = Math.min(WINDOW_MAX_BYTES, ...ofGroups.map((group) => group.windowBytes));
  return {
    windowBytes,
    groups: grouped.map((group, k) => ({ ...group, isKept: windowBytes > 0 && ofGroups[k]?.isKept === true })),
  };
}

/** How many windows some extents are. */
export function windowCount(windowBytes: number, extents: readonly Extent[]): number {
  return extents.reduce((sum, extent) => sum + Math.ceil(lengthOf(extent) / windowBytes), 0);
}

/** Neighbours together, as far as they do not exceed so many bytes. */
function groupsOf(parts: readonly (readonly Extent[])[], mostBytes: number): (readonly Extent[])[][] {
  const groups: (readonly Extent[])[][] = [];
  let bytes = 0;
  for (const part of parts) {
    const partBytes = part.reduce((sum, extent) => sum + lengthOf(extent), 0);
    const group = groups.at(-1);
    if (group !== undefined && bytes + partBytes <= mostBytes) {
      group.push(part);
      bytes += partBytes;
    } else {
      groups.push([part]);
      bytes = partBytes;
    }
  }
  return groups;
}

function lengthOf({ fromByte, toByte }: Extent): number {
  return toByte - fromByte;
}
