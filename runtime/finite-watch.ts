import { type Dtype, type FloatDtype, isFloatDtype } from "../checkpoint/index.ts";
import { type Address, type Arena, put } from "../merge/engines/index.ts";
import { MergeError } from "../merge/work/index.ts";

const NOTHING = 0xffffffff;
const NOTE_BYTES = 12;
/** After so many looks the note should be looked at: what is known of each is kept on the host, and few are forgotten while young. */
const LOOKS_MAX = 2 ** 12;

const atInputs = "Check that model, or let such values through with --allow-nonfinite. Finished slices are kept.";
const atResults =
  "Use a dtype with a larger range (out_dtype: bfloat16 or float32), lower the weights, or let such values through with --allow-nonfinite. Finished slices are kept.";
const atMade =
  "Check the models: no trained weights are so large. --allow-nonfinite lets such values through. Finished slices are kept.";

/** The largest number that a format holds, for messages. */
const LARGEST: Readonly<Record<FloatDtype, string>> = {
  F64: "3.4e38, as for float32, in which it is computed",
  F32: "3.4e38",
  F16: "65504",
  BF16: "3.39e38",
  F8_E4M3: "448",
  F8_E5M2: "57344",
};

/** What is said of a value at an element that is infinite or NaN. */
type Say = (value: number, element: number) => MergeError;

interface Look {
  readonly say: Say;
  readonly firstElement: number;
}

/**
 * Sees to it that values are finite, without waiting: each look leaves a note on the device if it is the first that finds one, and the note
 * is fetched with whatever is asked for next (`watched`), at the latest by `check`. So what has been seen is known a little later than
 * it was computed; no result may be vouched for before `check`.
 */
export class FiniteWatch {
  readonly #arena: Arena;
  readonly #note: Address;
  #looks: Look[] = [];
  /** Of the looks, how many the note was asked for after, and when that has come. */
  #seen = 0;
  #fetched: Promise<void> = Promise.resolve();
  #found: MergeError | undefined;

  /** Keeps a few bytes of the arena, in the scope in which it is made. */
  constructor(arena: Arena) {
    this.#arena = arena;
    this.#note = arena.allocate(NOTE_BYTES);
    this.#forget();
  }

  /** Whether `check` is due, lest the host's memory fill up. */
  get isFull(): boolean {
    return this.#looks.length >= LOOKS_MAX;
  }

  #forget(): void {
    this.#looks = [];
    this.#seen = 0;
    this.#fetched = Promise.resolve();
    this.#found = undefined;
    put(this.#arena, this.#note, Uint32Array.of(NOTHING, 0, 0));
  }

  /** Values that were read. `first`: number of the first of them in the tensor. F64 is judged as what is computed with. */
  read(
    { dtype, tensor }: { readonly dtype: Dtype; readonly tensor: string },
    label: string,
    first: number,
    count: number,
    raw: Address,
  ): void {
    if (isFloatDtype(dtype))
      this.#look((value, element) => readError(label, tensor, value, element), first, raw, dtype, 0, count);
  }

  /**
   * Results once they are rounded: inputs are finite, and what is computed of them, or its rounding, may not be. `values`: f32 before
   * rounding, or the same as `rounded`, what will be written. `first`: number of the first of them in the tensor.
   */
  inRange(
    { dtype, name }: { readonly dtype: FloatDtype; readonly name: string },
    first: number,
    count: number,
    values: Address,
    rounded: Address,
  ): void {
    const say: Say = (value, element) => {
      const at = `the output's ${name} would hold ${Number.isFinite(value) ? value : nameOf(value)} at element ${element}`;
      const message = Number.isFinite(value)
        ? `${at}, which is beyond what ${dtype} can hold (${LARGEST[dtype]})`
        : `${at}: what is computed there is beyond float32 (${LARGEST.F32}), or not defined`;
      return new MergeError("merge/nonfinite", message, { hint: atResults });
    };
    this.#look(say, first, rounded, dtype, values === rounded ? 0 : values, count);
  }

  /** f32 values that were made of finite inputs on the way to a result that they decide about. `what`: for the message. */
  made(what: string, first: number, count: number, values: Address): void {
    const say: Say = (_, element) => {
      const message = `${what} is beyond float32 (${LARGEST.F32}) at element ${element}, though the models are finite`;
      return new MergeError("merge/nonfinite", message, { hint: atMade });
    };
    this.#look(say, first, values, "F32", 0, count);
  }

  /** After the last look at what is to be vouched for. @throws MergeError merge/nonfinite for the first value that was seen */
  async check(): Promise<void> {
    await this.fetch();
    const found = this.#found;
    this.#forget();
    if (found !== undefined) throw found;
  }

  /** Asks for the note; whoever asks for something else just before or after waits no longer for it. */
  fetch(): Promise<void> {
    if (this.#seen < this.#looks.length) this.#fetched = this.#fetch();
    return this.#fetched;
  }

  async #fetch(): Promise<void> {
    const looks = this.#looks;
    this.#seen = looks.length;
    const bytes = await this.#arena.download(this.#note, NOTE_BYTES);
    const view = new DataView(bytes.buffer, bytes.byteOffset, NOTE_BYTES);
    const look = looks[view.getUint32(0, true)];
    if (look !== undefined)
      this.#found ??= look.say(view.getFloat32(8, true), look.firstElement + view.getUint32(4, true));
  }

  #look(say: Say, firstElement: number, src: Address, dtype: FloatDtype, values: Address, count: number): void {
    this.#arena.kernels.noteNonFinite(this.#note, this.#looks.length, src, dtype, values, count);
    this.#looks.push({ say, firstElement });
  }
}

/** Of values that were read on the host, as `FiniteWatch.read` of those on the device. @throws MergeError merge/nonfinite */
export function checkReadOnHost(tensor: string, label: string, first: number, values: Float32Array): void {
  const index = values.findIndex((value) => !Number.isFinite(value));
  if (index >= 0) throw readError(label, tensor, values[index] ?? Number.NaN, first + index);
}

function readError(label: string, tensor: string, value: number, element: number): MergeError {
  return new MergeError("merge/nonfinite", `${label}: ${tensor} holds ${nameOf(value)} at element ${element}`, {
    hint: atInputs,
  });
}

function nameOf(value: number): string {
  return Number.isNaN(value) ? "NaN" : value > 0 ? "infinity" : "-infinity";
}

/** The arena, but for what is asked for: the note comes with it, in the same wait. */
export function watched(arena: Arena, watch: FiniteWatch): Arena {
  return {
    device: arena.device,
    kernels: arena.kernels,
    allocate: (sizeBytes) => arena.allocate(sizeBytes),
    scope: () => arena.scope(),
    staging: (address, sizeBytes) => arena.staging(address, sizeBytes),
    rankScratchBytes: (rowLength) => arena.rankScratchBytes(rowLength),
    download: (address, sizeBytes) => {
      watch.fetch().catch(() => undefined); // what is asked for fails as well
      return arena.download(address, sizeBytes);
    },
  };
}
