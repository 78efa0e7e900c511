import { type Plan, shardPreamble } from "../../merge/work/index.ts";
import { type Files, join, type Place, type Readable } from "../../storage/index.ts";
import { PublishError } from "../errors.ts";
import { copyRange, hashFile } from "../seal/read-back.ts";

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
  readonly out: Place;
  /** Folder for the rebuilt shards. */
  readonly aside: Place;
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

/** Makes each shard anew under `aside`, durable and with the SHA-256 it was published with. */
export async function rebuildShards(store: Files, rebuild: ShardRebuild): Promise<void> {
  const { plan, aside, shards, sliceSha256s, recompute, tool } = rebuild;
  const shardPaths = plan.shards.map(({ name }) => join(aside, name));
  for (const shard of shards) await copySound(store, rebuild, shard);
  const slices = shards.flatMap((shard) => shard.slices);
  const found = slices.length === 0 ? [] : await recompute(plan, slices, shardPaths);
  for (const [k, slice] of slices.entries()) {
    const expected = sliceSha256s?.[slice] ?? found[k];
    const { id, shard } = plan.slices[slice] ?? {};
    const name = `slice ${id} of ${plan.shards[shard ?? 0]?.name}`;
    if (found[k] === undefined || found[k] !== expected)
      throw notReproduced(name, expected ?? "", found[k] ?? "", tool);
  }
  for (const { shard, sha256 } of shards) {
    const path = shardPaths[shard];
    if (path === undefined) throw new Error(`the plan has no shard ${shard}`);
    await using(store.openForWriting(path), (file) => file.sync());
    const found = (await hashFile(store, path)).sha256;
    if (found !== sha256) throw notReproduced(plan.shards[shard]?.name ?? "", sha256, found, tool);
  }
}

/** Header from the plan, sound slices from the damaged file, holes where slices will be computed. */
async function copySound(store: Files, rebuild: ShardRebuild, { shard, slices }: DamagedShard): Promise<void> {
  const { plan, out, aside } = rebuild;
  const layout = plan.shards[shard];
  if (layout === undefined) throw new Error(`the plan has no shard ${shard}`);
  const computed = new Set(slices);
  const sound = plan.slices.filter((slice, index) => slice.shard === shard && !computed.has(index));
  await using(store.openForWriting(join(aside, layout.name)), async (file) => {
    await file.truncate(0);
    await file.truncate(layout.sizeBytes);
    await file.write(0, shardPreamble(layout.header));
    if (sound.length === 0) return;
    await using(store.open(join(out, layout.name)), async (damaged) => {
      for (const slice of sound) await copyRange(damaged, file, slice);
    });
  });
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

async function using<F extends Readable, T>(opened: Promise<F>, use: (file: F) => Promise<T>): Promise<T> {
  const file = await opened;
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}
