import type { Plan } from "../../merge/work/index.ts";
import type { Place } from "../../storage/index.ts";
import { PublishError } from "../errors.ts";
import { digestOfFile } from "../seal/read-back.ts";
import type { RepairTarget } from "./repair-target.ts";

/**
 * Computes slices again and writes each to its place in `shardPaths[slice.shard]`, a file that has its final size.
 * Resolves to their SHA-256s, in the order of `slices` (indices into plan.slices).
 */
export type RecomputeSlices = (
  plan: Plan,
  slices: readonly number[],
  shardPaths: readonly Place[],
) => Promise<readonly string[]>;

export interface ShardRebuild {
  readonly plan: Plan;
  readonly shards: readonly DamagedShard[];
  /** Of all slices of the plan, where the manifest is sound. */
  readonly sliceSha256s: readonly string[] | undefined;
  readonly recompute: RecomputeSlices;
  /** Version that made the output, for messages. */
  readonly tool: string;
}

export interface DamagedShard {
  /** Index into plan.shards. */
  readonly shard: number;
  /** Of the file as published. */
  readonly sha256: string;
  /** Slices that must be computed; all others are copied. */
  readonly slices: readonly number[];
}

/** Makes each shard anew aside, durable and with the SHA-256 it was published with. */
export async function rebuildShards(target: RepairTarget, rebuild: ShardRebuild): Promise<void> {
  const { plan, shards, sliceSha256s, recompute, tool } = rebuild;
  const shardPaths = target.asides(plan);
  for (const { shard, slices } of shards) {
    const computed = new Set(slices);
    const own = slicesOf(plan, shard);
    await target.beginShard(
      plan,
      shard,
      own.filter((index) => !computed.has(index)),
    );
  }
  const slices = shards.flatMap((shard) => shard.slices);
  const found = slices.length === 0 ? [] : await recompute(plan, slices, shardPaths);
  const made = new Map(slices.map((slice, k) => [slice, found[k]]));
  for (const [slice, sha256] of made) {
    const expected = sliceSha256s?.[slice] ?? sha256;
    const { id, shard } = plan.slices[slice] ?? {};
    const name = `slice ${id} of ${plan.shards[shard ?? 0]?.name}`;
    if (sha256 === undefined || sha256 !== expected) throw notReproduced(name, expected ?? "", sha256 ?? "", tool);
  }
  for (const { shard, sha256 } of shards) {
    const path = shardPaths[shard];
    if (path === undefined) throw new Error(`the plan has no shard ${shard}`);
    await target.endShard(
      plan,
      shard,
      slicesOf(plan, shard).map((slice) => made.get(slice) ?? sliceSha256s?.[slice]),
    );
    const whole = await digestOfFile(target.source, path, sha256);
    if (whole !== sha256) throw notReproduced(plan.shards[shard]?.name ?? "", sha256, whole, tool);
  }
}

/** Indices into plan.slices. */
function slicesOf({ slices }: Plan, shard: number): readonly number[] {
  return [...slices.keys()].filter((index) => slices[index]?.shard === shard);
}

/** The same inputs and the same program give the same bytes; so one of them is not the same. */
export function notReproduced(what: string, expected: string, found: string, tool: string): PublishError {
  return new PublishError(
    "publish/not-reproduced",
    `${what} was published with SHA-256 ${expected}; made again it is ${found}`,
    {
      hint: `An input has changed since (its header has not), or this version makes other bytes than deltaworks ${tool}, which made the output. The output is as it was.`,
    },
  );
}
