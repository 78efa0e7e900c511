import type { Plan } from "../../merge/work/index.ts";
import type { Lock, Place, Source } from "../../storage/index.ts";

/** Where a published output is repaired: what is made anew is made aside, and put in place when it is known to be what was published. */
export interface RepairTarget {
  /** Of the output, and of inputs. */
  readonly source: Source;
  /** Whether shards are made of slices that are parts of uploads, and of no others. */
  readonly takesParts: boolean;
  /** For one writer, and the folder aside. @throws StorageError `storage/locked`, `storage/not-found` where no output is */
  begin(): Promise<Lock>;
  /** Puts a small file in its place, whole. */
  place(name: string, bytes: Uint8Array): Promise<void>;
  /** Where shards are made anew. */
  asides(plan: Plan): readonly Place[];
  /** Begins a shard aside, with what is sound of the damaged one. `sound`: indices into plan.slices. */
  beginShard(plan: Plan, shard: number, sound: readonly number[]): Promise<void>;
  /** All of it is written, durable once it resolves, and can be read. `sliceSha256s`: of its slices, as far as they are known. */
  endShard(plan: Plan, shard: number, sliceSha256s: readonly (string | undefined)[]): Promise<void>;
  /** Puts a shard from aside in its place, in one step. */
  placeShard(name: string): Promise<void>;
  /** Removes what this repair, or one that crashed, left aside. */
  tidy(): Promise<void>;
}
