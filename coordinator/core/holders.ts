import type { Holder, Unit } from "./state.ts";

/** Of a slice: whoever was lent that very attempt in this epoch, by that name. */
export function holderOf(unit: Unit, { worker, attempt }: Pick<Holder, "worker" | "attempt">): Holder | undefined {
  for (let holder = unit.holders; holder !== undefined; holder = holder.before) {
    if (holder.attempt === attempt && holder.worker === worker) return holder;
  }
  return undefined;
}
