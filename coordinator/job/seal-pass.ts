import { type Plan, type SealWork, type Slice, sealRanges, type UnitId } from "../../merge/work/index.ts";
import { damagedSlices, type SealUnit, sealWork } from "../../output/index.ts";
import type { Place } from "../../storage/index.ts";
import { unitOf } from "./specification.ts";

/** The shards as they were read back. */
export interface SealedShards {
  readonly sliceSha256s: readonly string[];
  readonly shardSha256s: readonly string[];
}

/** One reading back of everything, and what was found. */
export class SealPass {
  readonly #plan: Plan;
  readonly #shardPaths: readonly string[];
  readonly #units: ReadonlyMap<UnitId, SealUnit>;
  readonly #found = new Map<UnitId, readonly string[]>();
  #told: readonly string[] | undefined;

  /** `pass`: from 1; a slice that is damaged makes another one. */
  constructor(plan: Plan, shardPaths: readonly Place[], pass: number) {
    this.#plan = plan;
    this.#shardPaths = shardPaths;
    const work = pass === 0 ? [] : sealWork(plan, shardPaths);
    this.#units = new Map(work.map((seal, k) => [`seal-${pass}-${k}` as UnitId, seal]));
  }

  /** Of shards of which somebody else has said what they are: nothing is read back. */
  static told(plan: Plan, shardSha256s: readonly string[]): SealPass {
    const pass = new SealPass(plan, [], 0);
    pass.#told = shardSha256s;
    return pass;
  }

  /** With the slices that each reads back. */
  units(): { readonly unit: UnitId; readonly slices: readonly UnitId[]; readonly isUnproven: boolean }[] {
    const wholeShards = new Map<number, UnitId[]>();
    for (const { shard, slices } of this.#units.values()) {
      const known = wholeShards.get(shard);
      if (known === undefined) wholeShards.set(shard, this.#idsOf(slices));
      else for (const id of this.#idsOf(slices)) known.push(id);
    }
    return [...this.#units].map(([unit, { work, shard, slices }]) => {
      // Of the hashes of slices that of the whole file cannot be made.
      const isUnproven = work.kind === "seal-file";
      return { unit, slices: isUnproven ? (wholeShards.get(shard) ?? []) : this.#idsOf(slices), isUnproven };
    });
  }

  work(unit: UnitId): SealWork | undefined {
    return this.#units.get(unit)?.work;
  }

  /** Whether an answer has a hash for each range that was asked for: one that is missing would be published as empty. */
  fits(unit: UnitId, found: readonly string[]): boolean {
    const work = this.work(unit);
    return work === undefined || found.length === sealRanges(work).length;
  }

  /** What an answer says: slices that are damaged, and the path of a shard whose header is. */
  damage(
    unit: UnitId,
    found: readonly string[],
    sha256Of: (slice: Slice) => string,
  ): { readonly slices: readonly UnitId[]; readonly header?: string } {
    const seal = this.#units.get(unit);
    if (seal === undefined || seal.slices.length === 0) return { slices: [] };
    const hashes: string[] = [];
    for (const index of seal.slices) {
      const slice = this.#plan.slices[index];
      if (slice !== undefined) hashes[index] = sha256Of(slice);
    }
    const damage = damagedSlices(this.#plan, seal, hashes, found);
    return { slices: this.#idsOf(damage.slices), ...(damage.header ? { header: seal.work.path } : {}) };
  }

  /** This answer counts. */
  take(unit: UnitId, found: readonly string[]): void {
    this.#found.set(unit, found);
  }

  /** All units are answered. */
  sealed(sha256Of: (slice: Slice) => string): SealedShards {
    const hashes = new Map<string, string>();
    for (const [unit, { work }] of this.#units) {
      if (work.kind === "seal-file") hashes.set(work.path, this.#found.get(unit)?.[0] ?? "");
    }
    return {
      sliceSha256s: this.#plan.slices.map(sha256Of),
      shardSha256s: this.#told ?? this.#shardPaths.map((path) => hashes.get(path) ?? ""),
    };
  }

  #idsOf(indices: readonly number[]): UnitId[] {
    return indices.flatMap((index) => this.#plan.slices[index] ?? []).map(unitOf);
  }
}
