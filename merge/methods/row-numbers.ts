import type { Address } from "../engines/index.ts";
import { float64Copy } from "./block-sums.ts";
import { rowCapacity } from "./chunks.ts";
import type { RangeContext } from "./range.ts";

/** Where each fetch costs, numbers may take as much memory as some buffers of a chunk do. */
const FAR_ROOM_PER_ELEMENT = 32;

/** Float64 numbers, one a row, of many things side by side: fetched together, as far as memory is spared for them. */
export class RowNumbers {
  readonly address: Address;
  readonly #context: RangeContext;
  /** Of so many things at once. */
  readonly #width: number;

  constructor(context: RangeContext, name: string, most: number) {
    const bytes = rowCapacity(context) * 8;
    const { asynchronous } = context.arena.device.limits;
    const room = Math.max(context.spareBytes / 2, asynchronous ? context.chunkCapacity * FAR_ROOM_PER_ELEMENT : 0);
    this.#context = context;
    this.#width = Math.max(1, Math.min(most, Math.floor(room / bytes)));
    this.address = context.buffer(name, this.#width * bytes);
  }

  /** `make` leaves the numbers of one thing in the rows at `into`. */
  async of<Thing>(
    things: readonly Thing[],
    rows: number,
    make: (thing: Thing, into: Address) => Promise<void>,
  ): Promise<Float64Array[]> {
    const made: Float64Array[] = [];
    for (let first = 0; first < things.length; first += this.#width) {
      const group = things.slice(first, first + this.#width);
      for (const [slot, thing] of group.entries()) await make(thing, this.address + slot * rows * 8);
      const numbers = float64Copy(await this.#context.arena.download(this.address, group.length * rows * 8));
      for (const slot of group.keys()) made.push(numbers.subarray(slot * rows, (slot + 1) * rows));
    }
    return made;
  }
}
