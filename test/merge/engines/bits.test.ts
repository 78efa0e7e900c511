import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { type Arena, EVERYTHING, engineNames, openDevice, type SumKind } from "../../../merge/engines/index.ts";
import { randomWord, rankedThresholds } from "../../../merge/math/index.ts";
import { AsynchronousDevice } from "../../support/asynchronous-device.ts";
import {
  anyValues,
  codings,
  coefficients,
  elementCounts,
  emptyOf,
  FLOAT_DTYPES,
  f32Of,
  f64Of,
  finiteValues,
  firstElements,
  maskOf,
  masks,
  randomSource,
  rowLengths,
  shifts,
  storedOf,
  streams,
  type Values,
} from "./awkward-values.ts";
import { bitsAfter, type KernelCall } from "./kernel-call.ts";

// Every kernel of the fast engine, and those behind a queue, must leave in memory exactly what the reference engine leaves there.

let reference: Arena;
/** Those that must have its bits. */
let others: readonly Arena[];

beforeAll(async () => {
  reference = (await openDevice("reference")).open(64 << 20);
  const asynchronous = new AsynchronousDevice(await openDevice("reference"));
  const named = engineNames.filter((name) => name !== "reference");
  const devices = [...(await Promise.all(named.map((name) => openDevice(name)))), asynchronous];
  others = devices.map((device) => device.open(64 << 20));
});

const RUNS = { numRuns: 120 };
const FEWER_RUNS = { numRuns: 40 };

async function expectSameBits<Name extends string>(call: KernelCall<Name>, unordered?: Name): Promise<void> {
  const expected = await bitsAfter(reference, call);
  if (unordered !== undefined) expected[unordered].sort((a, b) => a - b);
  for (const arena of others) {
    const actual = await bitsAfter(arena, call);
    if (unordered !== undefined) actual[unordered].sort((a, b) => a - b);
    expect(actual, arena.device.name).toEqual(expected);
  }
}

/** A property over drawn inputs; each draw becomes one call. */
function sameBits<T>(
  drawn: { [K in keyof T]: fc.Arbitrary<T[K]> },
  callOf: (inputs: T) => KernelCall,
  options: { numRuns: number; unordered?: string } = RUNS,
): Promise<void> {
  const property = fc.asyncProperty(fc.record(drawn), (inputs) =>
    expectSameBits(callOf(inputs as T), options.unordered),
  );
  return fc.assert(property, { numRuns: options.numRuns });
}

/** Elements of a block, of which a call may span several; lanes of all blocks that n elements have. */
const blockLengths = fc.oneof(fc.integer({ min: 1, max: 100 }), fc.constantFrom(8, 64, 1000, 65_536));
const lanesOf = (values: Values, n: number, block: number): Float64Array => f64Of(values, 8 * Math.ceil(n / block));

const magnitude = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0]! & 0x7fffffff;

/** Two bounds of |d|: magnitudes that occur, their neighbours, or anything; often the same one twice, or no upper end. */
const bounds = fc.record({
  first: fc.nat(),
  second: fc.nat(),
  kind: fc.constantFrom("occurring", "equal", "beside", "open", "any"),
});

function boundsIn(
  d: Float32Array,
  { first, second, kind }: { first: number; second: number; kind: string },
): [number, number] {
  const at = (n: number): number => (d.length === 0 ? 5 : magnitude(d[n % d.length]!));
  let pair = [at(first), at(second)];
  if (kind === "equal") pair = [at(first), at(first)];
  if (kind === "beside") pair = [Math.max(0, at(first) - 1), at(second) + 1];
  if (kind === "open") pair = [at(first), 0xffffffff];
  if (kind === "any") pair = [first, second];
  return [Math.min(...pair), Math.max(...pair)];
}

/** Sums of terms of one sign: no negative zero, as accumulators start from zero. */
const positiveOf = (values: Values, n: number): Float32Array => f32Of(values, n).map(Math.abs);

describe.each(FLOAT_DTYPES)("%s", (dtype) => {
  test("widen", () =>
    sameBits({ n: elementCounts, shift: shifts, values: anyValues }, ({ n, shift, values }) => ({
      shift,
      buffers: { dst: new Float32Array(n), src: storedOf(values, dtype, n) },
      call: (kernels, at) => kernels.widen(at.dst!, at.src!, dtype, n),
    })));

  test("narrow", () =>
    sameBits({ n: elementCounts, shift: shifts, values: anyValues }, ({ n, shift, values }) => ({
      shift,
      strictNaN: true,
      buffers: { dst: emptyOf(dtype, n), src: f32Of(values, n) },
      call: (kernels, at) => kernels.narrow(at.dst!, at.src!, dtype, n),
    })));

  test("noteNonFinite", () =>
    sameBits(
      {
        n: elementCounts,
        shift: shifts,
        values: fc.oneof(anyValues, finiteValues),
        bad: fc.nat({ max: 2000 }),
        before: fc.constantFrom(0xffffffff, 0xffffffff, 7),
        isRounded: fc.boolean(),
      },
      ({ n, shift, values, bad, before, isRounded }) => {
        const src = storedOf(values, dtype, n);
        if (bad < n) src[bad] = storedOf({ style: "nonfinite", equal: true, seed: bad }, dtype, 1)[0]!;
        return {
          shift,
          buffers: { note: Uint32Array.of(before, 1, 2), src, values: f32Of(values, n) },
          call: (kernels, at) => kernels.noteNonFinite(at.note!, 9, at.src!, dtype, isRounded ? at.values! : 0, n),
        };
      },
    ));

  test("delta", () =>
    sameBits({ n: elementCounts, shift: shifts, model: anyValues, base: anyValues }, ({ n, shift, model, base }) => ({
      shift,
      buffers: { d: new Float32Array(n), model: storedOf(model, dtype, n), base: f32Of(base, n) },
      call: (kernels, at) => kernels.delta(at.d!, at.model!, dtype, at.base!, n),
    })));

  test("accumulate", () =>
    sameBits(
      { n: elementCounts, shift: shifts, acc: anyValues, x: anyValues, c: coefficients, first: fc.boolean() },
      ({ n, shift, acc, x, c, first }) => ({
        shift,
        buffers: { acc: f32Of(acc, n), x: storedOf(x, dtype, n) },
        call: (kernels, at) => kernels.accumulate(at.acc!, at.x!, dtype, c, first, n),
      }),
    ));

  test("accumulateRows", () =>
    sameBits(
      {
        rows: fc.nat({ max: 4 }),
        rowLength: rowLengths,
        shift: shifts,
        acc: anyValues,
        x: anyValues,
        c: finiteValues,
        first: fc.boolean(),
      },
      ({ rows, rowLength, shift, acc, x, c, first }) => ({
        shift,
        buffers: { acc: f32Of(acc, rows * rowLength), x: storedOf(x, dtype, rows * rowLength), c: f32Of(c, rows) },
        call: (kernels, at) => kernels.accumulateRows(at.acc!, at.x!, dtype, at.c!, first, rows, rowLength),
      }),
      FEWER_RUNS,
    ));

  test("accumulateDelta", () =>
    sameBits(
      {
        n: elementCounts,
        shift: shifts,
        acc: anyValues,
        model: anyValues,
        base: anyValues,
        c: coefficients,
        first: fc.boolean(),
      },
      ({ n, shift, acc, model, base, c, first }) => ({
        shift,
        buffers: { acc: f32Of(acc, n), model: storedOf(model, dtype, n), base: f32Of(base, n) },
        call: (kernels, at) => kernels.accumulateDelta(at.acc!, at.model!, dtype, at.base!, c, first, n),
      }),
    ));

  test("agree", () =>
    sameBits(
      { n: elementCounts, shift: shifts, model: anyValues, base: anyValues, total: anyValues, tau: coefficients },
      ({ n, shift, model, base, total, tau }) => ({
        shift,
        buffers: {
          votes: Float32Array.from({ length: n }, (_, k) => k % 4),
          model: storedOf(model, dtype, n),
          base: f32Of(base, n),
          total: f32Of(total, n),
        },
        call: (kernels, at) => kernels.agree(at.votes!, at.model!, dtype, at.base!, at.total!, tau, n),
      }),
    ));

  test("deltaSquares", () =>
    sameBits(
      {
        n: elementCounts,
        block: blockLengths,
        shift: shifts,
        model: anyValues,
        base: anyValues,
        mask: masks,
        start: finiteValues,
      },
      ({ n, block, shift, model, base, mask, start }) => ({
        shift,
        buffers: {
          // Sums of squares: no negative zero.
          lanes: lanesOf(start, n, block).map(Math.abs),
          model: storedOf(model, dtype, n),
          base: f32Of(base, n),
          mask: maskOf(mask, n),
        },
        call: (kernels, at) =>
          kernels.deltaSquares(at.lanes!, at.model!, dtype, at.base!, maskAt(mask, at.mask!), block, n),
      }),
    ));

  test("electWeighed", () =>
    sameBits(
      {
        n: elementCounts,
        shift: shifts,
        model: anyValues,
        base: anyValues,
        sums: anyValues,
        mask: masks,
        w: coefficients,
      },
      ({ n, shift, model, base, sums, mask, w }) => ({
        shift,
        buffers: {
          // Sums that began as zeros: no negative zero.
          positive: f32Of(sums, n).map(Math.abs),
          negative: f32Of(sums, n).map((value) => 0 - Math.abs(value)),
          positiveTerms: f32Of(sums, n).map((value) => value + 0),
          negativeTerms: f32Of(sums, n).map((value) => 2 * value + 0),
          positiveWeight: f32Of(sums, n).map((value) => Math.fround(0.5 * value) + 0),
          negativeWeight: f32Of(sums, n).map((value) => 3 * value + 0),
          model: storedOf(model, dtype, n),
          base: f32Of(base, n),
          mask: maskOf(mask, n),
        },
        call: (kernels, at) =>
          kernels.electWeighed(
            at.positive!,
            at.negative!,
            at.positiveTerms!,
            at.negativeTerms!,
            at.positiveWeight!,
            at.negativeWeight!,
            at.model!,
            dtype,
            at.base!,
            maskAt(mask, at.mask!),
            w,
            n,
          ),
      }),
    ));

  test("bracketDelta", () =>
    sameBits(
      {
        n: elementCounts,
        shift: shifts,
        model: finiteValues,
        base: finiteValues,
        bounds,
        capacity: elementCounts,
        before: fc.nat({ max: 40 }),
        isOfZeros: fc.boolean(),
      },
      ({ n, shift, model, base, bounds, capacity, before, isOfZeros }) => {
        const [stored, of] = [storedOf(model, dtype, n), f32Of(base, n)];
        // Where the base is nothing, bounds are values that there are.
        if (isOfZeros) of.fill(0);
        const [lo, hi] = boundsIn(f32Of(model, n), bounds);
        return {
          shift,
          buffers: {
            counts: Uint32Array.of(3, 1, before, 4, 1),
            collected: new Uint32Array(capacity).fill(9),
            model: stored,
            base: of,
          },
          call: (kernels, at) =>
            kernels.bracketDelta(at.counts!, at.collected!, capacity, at.model!, dtype, at.base!, lo, hi, n),
        };
      },
    ));

  describe.each(["plain", "signed", "weighed"])("combine, %s", (kind) => {
    const drawn = {
      n: fc.oneof(elementCounts, fc.constantFrom(2048, 3001)),
      shift: shifts,
      models: fc.integer({ min: 1, max: 16 }),
      apart: fc.nat({ max: 9 }),
      sums: finiteValues,
      x: finiteValues,
      base: finiteValues,
      isOfZeros: fc.boolean(),
      seed: fc.nat(),
    };
    type Drawn = { [K in keyof typeof drawn]: (typeof drawn)[K] extends fc.Arbitrary<infer T> ? T : never };
    const buffersOf = ({ n, models, apart, sums, x, base, isOfZeros }: Drawn) => ({
      positive: positiveOf(sums, n),
      negative: positiveOf(sums, n).map((value) => 0 - value),
      positiveWeight: positiveOf(x, n),
      negativeWeight: positiveOf(base, n),
      x: storedOf(x, dtype, models * (n + apart)),
      base: isOfZeros ? new Float32Array(n) : f32Of(base, n),
    });
    const intoOf = (at: Readonly<Record<string, number>>) => {
      const weights = kind === "weighed" ? [at.positiveWeight!, at.negativeWeight!] : [0, 0];
      return [at.positive!, kind === "plain" ? 0 : at.negative!, ...weights] as [number, number, number, number];
    };
    const factor = (next: () => number) => Math.fround((next() / 2 ** 32 - 0.5) * 4);

    test("combineBands", () =>
      sameBits(
        drawn,
        (inputs) => {
          const { n, shift, models, apart, x, seed } = inputs;
          const next = randomSource(seed);
          const values = f32Of(x, models * (n + apart) + 1);
          const someBits = () => magnitude(values[next() % values.length]!);
          const someEnd = () => [0, next() % 4, next() % 60, next() % 700, 0xffffffff][next() % 5]!;
          const bands = Array.from({ length: models }, () => {
            const [a, b] = [someBits(), someBits()];
            const [lo, hi] = [Math.min(a, b), next() % 3 === 0 ? 0xffffffff : Math.max(a, b)];
            const factors = new Uint32Array(Float32Array.of(factor(next), factor(next)).buffer);
            return [next() % 7 === 0 ? 0 : lo, someEnd(), someEnd(), hi, someEnd(), someEnd(), ...factors];
          });
          const buffers = {
            ...buffersOf(inputs),
            bands: Uint32Array.from(bands.flat()),
            ties: Uint32Array.from({ length: 2 * models }, () => (next() % 2 === 0 ? 0 : next() % 40)),
          };
          const stride = (n + apart) * buffers.x.BYTES_PER_ELEMENT;
          return {
            shift,
            buffers,
            call: (kernels, at) =>
              kernels.combineBands(
                ...intoOf(at),
                ...([at.x!, stride, dtype, at.base!, at.bands!, at.ties!, models, n] as const),
              ),
          };
        },
        { numRuns: 60 },
      ));

    test("combineMasked", () =>
      sameBits(
        drawn,
        (inputs) => {
          const { n, shift, models, apart, seed } = inputs;
          const next = randomSource(seed);
          const maskStride = Math.ceil(n / 8) + (apart % 3);
          const buffers = {
            ...buffersOf(inputs),
            masks: Uint8Array.from({ length: models * maskStride }, next),
            factors: Float32Array.from({ length: 2 * models }, () => factor(next)),
          };
          const stride = (n + apart) * buffers.x.BYTES_PER_ELEMENT;
          return {
            shift,
            buffers,
            call: (kernels, at) =>
              kernels.combineMasked(
                ...intoOf(at),
                ...([at.x!, stride, dtype, at.base!, at.masks!, maskStride, at.factors!, models, n] as const),
              ),
          };
        },
        { numRuns: 40 },
      ));
  });

  test("addToVariance", () =>
    sameBits(
      {
        n: elementCounts,
        shift: shifts,
        model: anyValues,
        base: anyValues,
        mean: anyValues,
        spread: anyValues,
        number: fc.integer({ min: 1, max: 300 }),
      },
      ({ n, shift, model, base, mean, spread, number }) => ({
        shift,
        buffers: {
          mean: f32Of(mean, n),
          spread: f32Of(spread, n),
          model: storedOf(model, dtype, n),
          base: f32Of(base, n),
        },
        call: (kernels, at) => kernels.addToVariance(at.mean!, at.spread!, at.model!, dtype, at.base!, number, n),
      }),
    ));
});

describe.each(Object.keys(codings) as (keyof typeof codings)[])("%s, every code", (dtype) => {
  const { codes, decode, array } = codings[dtype];
  const all = Array.from({ length: codes }, (_, code) => code);

  test("widen", () =>
    expectSameBits({
      shift: 0,
      buffers: { dst: new Float32Array(codes), src: array(all) },
      call: (kernels, at) => kernels.widen(at.dst, at.src, dtype, codes),
    }));

  test("narrow, at each code, half-way to the next and next to half-way", () => {
    const values = all.flatMap((code) => {
      const value = Math.fround(decode(code));
      const half = Math.fround((value + decode((code + 1) % codes)) / 2);
      const bits = new Uint32Array(Float32Array.of(half).buffer)[0]!;
      return [value, half, ...new Float32Array(Uint32Array.of(bits - 1, bits + 1).buffer)];
    });
    return expectSameBits({
      shift: 0,
      buffers: { dst: array(new Uint8Array(values.length)), src: Float32Array.from(values) },
      call: (kernels, at) => kernels.narrow(at.dst, at.src, dtype, values.length),
    });
  });

  test("noteNonFinite, one code at a time", () =>
    expectSameBits({
      shift: 0,
      buffers: { notes: new Uint32Array(3 * codes).fill(0xffffffff), src: array(all) },
      call: (kernels, at) => {
        const size = codes === 256 ? 1 : 2;
        for (const code of all) kernels.noteNonFinite(at.notes + 12 * code, code, at.src + size * code, dtype, 0, 1);
      },
    }));
});

describe("linear combinations", () => {
  test.each([false, true])("finishDelta, in place: %s", (inPlace) =>
    sameBits(
      { n: elementCounts, shift: shifts, base: anyValues, acc: anyValues, divisor: coefficients, lambda: coefficients },
      ({ n, shift, base, acc, divisor, lambda }) => ({
        shift,
        buffers: { out: new Float32Array(n), base: f32Of(base, n), acc: f32Of(acc, n) },
        call: (kernels, at) => kernels.finishDelta(inPlace ? at.acc! : at.out!, at.base!, at.acc!, divisor, lambda, n),
      }),
    ),
  );

  test("addLowRank", () =>
    sameBits(
      {
        columns: fc.constantFrom(1, 2, 3, 4, 7, 16, 17, 33, 100),
        rank: fc.constantFrom(1, 2, 5, 16),
        first: fc.nat({ max: 120 }),
        n: fc.nat({ max: 900 }),
        shift: shifts,
        values: anyValues,
        left: finiteValues,
        right: anyValues,
        scale: coefficients,
      },
      ({ columns, rank, first, n, shift, values, left, right, scale }) => ({
        shift,
        buffers: {
          values: f32Of(values, n),
          left: f64Of(left, Math.ceil((first + n) / columns) * rank),
          right: f64Of(right, rank * columns),
        },
        call: (kernels, at) => kernels.addLowRank(at.values!, at.left!, at.right!, scale, rank, columns, first, n),
      }),
    ));

  test.each(["out", "x", "base"])("nearSwap, into %s", (into) =>
    sameBits(
      { n: elementCounts, shift: shifts, base: anyValues, x: anyValues, t: coefficients },
      ({ n, shift, base, x, t }) => ({
        shift,
        buffers: { out: new Float32Array(n), base: f32Of(base, n), x: f32Of(x, n) },
        call: (kernels, at) => kernels.nearSwap(at[into]!, at.base!, at.x!, t, n),
      }),
    ),
  );

  test("zero", () =>
    sameBits({ n: elementCounts, shift: shifts }, ({ n, shift }) => ({
      shift,
      buffers: { bytes: new Uint8Array(n).fill(0xff) },
      call: (kernels, at) => kernels.zero(at.bytes!, n),
    })));

  test("copy", () =>
    sameBits({ n: elementCounts, shift: shifts, values: anyValues }, ({ n, shift, values }) => ({
      shift,
      strictNaN: true,
      buffers: { dst: new Float32Array(n), src: f32Of(values, n) },
      call: (kernels, at) => kernels.copy(at.dst!, at.src!, n * 4),
    })));
});

describe("blocks and rows", () => {
  /** Elements from anywhere in a matrix, in blocks that are wide, narrow, one row, or all of it. */
  const grids = fc.record({
    row: fc.nat({ max: 20 }),
    at: fc.nat(),
    columns: rowLengths,
    blockRows: fc.constantFrom(1, 2, 3, 128, 2 ** 29),
    blockColumns: fc.constantFrom(1, 3, 16, 128, 1000, 2 ** 29),
    n: elementCounts,
  });
  type Grid = { row: number; at: number; columns: number; blockRows: number; blockColumns: number; n: number };
  const numbersOf = ({ row, at, columns, blockRows, blockColumns, n }: Grid) => {
    const lastRow = row + Math.floor(((at % columns) + n) / columns);
    return (Math.floor(lastRow / blockRows) + 1) * Math.ceil(columns / blockColumns);
  };

  test.each(FLOAT_DTYPES)("scaleBlocks, %s", (dtype) =>
    sameBits({ grid: grids, shift: shifts, codes: anyValues, scales: anyValues }, ({ grid, shift, codes, scales }) => ({
      shift,
      buffers: {
        out: new Float32Array(grid.n),
        codes: storedOf(codes, dtype, grid.n),
        scales: f32Of(scales, numbersOf(grid)),
      },
      call: (kernels, at) => {
        const { row, columns, blockRows, blockColumns, n } = grid;
        const column = grid.at % columns;
        kernels.scaleBlocks(at.out!, at.codes!, dtype, at.scales!, row, column, columns, blockRows, blockColumns, n);
      },
    })),
  );

  test.each([false, true])("divideBlocks, in place: %s", (inPlace) =>
    sameBits({ grid: grids, shift: shifts, x: anyValues, scales: anyValues }, ({ grid, shift, x, scales }) => ({
      shift,
      buffers: { out: new Float32Array(grid.n), x: f32Of(x, grid.n), scales: f32Of(scales, numbersOf(grid)) },
      call: (kernels, at) => {
        const { row, columns, blockRows, blockColumns, n } = grid;
        const out = inPlace ? at.x! : at.out!;
        const column = grid.at % columns;
        kernels.divideBlocks(out, at.x!, at.scales!, 448, row, column, columns, blockRows, blockColumns, n);
      },
    })),
  );

  test("blockMaxima", () =>
    sameBits({ grid: grids, shift: shifts, x: anyValues, known: finiteValues }, ({ grid, shift, x, known }) => ({
      shift,
      buffers: { maxima: f32Of(known, numbersOf(grid)).map(Math.abs), x: f32Of(x, grid.n) },
      call: (kernels, at) => {
        const { row, columns, blockRows, blockColumns, n } = grid;
        kernels.blockMaxima(at.maxima!, at.x!, row, grid.at % columns, columns, blockRows, blockColumns, n);
      },
    })));

  test("normRows", () =>
    sameBits(
      { rows: fc.nat({ max: 9 }), rowLength: rowLengths, shift: shifts, values: anyValues, magnitudes: anyValues },
      ({ rows, rowLength, shift, values, magnitudes }) => ({
        shift,
        buffers: { values: f32Of(values, rows * rowLength), magnitudes: f32Of(magnitudes, rows) },
        call: (kernels, at) => kernels.normRows(at.values!, at.magnitudes!, rows, rowLength),
      }),
    ));
});

describe("sums in f64", () => {
  test.each([false, true])("dot, with itself: %s", (self) =>
    sameBits(
      { n: elementCounts, block: blockLengths, shift: shifts, a: anyValues, b: anyValues, start: finiteValues },
      ({ n, block, shift, a, b, start }) => ({
        shift,
        buffers: { lanes: lanesOf(start, n, block), a: f32Of(a, n), b: f32Of(b, n) },
        call: (kernels, at) => kernels.dot(at.lanes!, at.a!, self ? at.a! : at.b!, block, n),
      }),
    ),
  );

  test("dotFour, one of the rows being x", () =>
    sameBits(
      {
        n: fc.oneof(elementCounts, fc.nat({ max: 3000 })),
        block: blockLengths,
        shift: shifts,
        a: anyValues,
        x: anyValues,
        start: finiteValues,
      },
      ({ n, block, shift, a, x, start }) => ({
        shift,
        buffers: { lanes: lanesOf(start, 4 * block * Math.ceil(n / block), block), a: f32Of(a, 3 * n), x: f32Of(x, n) },
        call: (kernels, at) => {
          const [l0, a0] = [at.lanes!, at.a!];
          const [l1, l2, l3] = [1, 2, 3].map((row) => l0 + row * 64 * Math.ceil(n / block));
          kernels.dotFour(l0, l1!, l2!, l3!, a0, a0 + 4 * n, at.x!, a0 + 8 * n, at.x!, block, n);
        },
      }),
    ));

  test.each([false, true])("dotRows, with itself: %s", (self) =>
    sameBits(
      { rows: fc.nat({ max: 5 }), rowLength: rowLengths, shift: shifts, a: anyValues, b: anyValues },
      ({ rows, rowLength, shift, a, b }) => ({
        shift,
        buffers: { sums: new Float64Array(rows), a: f32Of(a, rows * rowLength), b: f32Of(b, rows * rowLength) },
        call: (kernels, at) => kernels.dotRows(at.sums!, at.a!, self ? at.a! : at.b!, rows, rowLength),
      }),
      FEWER_RUNS,
    ),
  );

  test("foldLanes", () =>
    sameBits({ shift: shifts, count: fc.nat({ max: 9 }), start: anyValues }, ({ shift, count, start }) => ({
      shift,
      buffers: { sums: new Float64Array(count).fill(5), lanes: f64Of(start, 8 * count) },
      call: (kernels, at) => kernels.foldLanes(at.sums!, at.lanes!, count),
    })));

  test("foldMaxima", () =>
    sameBits({ shift: shifts, count: fc.nat({ max: 9 }), start: finiteValues }, ({ shift, count, start }) => ({
      shift,
      buffers: { maxima: new Float64Array(count).fill(5), lanes: f64Of(start, 8 * count).map(Math.abs) },
      call: (kernels, at) => kernels.foldMaxima(at.maxima!, at.lanes!, count),
    })));

  test("accumulateF64", () =>
    sameBits(
      { n: elementCounts, shift: shifts, acc: anyValues, d: anyValues, c: coefficients },
      ({ n, shift, acc, d, c }) => ({
        shift,
        buffers: { acc: f64Of(acc, n), d: f32Of(d, n) },
        call: (kernels, at) => kernels.accumulateF64(at.acc!, at.d!, c, n),
      }),
    ));

  test("accumulateRowsF64", () =>
    sameBits(
      { rows: fc.nat({ max: 4 }), rowLength: rowLengths, shift: shifts, acc: anyValues, d: anyValues, c: finiteValues },
      ({ rows, rowLength, shift, acc, d, c }) => ({
        shift,
        buffers: { acc: f64Of(acc, rows * rowLength), d: f32Of(d, rows * rowLength), c: f64Of(c, rows) },
        call: (kernels, at) => kernels.accumulateRowsF64(at.acc!, at.d!, at.c!, rows, rowLength),
      }),
      FEWER_RUNS,
    ));

  test("squaresF64", () =>
    sameBits(
      { n: elementCounts, block: blockLengths, shift: shifts, a: anyValues, start: finiteValues },
      ({ n, block, shift, a, start }) => ({
        shift,
        buffers: { lanes: lanesOf(start, n, block).map(Math.abs), a: f64Of(a, n) },
        call: (kernels, at) => kernels.squaresF64(at.lanes!, at.a!, block, n),
      }),
    ));

  test("squaresRowsF64", () =>
    sameBits(
      { rows: fc.nat({ max: 5 }), rowLength: rowLengths, shift: shifts, a: anyValues },
      ({ rows, rowLength, shift, a }) => ({
        shift,
        buffers: { sums: new Float64Array(rows), a: f64Of(a, rows * rowLength) },
        call: (kernels, at) => kernels.squaresRowsF64(at.sums!, at.a!, rows, rowLength),
      }),
      FEWER_RUNS,
    ));

  test.each<SumKind>(["l1", "l2", "linf"])("magnitudes, %s", (kind) =>
    sameBits(
      {
        n: elementCounts,
        block: blockLengths,
        shift: shifts,
        d: anyValues,
        mask: masks,
        all: finiteValues,
        kept: finiteValues,
      },
      ({ n, block, shift, d, mask, all, kept }) => ({
        shift,
        buffers: {
          all: lanesOf(all, n, block).map(Math.abs),
          kept: lanesOf(kept, n, block).map(Math.abs),
          d: f32Of(d, n),
          mask: maskOf(mask, n),
        },
        call: (kernels, at) => kernels.magnitudes(at.all!, at.kept!, at.d!, maskAt(mask, at.mask!), kind, block, n),
      }),
    ),
  );
});

describe("columns", () => {
  const places = fc.record({ columns: rowLengths, at: fc.nat() });

  test.each([false, true])("dotColumns, with itself: %s", (self) =>
    sameBits(
      {
        n: elementCounts,
        block: blockLengths,
        shift: shifts,
        a: anyValues,
        b: anyValues,
        start: finiteValues,
        place: places,
      },
      ({ n, block, shift, a, b, start, place: { columns, at: from } }) => ({
        shift,
        buffers: { sums: f64Of(start, columns * Math.ceil(n / block)), a: f32Of(a, n), b: f32Of(b, n) },
        call: (kernels, at) =>
          kernels.dotColumns(at.sums!, at.a!, self ? at.a! : at.b!, from % columns, columns, block, n),
      }),
    ),
  );

  test.each([false, true])("accumulateColumns, first: %s", (first) =>
    sameBits(
      { n: elementCounts, shift: shifts, acc: anyValues, x: anyValues, c: finiteValues, place: places },
      ({ n, shift, acc, x, c, place: { columns, at: from } }) => ({
        shift,
        buffers: { acc: f32Of(acc, n), x: f32Of(x, n), c: f32Of(c, columns) },
        call: (kernels, at) => kernels.accumulateColumns(at.acc!, at.x!, at.c!, first, from % columns, columns, n),
      }),
    ),
  );
});

describe("divergence", () => {
  /** As rows of models are, then as anything may be: ranges of exp that end in 0, subnormal sums, NaN. */
  test("divergenceRows", () =>
    sameBits(
      {
        rows: fc.nat({ max: 4 }),
        rowLength: rowLengths,
        shift: shifts,
        x: anyValues,
        base: anyValues,
        scale: fc.constantFrom(1, 1, 100, 300, 700),
      },
      ({ rows, rowLength, shift, x, base, scale }) => ({
        shift,
        buffers: {
          divergences: new Float32Array(rows),
          x: f32Of(x, rows * rowLength).map((value) => value * scale),
          base: f32Of(base, rows * rowLength).map((value) => value * scale),
        },
        scratchBytes: () => 16 * rowLength,
        call: (kernels, at, scratch) =>
          kernels.divergenceRows(at.divergences!, at.x!, at.base!, scratch, rows, rowLength),
      }),
    ));

  test("importance", () =>
    sameBits(
      { n: elementCounts, rowLength: rowLengths, shift: shifts, d: anyValues, factors: anyValues, at: fc.nat() },
      ({ n, rowLength, shift, d, factors, at: from }) => {
        const firstColumn = from % rowLength;
        return {
          shift,
          buffers: {
            out: new Float32Array(n),
            d: f32Of(d, n),
            factors: f32Of(factors, Math.ceil((firstColumn + n) / rowLength)),
          },
          call: (kernels, at) => kernels.importance(at.out!, at.d!, at.factors!, firstColumn, rowLength, n),
        };
      },
    ));

  test.each(["out", "d"])("addAtLeast, into %s", (into) =>
    sameBits(
      { n: elementCounts, shift: shifts, base: anyValues, d: anyValues, rank: anyValues, at: fc.nat() },
      ({ n, shift, base, d, rank, at: from }) => {
        const ranks = f32Of(rank, n);
        const bound = n === 0 ? 0 : ranks[from % n]!;
        return {
          shift,
          buffers: { out: new Float32Array(n), base: f32Of(base, n), d: f32Of(d, n), rank: ranks },
          call: (kernels, at) => kernels.addAtLeast(at[into]!, at.base!, at.d!, at.rank!, bound, n),
        };
      },
    ),
  );
});

describe("changes", () => {
  const epsilons = fc.constantFrom(0, 1e-40, 1e-5, 2 ** -10, 0.3);

  test.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])("accumulateChanged, with sum: %s, with label: %s", (summed, labelled) =>
    sameBits(
      {
        n: elementCounts,
        shift: shifts,
        sum: anyValues,
        label: anyValues,
        d: anyValues,
        epsilon: epsilons,
        value: coefficients,
      },
      ({ n, shift, sum, label, d, epsilon, value }) => ({
        shift,
        buffers: {
          sum: f32Of(sum, n).map((one) => one + 0),
          count: Float32Array.from({ length: n }, (_, k) => k % 3),
          label: f32Of(label, n),
          d: f32Of(d, n),
        },
        call: (kernels, at) => {
          const [into, marks] = [summed ? at.sum! : 0, labelled ? at.label! : 0];
          kernels.accumulateChanged(into, at.count!, marks, at.d!, epsilon, value, n);
        },
      }),
    ),
  );

  test("countChanged", () =>
    sameBits({ n: elementCounts, shift: shifts, d: anyValues, epsilon: epsilons }, ({ n, shift, d, epsilon }) => ({
      shift,
      buffers: { tally: Uint32Array.of(5), d: f32Of(d, n) },
      call: (kernels, at) => kernels.countChanged(at.tally!, at.d!, epsilon, n),
    })));

  test("countUnique", () =>
    sameBits({ n: elementCounts, shift: shifts, seed: fc.nat() }, ({ n, shift, seed }) => {
      const next = randomSource(seed);
      return {
        shift,
        buffers: {
          tallies: Uint32Array.of(1, 2, 3, 4, 5),
          count: Float32Array.from({ length: n }, () => next() % 3),
          label: Float32Array.from({ length: n }, () => next() % 5),
        },
        call: (kernels, at) => kernels.countUnique(at.tallies!, at.count!, at.label!, n),
      };
    }));

  test.each([
    [false, "out"],
    [true, "out"],
    [true, "sum"],
  ])("finishChanged, with factors: %s, into %s", (scaled, into) =>
    sameBits(
      { n: elementCounts, shift: shifts, base: anyValues, sum: anyValues, factor: finiteValues },
      ({ n, shift, base, sum, factor }) => ({
        shift,
        buffers: {
          out: new Float32Array(n),
          base: f32Of(base, n),
          sum: f32Of(sum, n),
          count: Float32Array.from({ length: n }, (_, k) => (k * 7) % 5),
          factor: f32Of(factor, n),
        },
        call: (kernels, at) =>
          kernels.finishChanged(at[into]!, at.base!, at.sum!, at.count!, scaled ? at.factor! : 0, n),
      }),
    ),
  );
});

const maskAt = (mask: object | undefined, address: number): number => (mask === undefined ? EVERYTHING : address);

describe("order statistics", () => {
  test("bracket", () =>
    sameBits(
      { n: elementCounts, shift: shifts, d: anyValues, bounds, capacity: elementCounts, before: fc.nat({ max: 40 }) },
      ({ n, shift, d, bounds, capacity, before }) => {
        const values = f32Of(d, n);
        const [lo, hi] = boundsIn(values, bounds);
        return {
          shift,
          buffers: {
            counts: Uint32Array.of(3, 1, before, 4, 1),
            collected: new Uint32Array(capacity).fill(9),
            d: values,
          },
          call: (kernels, at) => kernels.bracket(at.counts!, at.collected!, capacity, at.d!, lo, hi, n),
        };
      },
      { numRuns: 400 },
    ));

  test("histogram", () =>
    sameBits(
      {
        n: elementCounts,
        shift: shifts,
        d: anyValues,
        lo: fc.nat(),
        bits: fc.nat({ max: 31 }),
        bins: fc.nat({ max: 3000 }),
        bounds,
      },
      ({ n, shift, d, lo, bits, bins, bounds }) => {
        const values = f32Of(d, n);
        const from = bits % 2 === 0 ? lo : boundsIn(values, bounds)[0];
        const binCount = Math.min(bins, Math.floor((2 ** 32 - from) / 2 ** bits));
        return {
          shift,
          buffers: { bins: new Uint32Array(binCount + 2).fill(2), d: values },
          call: (kernels, at) => kernels.histogram(at.bins!, at.d!, from, bits, binCount, n),
        };
      },
      { numRuns: 300 },
    ));

  test("histogram over all magnitudes in 65,536 bins", () =>
    sameBits(
      { n: elementCounts, d: anyValues },
      ({ n, d }) => ({
        shift: 0,
        buffers: { bins: new Uint32Array(65538), d: f32Of(d, n) },
        call: (kernels, at) => kernels.histogram(at.bins!, at.d!, 0, 15, 65536, n),
      }),
      { numRuns: 8 },
    ));

  test("select", () =>
    sameBits(
      { n: elementCounts, shift: shifts, d: anyValues, k: fc.nat(), wide: fc.boolean() },
      ({ n, shift, d, k, wide }) => {
        const next = randomSource(k);
        const drawn = f32Of(d, Math.max(n, 1));
        const values = wide ? Uint32Array.from(drawn, next) : Uint32Array.from(drawn, magnitude);
        return {
          shift,
          buffers: { result: Uint32Array.of(1, 2, 3), values },
          call: (kernels, at) => kernels.select(at.result!, at.values!, k % values.length, values.length),
        };
      },
      { numRuns: 300, unordered: "values" },
    ));
});

/** Numbers of ties: none, some, to the end. */
const windowEnds = fc.oneof(fc.constantFrom(0, 0xffffffff), fc.nat({ max: 60 }));

describe("masks", () => {
  test("maskBand", () =>
    sameBits(
      {
        n: elementCounts,
        shift: shifts,
        d: anyValues,
        bounds,
        windows: fc.tuple(windowEnds, windowEnds, windowEnds, windowEnds),
        seen: fc.tuple(fc.nat({ max: 30 }), fc.nat({ max: 30 })),
      },
      ({ n, shift, d, bounds, windows, seen }) => {
        const values = f32Of(d, n);
        const [lo, hi] = boundsIn(values, bounds);
        const [a, b, c, e] = windows as [number, number, number, number];
        return {
          shift,
          buffers: { mask: new Uint8Array(Math.ceil(n / 8)).fill(0x55), ties: Uint32Array.from(seen), d: values },
          call: (kernels, at) => kernels.maskBand(at.mask!, at.ties!, at.d!, lo, a, b, hi, c, e, n),
        };
      },
      { numRuns: 500 },
    ));

  /** Any, the ends, and the very word of one of the elements, which is not below itself. */
  const thresholds = fc.oneof(
    fc.constantFrom(0, 1, 0x10000000, 0x7fffffff, 0x80000000, 0xe0000000, 0xffffffff),
    fc.record({ wordOf: fc.nat({ max: 1030 }) }),
  );

  test("maskRandom", () =>
    sameBits(
      { n: elementCounts, shift: shifts, stream: streams, firstElement: firstElements, threshold: thresholds },
      ({ n, shift, stream, firstElement, threshold }) => {
        const { seedLow, seedHigh, nameLow, nameHigh, model } = stream;
        const wordOf = (element: number) => randomWord(seedLow, seedHigh, nameLow, nameHigh, model, element);
        const limit = typeof threshold === "number" ? threshold : wordOf(firstElement + (threshold.wordOf % (n + 1)));
        return {
          shift,
          buffers: { mask: new Uint8Array(Math.ceil(n / 8)).fill(0x55) },
          call: (kernels, at) => kernels.maskRandom(at.mask!, stream, firstElement, limit, n),
        };
      },
      { numRuns: 200 },
    ));

  /** Tables of thresholds: as DELLA makes them, narrow, wide, and the ends of u32. */
  const tables = fc.constantFrom([0.5, 0.15], [0.5, 0.49], [0.3, 1e-9], [0.7, 0.2], [0, 0], [1, 0]);

  function tableOf([density, epsilon]: readonly [number, number], columns: number): Uint32Array {
    if (density === 0 || density === 1) return new Uint32Array(columns).fill(density === 0 ? 0 : 0xffffffff);
    return rankedThresholds(density, epsilon, columns);
  }

  test("maskRanked", () =>
    sameBits(
      {
        rows: fc.integer({ min: 0, max: 5 }),
        rowLength: rowLengths,
        shift: shifts,
        d: anyValues,
        table: tables,
        stream: streams,
        firstElement: firstElements,
      },
      ({ rows, rowLength, shift, d, table, stream, firstElement }) => {
        const n = rows * rowLength;
        return {
          shift,
          buffers: {
            mask: new Uint8Array(Math.ceil(n / 8)).fill(0x55),
            d: f32Of(d, n),
            thresholds: tableOf(table, rowLength),
          },
          scratchBytes: (arena) => arena.rankScratchBytes(rowLength),
          call: (kernels, at, scratch) =>
            kernels.maskRanked(at.mask!, at.d!, at.thresholds!, scratch, stream, firstElement, rows, rowLength),
        };
      },
      { numRuns: 250 },
    ));

  test.each([false, true])("scaleByRank, in place: %s", (inPlace) =>
    sameBits(
      { rows: fc.integer({ min: 0, max: 4 }), rowLength: rowLengths, shift: shifts, d: anyValues, table: finiteValues },
      ({ rows, rowLength, shift, d, table }) => ({
        shift,
        buffers: {
          scaled: new Float32Array(rows * rowLength),
          d: f32Of(d, rows * rowLength),
          table: f32Of(table, rowLength),
        },
        scratchBytes: (arena) => arena.rankScratchBytes(rowLength),
        call: (kernels, at, scratch) =>
          kernels.scaleByRank(inPlace ? at.d! : at.scaled!, at.d!, at.table!, scratch, rows, rowLength),
      }),
      { numRuns: 100 },
    ),
  );
});

describe("consensus", () => {
  test("accumulateMasked", () =>
    sameBits(
      { n: elementCounts, shift: shifts, acc: anyValues, d: anyValues, mask: masks, c: coefficients },
      ({ n, shift, acc, d, mask, c }) => ({
        shift,
        buffers: { acc: f32Of(acc, n).map((value) => value + 0), d: f32Of(d, n), mask: maskOf(mask, n) },
        call: (kernels, at) => kernels.accumulateMasked(at.acc!, at.d!, maskAt(mask, at.mask!), c, n),
      }),
    ));

  test.each([false, true])("elect, with weights: %s", (weighted) =>
    sameBits(
      {
        n: elementCounts,
        shift: shifts,
        sums: anyValues,
        weights: anyValues,
        d: anyValues,
        mask: masks,
        c: coefficients,
        w: coefficients,
      },
      ({ n, shift, sums, weights, d, mask, c, w }) => ({
        shift,
        buffers: {
          positive: positiveOf(sums, n),
          negative: positiveOf(sums, n).map((value) => 0 - value),
          positiveWeight: f32Of(weights, n).map((value) => value + 0),
          negativeWeight: f32Of(weights, n).map((value) => value * 2 + 0),
          d: f32Of(d, n),
          mask: maskOf(mask, n),
        },
        call: (kernels, at) => {
          const [plus, minus] = weighted ? [at.positiveWeight!, at.negativeWeight!] : [0, 0];
          kernels.elect(at.positive!, at.negative!, plus, minus, at.d!, maskAt(mask, at.mask!), c, w, n);
        },
      }),
    ),
  );

  test.each([
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ])("finishElection, with weights: %s, in place: %s", (weighted, inPlace) =>
    sameBits(
      {
        n: elementCounts,
        shift: shifts,
        base: anyValues,
        positive: anyValues,
        negative: anyValues,
        weights: anyValues,
        lambda: coefficients,
      },
      ({ n, shift, base, positive, negative, weights, lambda }) => ({
        shift,
        buffers: {
          out: new Float32Array(n),
          base: f32Of(base, n),
          positive: positiveOf(positive, n),
          negative: positiveOf(negative, n).map((value) => 0 - value),
          positiveWeight: f32Of(weights, n),
          negativeWeight: f32Of(weights, n).reverse(),
        },
        call: (kernels, at) => {
          const [plus, minus] = weighted ? [at.positiveWeight!, at.negativeWeight!] : [0, 0];
          const out = inPlace ? at.positive! : at.out!;
          kernels.finishElection(out, at.base!, at.positive!, at.negative!, plus, minus, lambda, n);
        },
      }),
    ),
  );

  test.each(["out", "positive", "negativeTerms"])("finishWeighed, into %s", (into) =>
    sameBits(
      {
        n: elementCounts,
        shift: shifts,
        base: anyValues,
        positive: anyValues,
        negative: anyValues,
        terms: anyValues,
        weights: anyValues,
        least: fc.constantFrom(1e-6, 1e-40, 0.3, 2),
      },
      ({ n, shift, base, positive, negative, terms, weights, least }) => ({
        shift,
        buffers: {
          out: new Float32Array(n),
          base: f32Of(base, n),
          positive: positiveOf(positive, n),
          negative: positiveOf(negative, n).map((value) => 0 - value),
          positiveTerms: f32Of(terms, n),
          negativeTerms: f32Of(terms, n).reverse(),
          positiveWeight: f32Of(weights, n),
          negativeWeight: f32Of(weights, n).reverse(),
        },
        call: (kernels, at) =>
          kernels.finishWeighed(
            at[into]!,
            at.base!,
            at.positive!,
            at.negative!,
            at.positiveTerms!,
            at.negativeTerms!,
            at.positiveWeight!,
            at.negativeWeight!,
            least,
            n,
          ),
      }),
    ),
  );

  test("keepLargest", () =>
    sameBits(
      { n: elementCounts, shift: shifts, best: anyValues, d: anyValues, c: coefficients },
      ({ n, shift, best, d, c }) => ({
        shift,
        buffers: { best: f32Of(best, n), d: f32Of(d, n) },
        call: (kernels, at) => kernels.keepLargest(at.best!, at.d!, c, n),
      }),
    ));

  test.each(["out", "total"])("finishAgreement, into %s", (into) =>
    sameBits(
      {
        n: elementCounts,
        shift: shifts,
        base: anyValues,
        total: anyValues,
        lambda: coefficients,
        least: fc.nat({ max: 4 }),
      },
      ({ n, shift, base, total, lambda, least }) => ({
        shift,
        buffers: {
          out: new Float32Array(n),
          base: f32Of(base, n),
          total: f32Of(total, n),
          votes: Float32Array.from({ length: n }, (_, k) => (k * 7) % 4),
        },
        call: (kernels, at) => kernels.finishAgreement(at[into]!, at.base!, at.total!, at.votes!, least, lambda, n),
      }),
    ),
  );
});
