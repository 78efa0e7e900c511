import { dtypeBytes } from "../../checkpoint/index.ts";
import type { Address, Arena } from "../../merge/engines/index.ts";
import type { ManyRead } from "../../merge/methods/index.ts";
import type { TensorSource } from "../../merge/work/index.ts";

interface Kept {
  readonly address: Address;
  readonly elementBytes: number;
  /** So many elements of the range, from its first on, are there. */
  elements: number;
}

/** Where elements are, or will be once so many elements from `first` on are read to `into`. */
export interface KeptPlace {
  readonly address: Address;
  readonly missing: { readonly first: number; readonly count: number; readonly into: Address } | undefined;
}

/** Read at once of a source, so that calls and promises are few: what follows will be wanted soon. */
const READ_BYTES = 512 * 1024;

/**
 * Room in the arena for the inputs of a range, each of which is read once: what a round has read, later ones find. Sources fill from the
 * front, as ranges are passed over.
 */
export class KeptInputs {
  readonly #firstElement: number;
  readonly #elementCount: number;
  readonly #strideBytes: number;
  readonly #sources = new Map<TensorSource, Kept>();

  constructor(
    arena: Pick<Arena, "allocate">,
    sources: readonly TensorSource[],
    range: { readonly firstElement: number; readonly elementCount: number },
  ) {
    this.#firstElement = range.firstElement;
    this.#elementCount = range.elementCount;
    this.#strideBytes = strideOf(Math.max(...sources.map(({ dtype }) => range.elementCount * dtypeBytes[dtype])));
    const room = arena.allocate(sources.length * this.#strideBytes);
    for (const [k, source] of sources.entries()) {
      const elementBytes = dtypeBytes[source.dtype];
      this.#sources.set(source, { address: room + k * this.#strideBytes, elementBytes, elements: 0 });
    }
  }

  /** Undefined: they do not follow on what is there, and are read elsewhere. */
  placeOf(source: TensorSource, firstElement: number, elementCount: number): KeptPlace | undefined {
    const kept = this.#sources.get(source);
    const first = firstElement - this.#firstElement;
    if (kept === undefined || first < 0 || first > kept.elements) return undefined;
    const { address, elementBytes, elements } = kept;
    const missing = first + elementCount - elements;
    const count = Math.min(this.#elementCount - elements, Math.max(missing, Math.floor(READ_BYTES / elementBytes)));
    return {
      address: address + first * elementBytes,
      missing:
        missing <= 0
          ? undefined
          : { first: this.#firstElement + elements, count, into: address + elements * elementBytes },
    };
  }

  /** What was missing of a source has been read. */
  wasRead(source: TensorSource, { first, count }: { readonly first: number; readonly count: number }): void {
    const kept = this.#sources.get(source);
    if (kept !== undefined) kept.elements = first - this.#firstElement + count;
  }

  /** Neighbouring sources whose elements are there. */
  manyOf(first: TensorSource, firstElement: number): ManyRead {
    const { address } = this.placeOf(first, firstElement, 0) ?? {};
    if (address === undefined) throw new Error(`nothing is kept of ${first.tensor}`);
    return { address, strideBytes: this.#strideBytes };
  }
}

const PAGE_BYTES = 4096;
/** As the buffers of an arena: those that are used together do not lie at power-of-two distances. */
const STAGGER_BYTES = 1216;

/** How far apart so many bytes of each source lie. */
export function strideOf(sizeBytes: number): number {
  return Math.ceil(sizeBytes / PAGE_BYTES) * PAGE_BYTES + STAGGER_BYTES;
}
