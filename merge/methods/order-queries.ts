import type { Address } from "../engines/index.ts";
import type { TensorSource } from "../work/index.ts";
import type { Chunk } from "./chunks.ts";
import type { RangeContext } from "./range.ts";

/** Which element is asked for: `position` in ascending order (0: the smallest) of model `model` of the task. */
export interface Query {
  readonly model: number;
  readonly position: Position;
}

/** A number; or that of the smallest of the trunc(share * n) largest, n being how many are not zero. */
export type Position = number | { readonly shareOfNonzero: number };

/**
 * An exact answer. `position`: which element it is, as a number. `below`: how many are smaller. `ties`: how many equal it in each part
 * of the tensor, in order. A share that comes to no element: a position past the end, bits that no magnitude has.
 */
export interface Statistic {
  readonly position: number;
  readonly bits: number;
  readonly below: number;
  readonly ties: readonly number[];
}

/** What is ranked, chunk by chunk. */
export interface RankedValues {
  /** First what all models share is made ready, then one model after another is asked for. */
  readonly of: (chunk: Chunk) => Promise<RankedChunk>;
  /** What is read for these models, what they share first. */
  readonly sources: (models: readonly number[]) => readonly TensorSource[];
}

export interface RankedChunk {
  /** The f32 numbers of a model, good until the next are asked for. */
  values(model: number): Promise<Address>;
  /** What counts them against a bracket, good until the next are asked for. */
  counted(model: number): Promise<Count>;
}

/** The kernel `bracket` over all numbers of a chunk. */
export type Count = (counts: Address, collected: Address, capacity: number, lo: number, hi: number) => void;

/** Numbers that lie in memory before they are counted. */
export function rankedChunk({ arena }: RangeContext, chunk: Chunk, values: RankedChunk["values"]): RankedChunk {
  return {
    values,
    counted: async (model) => {
      const d = await values(model);
      return (counts, collected, capacity, lo, hi) =>
        arena.kernels.bracket(counts, collected, capacity, d, lo, hi, chunk.elementCount);
    },
  };
}

/** Bits that no magnitude has. */
export const NO_LIMIT = 0xffffffff;

export function positionAmong(position: Position, elements: number, zeros: number): number {
  return typeof position === "number" ? position : elements - Math.trunc((elements - zeros) * position.shareOfNonzero);
}

export function noElement(position: number): Statistic {
  return { position, bits: NO_LIMIT, below: position, ties: [] };
}

/** Indices of the queries of each model. */
export function groupQueries(queries: readonly Query[]): Map<number, number[]> {
  const groups = new Map<number, number[]>();
  for (const [k, { model }] of queries.entries()) {
    const known = groups.get(model);
    if (known === undefined) groups.set(model, [k]);
    else known.push(k);
  }
  return groups;
}

export async function downloadU32(context: RangeContext, address: Address, count: number): Promise<Uint32Array> {
  return new Uint32Array((await context.arena.download(address, count * 4)).slice().buffer);
}

/** What was downloaded, as numbers: a view as long-lived as it is, or a copy where they are not aligned. */
export function u32Of(bytes: Uint8Array): Uint32Array {
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Uint32Array(buffer, byteOffset, byteLength / 4);
}
