import { createHash } from "node:crypto";
import { type Plan, type SealRange, type SealWork, shardPreamble } from "../../merge/work/index.ts";
import type { Place } from "../../storage/index.ts";

/** Most bytes of slices that one unit reads back. */
export const SEAL_GROUP_BYTES = 256 * 1024 * 1024;

/** A unit of the seal, and what of the plan it covers. */
export interface SealUnit {
  readonly work: SealWork;
  /** Index into plan.shards. */
  readonly shard: number;
  /** Indices into plan.slices, in the order of the ranges; empty for "seal-file" without ranges. */
  readonly slices: readonly number[];
  /** Whether the first range is not a slice but the header of the shard. */
  readonly coversHeader: boolean;
}

/**
 * All that must be read back: per shard one hash of the file, which must be made from front to back, and its header and
 * slices in groups, which may be read at the same time. Shard by shard, so that its bytes are still in the page cache. Of shards that were
 * uploaded in parts, all at once: they are far, and come once.
 */
export function sealWork(plan: Plan, shardPaths: readonly Place[]): readonly SealUnit[] {
  const slicesOf: number[][] = plan.shards.map(() => []);
  for (const [index, slice] of plan.slices.entries()) slicesOf[slice.shard]?.push(index);
  return plan.shards.flatMap((shard, index): SealUnit[] => {
    const path = shardPaths[index];
    if (path === undefined) throw new Error(`no path for shard ${shard.name}`);
    const { sizeBytes } = shard;
    if (plan.options.layout === "parts") {
      const slices = slicesOf[index] ?? [];
      const ranges = slices.map((slice) => rangeOf(plan, slice));
      return [{ work: { kind: "seal-file", path, sizeBytes, ranges }, shard: index, slices, coversHeader: false }];
    }
    const file: SealUnit = {
      work: { kind: "seal-file", path, sizeBytes },
      shard: index,
      slices: [],
      coversHeader: false,
    };
    const header = { offsetBytes: 0, sizeBytes: shard.dataOffsetBytes };
    const groups = groupSlices(plan, slicesOf[index] ?? []);
    const units = groups.map((slices, group): SealUnit => {
      const ranges = slices.map((slice) => rangeOf(plan, slice));
      const coversHeader = group === 0;
      const work = { kind: "seal-slices", path, ranges: coversHeader ? [header, ...ranges] : ranges } as const;
      return { work, shard: index, slices, coversHeader };
    });
    return [file, ...units];
  });
}

function groupSlices(plan: Plan, slices: readonly number[]): readonly (readonly number[])[] {
  const groups: number[][] = [[]];
  let bytes = 0;
  for (const slice of slices) {
    const { sizeBytes } = rangeOf(plan, slice);
    if (bytes > 0 && bytes + sizeBytes > SEAL_GROUP_BYTES) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)?.push(slice);
    bytes += sizeBytes;
  }
  return groups;
}

export interface SealDamage {
  /** Indices into plan.slices: to be computed again. */
  readonly slices: readonly number[];
  /** The shard's header is not what the plan says: to be written again. */
  readonly header: boolean;
}

/**
 * What of a unit with ranges is not in storage as it was written.
 * `sliceSha256s`: of all slices of the plan, as computed. `found`: the unit's report, a hash per range.
 */
export function damagedSlices(
  plan: Plan,
  unit: SealUnit,
  sliceSha256s: readonly string[],
  found: readonly string[],
): SealDamage {
  const first = unit.coversHeader || unit.work.kind === "seal-file" ? 1 : 0;
  return {
    slices: unit.slices.filter((slice, k) => found[first + k] !== sliceSha256s[slice]),
    header: unit.coversHeader && found[0] !== headerSha256(plan, unit.shard),
  };
}

/** SHA-256 of what stands before the data of a shard. */
export function headerSha256(plan: Plan, shard: number): string {
  const { header } = plan.shards[shard] ?? {};
  if (header === undefined) throw new Error(`the plan has no shard ${shard}`);
  return createHash("sha256").update(shardPreamble(header)).digest("hex");
}

function rangeOf(plan: Plan, index: number): SealRange {
  const slice = plan.slices[index];
  if (slice === undefined) throw new Error(`the plan has no slice ${index}`);
  return { offsetBytes: slice.offsetBytes, sizeBytes: slice.sizeBytes };
}
