import { createHash } from "node:crypto";
import type { FloatDtype } from "../../checkpoint/index.ts";
import type { Arena, Device } from "./device.ts";
import { put } from "./device.ts";
import { EngineError } from "./errors.ts";
import type { Address, Kernels, SumKind } from "./kernels.ts";

/**
 * A device is given work only if its kernels leave the bits that those of `reference` leave, for a few inputs of each that tell apart what
 * processors, drivers and compilers do differently: sums that are fused or taken in another order, subnormals that become zero, ties that
 * round another way, NaN and infinity, equals that are ranked in another order.
 */

type Typed = Uint8Array | Uint16Array | Uint32Array | Float32Array | Float64Array;
type Places = Readonly<Record<string, Address>>;

interface Case {
  readonly kernel: keyof Kernels;
  readonly buffers: Readonly<Record<string, Typed>>;
  readonly call: (kernels: Kernels, at: Places, scratch: Address) => void;
  /** Elements of a row for which scratch is asked for. */
  readonly ranked?: number;
  /** A buffer whose order is left open. */
  readonly unordered?: string;
}

const DTYPES: readonly FloatDtype[] = ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"];
const ARENA_BYTES = 1024 * 1024;
/** Turns of wide loops, and a tail. */
const N = 263;

/** SHA-256 of all bits that `reference` leaves; so it need not be run each time. A test says what it is when a kernel or a case changes. */
const RIGHT = "b5765db0d2a689e5fb153ff711df9d4ed9c5ce1215962785aab8ad45b32296ca";

/**
 * `openReference`: called where a device does not pass, to tell what is wrong.
 * @throws EngineError `engine/other-bits` with the kernel and the place of the first difference
 */
export async function checkBits(device: Device, openReference: () => Promise<Device>): Promise<void> {
  if ((await digestOfBits(device)) !== RIGHT) await compare(device, await openReference());
}

/** Of all bits that its kernels leave. */
export async function digestOfBits(device: Device): Promise<string> {
  const arena = device.open(ARENA_BYTES);
  const hash = createHash("sha256");
  for (const each of cases()) for (const bits of Object.values(await after(arena, each))) hash.update(bits);
  return hash.digest("hex");
}

/** Says where the first difference is. */
async function compare(device: Device, reference: Device): Promise<never> {
  const [own, right] = [device.open(ARENA_BYTES), reference.open(ARENA_BYTES)];
  for (const each of cases()) {
    const [found, expected] = await Promise.all([after(own, each), after(right, each)]);
    for (const [name, bits] of Object.entries(expected)) {
      const place = bits.findIndex((value, k) => value !== found[name]?.[k]);
      if (place < 0) continue;
      const [wrong, word] = [found[name]?.[place], bits[place]].map(hex);
      throw otherBits(
        device,
        `its kernel ${each.kernel} leaves ${wrong} in word ${place} of ${name} where ${word} is right`,
      );
    }
  }
  throw otherBits(device, "not the same ones when the same kernels are called again");
}

function otherBits({ name }: Device, what: string): EngineError {
  return new EngineError("engine/other-bits", `The engine ${name} computes other bits than it must: ${what}.`, {
    hint: "Do not use it on this machine: a driver or a compiler may be at fault. --engine wasm is right everywhere.",
  });
}

/** The kernels that are looked at. */
export function testedKernels(): ReadonlySet<keyof Kernels> {
  return new Set(cases().map(({ kernel }) => kernel));
}

/** The bits of all buffers after the call; every NaN counts as the same. */
async function after(
  arena: Arena,
  { buffers, call, ranked, unordered }: Case,
): Promise<Record<string, ReturnType<typeof bitsOf>>> {
  const scope = arena.scope();
  const scratch = arena.allocate(ranked === undefined ? 0 : arena.rankScratchBytes(ranked));
  const at = Object.fromEntries(
    Object.entries(buffers).map(([name, content]) => [name, arena.allocate(content.byteLength)]),
  );
  for (const [name, content] of Object.entries(buffers)) put(arena, at[name] ?? 0, content);
  call(arena.kernels, at, scratch);
  const downloads = Object.entries(buffers).map(async ([name, content]) => {
    const bytes = (await arena.download(at[name] ?? 0, content.byteLength)).slice();
    const bits = bitsOf(content, bytes.buffer);
    return [name, name === unordered ? bits.sort() : bits] as const;
  });
  const found = Object.fromEntries(await Promise.all(downloads));
  scope.end();
  return found;
}

/** Words of 32, 16 or 8 bits; of f64 pairs of words. */
function bitsOf(like: Typed, bytes: ArrayBuffer): Uint32Array | Uint16Array | Uint8Array {
  if (like instanceof Float64Array) {
    const values = new Float64Array(bytes);
    for (let k = 0; k < values.length; k++) if (Number.isNaN(values[k])) values[k] = Number.NaN;
    return new Uint32Array(bytes);
  }
  if (like instanceof Float32Array) {
    const words = new Uint32Array(bytes);
    for (let k = 0; k < words.length; k++) if (((words[k] ?? 0) & 0x7fffffff) > 0x7f800000) words[k] = 0x7fc00000;
    return words;
  }
  if (like instanceof Uint32Array) return new Uint32Array(bytes);
  return like instanceof Uint16Array ? new Uint16Array(bytes) : new Uint8Array(bytes);
}

function hex(bits: number | undefined): string {
  return `0x${(bits ?? 0).toString(16)}`;
}

/** Marsaglia's xorshift. */
function randomWords(seed: number): () => number {
  let state = Math.imul(seed ^ 0x5bd1e995, 0x9e3779b1) || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

const SINGULAR = [0, -0, 2 ** -149, -(2 ** -126), 3.4028234663852886e38, 1 + 2 ** -23, -1e-30, 65520];
const NONFINITE = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

/** Ordinary values, many equals, subnormals and extremes among each other; `finite`: nothing else. */
function f32(seed: number, n = N, finite = false): Float32Array {
  const next = randomWords(seed);
  const draws = [
    () => (next() / 2 ** 32 - 0.5) * 0.1,
    () => ((next() % 17) - 8) * 2 ** -10,
    () => (next() & 0xfff) * 2 ** -149,
    () => SINGULAR[next() % SINGULAR.length] ?? 0,
  ];
  return Float32Array.from({ length: n }, (_, k) => {
    if (!finite && k % 97 === 96) return NONFINITE[next() % 3] ?? 0;
    return draws[next() % (k % 3 === 0 ? 4 : 2)]?.() ?? 0;
  });
}

/** Values of the size of weights: their sums and products neither overflow nor vanish. */
function weights(seed: number, n = N): Float32Array {
  const next = randomWords(seed);
  return Float32Array.from({ length: n }, () => (next() / 2 ** 32 - 0.5) * 0.1);
}

/** Codes of any kind, NaN and infinity included. */
function stored(seed: number, dtype: FloatDtype, n = N): Typed {
  const next = randomWords(seed);
  if (dtype === "F64") return Float64Array.from(f32(seed, n), (value, k) => value * (1 + (k % 5) * 2 ** -26));
  if (dtype === "F32") return f32(seed, n);
  if (dtype === "F16" || dtype === "BF16") return Uint16Array.from({ length: n }, next);
  return Uint8Array.from({ length: n }, next);
}

function bits(seed: number, n = N): Uint8Array {
  const next = randomWords(seed);
  return Uint8Array.from(
    { length: Math.ceil(n / 8) },
    (_, k) => next() & (8 * k + 8 > n ? 0xff >> (8 * k + 8 - n) : 0xff),
  );
}

const zeros = (n = N) => new Float32Array(n);
const lanes = (blocks: number, from = 0) => new Float64Array(8 * blocks).fill(from);
const stream = { seedLow: 5, seedHigh: 6, model: 2, nameLow: 0xdeadbeef, nameHigh: 0x12345678 };
/** Three blocks of which the last is short. */
const BLOCK = 104;
const BLOCKS = 3;
const ROW = 37;
const ROWS = 7;
const CELLS = ROW * ROWS;
const COLUMNS = 19;

/** Magnitudes that many values have. */
const lo = 0x3a800000;
const hi = 0x3c000000;

/** For combineBands: of two ends, of one, of all that there is. */
function bands(): Uint32Array {
  const factors = (c: number, w: number) => new Uint32Array(Float32Array.of(c, w).buffer);
  return Uint32Array.of(
    ...[lo, 3, 9, hi, 2, 0xffffffff, ...factors(-0.3, 0.2)],
    ...[lo, 0, 5, lo, 0, 0, ...factors(0.7, 0.1)],
    ...[0, 0, 0xffffffff, 0xffffffff, 0, 0xffffffff, ...factors(1 / 3, -0.4)],
  );
}

function cases(): readonly Case[] {
  const made: Case[] = [];
  const add = (kernel: keyof Kernels, buffers: Case["buffers"], call: Case["call"], more: Partial<Case> = {}) =>
    made.push({ kernel, buffers, call, ...more });
  const p = (at: Places, name: string): Address => at[name] ?? 0;
  for (const [k, dtype] of DTYPES.entries()) {
    const x = stored(k + 1, dtype);
    const [base, acc] = [f32(20 + k), f32(40 + k)];
    add("widen", { dst: zeros(), x }, (to, at) => to.widen(p(at, "dst"), p(at, "x"), dtype, N));
    add("narrow", { dst: stored(9, dtype), x: base }, (to, at) => to.narrow(p(at, "dst"), p(at, "x"), dtype, N));
    add("noteNonFinite", { note: Uint32Array.of(0xffffffff, 0, 0), x }, (to, at) =>
      to.noteNonFinite(p(at, "note"), 3, p(at, "x"), dtype, 0, N),
    );
    add("delta", { d: zeros(), x, base }, (to, at) => to.delta(p(at, "d"), p(at, "x"), dtype, p(at, "base"), N));
    for (const first of [false, true]) {
      add("accumulate", { acc, x }, (to, at) => to.accumulate(p(at, "acc"), p(at, "x"), dtype, 1 / 3, first, N));
      add("accumulateRows", { acc, x, c: weights(7, ROWS) }, (to, at) =>
        to.accumulateRows(p(at, "acc"), p(at, "x"), dtype, p(at, "c"), first, ROWS, ROW),
      );
      add("accumulateDelta", { acc, x, base }, (to, at) =>
        to.accumulateDelta(p(at, "acc"), p(at, "x"), dtype, p(at, "base"), -1.7, first, N),
      );
    }
    add("deltaSquares", { lanes: lanes(BLOCKS), x, base: weights(8), mask: bits(3) }, (to, at) =>
      to.deltaSquares(p(at, "lanes"), p(at, "x"), dtype, p(at, "base"), p(at, "mask"), BLOCK, N),
    );
    // Accumulators begin as zeros: no -0 is in them.
    const sides = { p: weights(1), q: weights(2), tp: weights(3), tq: weights(4), wp: weights(5), wq: weights(6) };
    add("electWeighed", { ...sides, x, base, mask: bits(4) }, (to, at) => {
      const [plus, minus, termsPlus, termsMinus] = [p(at, "p"), p(at, "q"), p(at, "tp"), p(at, "tq")];
      const own = [p(at, "wp"), p(at, "wq"), p(at, "x"), dtype, p(at, "base"), p(at, "mask"), 0.3, N] as const;
      to.electWeighed(plus, minus, termsPlus, termsMinus, ...own);
    });
    add("bracketDelta", { counts: new Uint32Array(5), collected: new Uint32Array(N), x, base }, (to, at) =>
      to.bracketDelta(p(at, "counts"), p(at, "collected"), N, p(at, "x"), dtype, p(at, "base"), lo, hi, N),
    );
    const many = stored(k + 1, dtype, 3 * N);
    const stride = N * many.BYTES_PER_ELEMENT;
    const [from, masks] = [f32(60 + k, N, true), Uint8Array.of(...bits(1), ...bits(2), ...bits(3))];
    for (const kind of ["plain", "signed", "weighed"]) {
      const sums = { p: weights(1), q: weights(2), wp: weights(3), wq: weights(4) };
      const into = (at: Places) => {
        const isWeighed = kind === "weighed";
        const [q, wp, wq] = [p(at, "q"), p(at, "wp"), p(at, "wq")];
        return [p(at, "p"), kind === "plain" ? 0 : q, isWeighed ? wp : 0, isWeighed ? wq : 0] as const;
      };
      const ties = Uint32Array.of(1, 2, 0, 0, 3, 0);
      add("combineBands", { ...sums, many, from, bands: bands(), ties }, (to, at) => {
        const of = [p(at, "many"), stride, dtype, p(at, "from")] as const;
        to.combineBands(...into(at), ...of, p(at, "bands"), p(at, "ties"), 3, N);
      });
      add("combineMasked", { ...sums, many, from, masks, factors: weights(5, 6) }, (to, at) => {
        const of = [p(at, "many"), stride, dtype, p(at, "from")] as const;
        to.combineMasked(...into(at), ...of, p(at, "masks"), masks.length / 3, p(at, "factors"), 3, N);
      });
    }
    add("agree", { votes: zeros(), x, base, total: weights(2) }, (to, at) =>
      to.agree(p(at, "votes"), p(at, "x"), dtype, p(at, "base"), p(at, "total"), 0.4, N),
    );
    add("addToVariance", { mean: weights(1), spread: weights(2), x, base }, (to, at) =>
      to.addToVariance(p(at, "mean"), p(at, "spread"), p(at, "x"), dtype, p(at, "base"), 3, N),
    );
    add("scaleBlocks", { out: zeros(CELLS), x: stored(k + 1, dtype, CELLS), numbers: weights(5, 40) }, (to, at) =>
      to.scaleBlocks(p(at, "out"), p(at, "x"), dtype, p(at, "numbers"), 1, 5, ROW, 4, 32, CELLS - ROW),
    );
  }
  const two = { a: f32(1), b: f32(2) };
  add("finishDelta", { out: zeros(), ...two }, (to, at) =>
    to.finishDelta(p(at, "out"), p(at, "a"), p(at, "b"), 3, 0.7, N),
  );
  add(
    "addLowRank",
    { x: weights(1, CELLS), l: Float64Array.from(weights(2, ROWS * 5)), r: Float64Array.from(weights(3, ROW * 5)) },
    (to, at) => to.addLowRank(p(at, "x"), p(at, "l"), p(at, "r"), 1 / 3, 5, ROW, 7, CELLS - 7),
  );
  add("nearSwap", { out: zeros(), ...two }, (to, at) => to.nearSwap(p(at, "out"), p(at, "a"), p(at, "b"), 0.001, N));
  add("dotColumns", { sums: new Float64Array(COLUMNS * BLOCKS), a: weights(1), b: weights(2) }, (to, at) =>
    to.dotColumns(p(at, "sums"), p(at, "a"), p(at, "b"), 5, COLUMNS, BLOCK, N),
  );
  add("accumulateColumns", { acc: f32(3), x: f32(4), c: weights(5, COLUMNS) }, (to, at) =>
    to.accumulateColumns(p(at, "acc"), p(at, "x"), p(at, "c"), false, 5, COLUMNS, N),
  );
  add("divideBlocks", { out: zeros(CELLS), x: f32(3, CELLS), numbers: weights(5, 40) }, (to, at) =>
    to.divideBlocks(p(at, "out"), p(at, "x"), p(at, "numbers"), 448, 1, 5, ROW, 4, 32, CELLS - ROW),
  );
  add("blockMaxima", { numbers: new Float32Array(40), x: f32(3, CELLS) }, (to, at) =>
    to.blockMaxima(p(at, "numbers"), p(at, "x"), 1, 5, ROW, 4, 32, CELLS - ROW),
  );
  add("normRows", { x: weights(3, CELLS), m: weights(4, ROWS) }, (to, at) =>
    to.normRows(p(at, "x"), p(at, "m"), ROWS, ROW),
  );
  const [a, b, c, d] = [weights(1), weights(2), weights(3), weights(4)];
  add("dot", { lanes: lanes(BLOCKS, 0.1), a, b }, (to, at) => to.dot(p(at, "lanes"), p(at, "a"), p(at, "b"), BLOCK, N));
  const four = { l0: lanes(BLOCKS), l1: lanes(BLOCKS), l2: lanes(BLOCKS), l3: lanes(BLOCKS) };
  add("dotFour", { ...four, a, b, c, d, x: weights(5) }, (to, at) => {
    const own = [p(at, "l0"), p(at, "l1"), p(at, "l2"), p(at, "l3")] as const;
    to.dotFour(...own, p(at, "a"), p(at, "b"), p(at, "c"), p(at, "d"), p(at, "x"), BLOCK, N);
  });
  add("dotRows", { sums: new Float64Array(ROWS), a, b }, (to, at) =>
    to.dotRows(p(at, "sums"), p(at, "a"), p(at, "b"), ROWS, ROW),
  );
  const filled = { sums: new Float64Array(BLOCKS), lanes: Float64Array.from(weights(6, 8 * BLOCKS), Math.abs) };
  add("foldLanes", filled, (to, at) => to.foldLanes(p(at, "sums"), p(at, "lanes"), BLOCKS));
  add("foldMaxima", filled, (to, at) => to.foldMaxima(p(at, "sums"), p(at, "lanes"), BLOCKS));
  const wide = Float64Array.from(a, (value) => value / 3);
  add("accumulateF64", { acc: wide, d: b }, (to, at) => to.accumulateF64(p(at, "acc"), p(at, "d"), 1 / 7, N));
  add("accumulateRowsF64", { acc: wide, d: b, c: Float64Array.from(weights(9, ROWS)) }, (to, at) =>
    to.accumulateRowsF64(p(at, "acc"), p(at, "d"), p(at, "c"), ROWS, ROW),
  );
  add("squaresF64", { lanes: lanes(BLOCKS), a: wide }, (to, at) => to.squaresF64(p(at, "lanes"), p(at, "a"), BLOCK, N));
  add("squaresRowsF64", { sums: new Float64Array(ROWS), a: wide }, (to, at) =>
    to.squaresRowsF64(p(at, "sums"), p(at, "a"), ROWS, ROW),
  );
  for (const kind of ["l1", "l2", "linf"] satisfies SumKind[]) {
    add("magnitudes", { all: lanes(BLOCKS), kept: lanes(BLOCKS), d: f32(7), mask: bits(8) }, (to, at) =>
      to.magnitudes(p(at, "all"), p(at, "kept"), p(at, "d"), p(at, "mask"), kind, BLOCK, N),
    );
  }
  add("bracket", { counts: new Uint32Array(5), collected: new Uint32Array(N), d: f32(9) }, (to, at) =>
    to.bracket(p(at, "counts"), p(at, "collected"), N, p(at, "d"), lo, hi, N),
  );
  add("histogram", { bins: new Uint32Array(66), d: f32(9) }, (to, at) =>
    to.histogram(p(at, "bins"), p(at, "d"), 0x30000000, 23, 64, N),
  );
  const magnitudes = new Uint32Array(f32(9, N, true).buffer).map((word) => word & 0x7fffffff);
  add(
    "select",
    { result: new Uint32Array(3), values: magnitudes },
    (to, at) => to.select(p(at, "result"), p(at, "values"), 131, N),
    {
      unordered: "values",
    },
  );
  add("maskBand", { mask: bits(1), ties: Uint32Array.of(1, 2), d: f32(9) }, (to, at) =>
    to.maskBand(p(at, "mask"), p(at, "ties"), p(at, "d"), lo, 3, 9, hi, 2, 0xffffffff, N),
  );
  add("maskRandom", { mask: bits(1) }, (to, at) => to.maskRandom(p(at, "mask"), stream, 2 ** 33 + 8, 0x80000000, N));
  const thresholds = Uint32Array.from({ length: ROW }, (_, k) => k * 110_000_000);
  add(
    "maskRanked",
    { mask: bits(1, CELLS), d: f32(9, CELLS), thresholds },
    (to, at, scratch) =>
      to.maskRanked(p(at, "mask"), p(at, "d"), p(at, "thresholds"), scratch, stream, 3 * ROW, ROWS, ROW),
    { ranked: ROW },
  );
  add(
    "scaleByRank",
    { out: zeros(CELLS), d: f32(9, CELLS), table: weights(2, ROW) },
    (to, at, scratch) => to.scaleByRank(p(at, "out"), p(at, "d"), p(at, "table"), scratch, ROWS, ROW),
    { ranked: ROW },
  );
  const election = { p: weights(1), q: weights(2), wp: weights(3), wq: weights(4) };
  add("accumulateMasked", { acc: weights(1), d: f32(2), mask: bits(3) }, (to, at) =>
    to.accumulateMasked(p(at, "acc"), p(at, "d"), p(at, "mask"), 0.3, N),
  );
  add("elect", { ...election, d: f32(6), mask: bits(3) }, (to, at) =>
    to.elect(p(at, "p"), p(at, "q"), p(at, "wp"), p(at, "wq"), p(at, "d"), p(at, "mask"), -0.3, 0.2, N),
  );
  add("finishElection", { out: zeros(), base: f32(7), ...election }, (to, at) =>
    to.finishElection(p(at, "out"), p(at, "base"), p(at, "p"), p(at, "q"), p(at, "wp"), p(at, "wq"), 0.9, N),
  );
  add("finishWeighed", { out: zeros(), base: f32(7), ...election, tp: weights(8), tq: weights(9) }, (to, at) => {
    const sides = [p(at, "p"), p(at, "q"), p(at, "tp"), p(at, "tq"), p(at, "wp"), p(at, "wq")] as const;
    to.finishWeighed(p(at, "out"), p(at, "base"), ...sides, 1e-6, N);
  });
  add("keepLargest", { best: weights(1), d: f32(2) }, (to, at) => to.keepLargest(p(at, "best"), p(at, "d"), 0.7, N));
  const votes = Float32Array.from({ length: N }, (_, k) => k % 4);
  add("finishAgreement", { out: zeros(), base: f32(1), total: f32(2), votes }, (to, at) =>
    to.finishAgreement(p(at, "out"), p(at, "base"), p(at, "total"), p(at, "votes"), 2, 0.3, N),
  );
  add("accumulateChanged", { sum: weights(1), count: votes, label: zeros(), d: f32(2) }, (to, at) =>
    to.accumulateChanged(p(at, "sum"), p(at, "count"), p(at, "label"), p(at, "d"), 1e-5, 2, N),
  );
  add("countChanged", { tally: Uint32Array.of(7), d: f32(2) }, (to, at) =>
    to.countChanged(p(at, "tally"), p(at, "d"), 1e-5, N),
  );
  add("countUnique", { tallies: new Uint32Array(4), count: votes, label: votes }, (to, at) =>
    to.countUnique(p(at, "tallies"), p(at, "count"), p(at, "label"), N),
  );
  add("finishChanged", { out: zeros(), base: f32(1), sum: f32(2), count: votes, factor: f32(3) }, (to, at) =>
    to.finishChanged(p(at, "out"), p(at, "base"), p(at, "sum"), p(at, "count"), p(at, "factor"), N),
  );
  add("divergenceRows", { out: zeros(ROWS), a, b, scratch: new Float64Array(2 * ROW) }, (to, at) => {
    to.divergenceRows(p(at, "out"), p(at, "a"), p(at, "b"), p(at, "scratch"), ROWS, ROW);
    to.zero(p(at, "scratch"), 16 * ROW); // what is left in it is nobody's business
  });
  add("importance", { out: zeros(), d: f32(1), factors: f32(2, ROWS + 2) }, (to, at) =>
    to.importance(p(at, "out"), p(at, "d"), p(at, "factors"), 5, ROW, N),
  );
  add("addAtLeast", { out: zeros(), base: f32(1), d: f32(2), rank: f32(3) }, (to, at) =>
    to.addAtLeast(p(at, "out"), p(at, "base"), p(at, "d"), p(at, "rank"), 2 ** -9, N),
  );
  add("zero", { x: f32(1) }, (to, at) => to.zero(p(at, "x"), 101));
  add("copy", { dst: f32(1), x: f32(2) }, (to, at) => to.copy(p(at, "dst"), p(at, "x"), 101));
  return made;
}
