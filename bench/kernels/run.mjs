// Prints ns per element of every kernel, one thread: node bench/kernels/run.mjs [part of a kernel's name]. Needs a build.
import { WasmDevice } from "../../dist/merge/engines/wasm/index.js";

const SIZES = [16_384, 32_768, 65_536];
const ROW_LENGTHS = [1024, 2816];
const RUNS = 51;
const MS_PER_RUN = 1.5;

const only = process.argv[2] ?? "";
const arena = new WasmDevice().open(512 * 2 ** 20);
const { kernels } = arena;
const stream = { seedLow: 42, seedHigh: 0, model: 1, nameLow: 0xdc11febb, nameHigh: 0x3a296639 };

/** Best of many short runs: what else the machine does only adds, and spares some of them. */
function nanosecondsPerElement(work, elements) {
  const timed = (calls) => {
    const start = process.hrtime.bigint();
    for (let call = 0; call < calls; call++) work();
    return Number(process.hrtime.bigint() - start);
  };
  // The first calls run code that V8 has not optimised yet, and it does so per function, after some loops.
  timed(200);
  let calls = 1;
  while (timed(calls) < MS_PER_RUN * 1e6) calls *= 2;
  const runs = Array.from({ length: RUNS }, () => timed(calls) / calls / elements);
  return Math.min(...runs);
}

/** Bell-shaped. */
function weights(n, deviation) {
  return Float32Array.from({ length: n }, () => (Math.random() + Math.random() + Math.random() - 1.5) * 2 * deviation);
}

function put(data) {
  const address = arena.allocate(data.byteLength);
  arena.staging(address, data.byteLength).bytes.set(new Uint8Array(data.buffer));
  return address;
}

function sortedBits(d) {
  return new Uint32Array(d.buffer.slice(0)).map((bits) => bits & 0x7fffffff).sort();
}

/** Everything at one size. delta: of two bf16 models, so many values are tied; smooth: without ties. */
function buffersOf(n) {
  const base = weights(n, 0.02);
  const tuned = base.map((x) => x + weights(1, 0.001)[0]);
  const smooth = weights(n, 0.001);
  const place = (bytes) => arena.allocate(bytes);
  const f = {
    base: place(4 * n),
    model: place(2 * n),
    baseCodes: place(2 * n),
    delta: place(4 * n),
    p: place(4 * n),
    q: place(4 * n),
    wp: place(4 * n),
    wq: place(4 * n),
    out: place(4 * n),
    mask: place(n / 8),
    note: put(Uint32Array.of(0xffffffff, 0, 0)),
  };
  const source = put(base);
  kernels.narrow(f.baseCodes, source, "BF16", n);
  kernels.widen(f.base, f.baseCodes, "BF16", n);
  arena.staging(source, 4 * n).bytes.set(new Uint8Array(tuned.buffer));
  kernels.narrow(f.model, source, "BF16", n);
  kernels.delta(f.delta, f.model, "BF16", f.base, n);
  f.smooth = put(smooth);
  for (const at of [f.p, f.q, f.wp, f.wq]) kernels.zero(at, 4 * n);
  kernels.maskRandom(f.mask, stream, 0, 2 ** 31, n);
  const deltaBits = sortedBits(new Float32Array(arena.staging(f.delta, 4 * n).bytes.slice().buffer));
  const smoothBits = sortedBits(smooth);
  f.band = [deltaBits[Math.floor(n * 0.485)], deltaBits[Math.floor(n * 0.515)]];
  f.smoothBand = [smoothBits[Math.floor(n * 0.485)], smoothBits[Math.floor(n * 0.515)]];
  const term = [...new Uint32Array(Float32Array.of(0.3, 0.3).buffer)];
  const band = [f.band[0], 0, 1000, 0xffffffff, 0, 0xffffffff, ...term];
  f.bands = put(Uint32Array.from(Array(COMBINED).fill(band).flat()));
  f.ties = place(8 * COMBINED);
  f.factors = put(Uint32Array.from(Array(COMBINED).fill(term).flat()));
  f.lanes = place(64);
  f.moreLanes = place(64);
  f.counts = place(64);
  f.collected = place(4 * n);
  f.bins = place(4 * 65_538);
  f.doubles = place(8 * n);
  f.spareLanes = place(64);
  return f;
}

/** A call over so many models that takes as long as each of them does for n elements: over a fifth of the elements. */
const COMBINED = 5;

function combinationOf({ base, model, mask, bands, ties, factors }, n, into, kernel) {
  const elements = n / COMBINED - ((n / COMBINED) % 8);
  const of = [...into, model, 0, "BF16", base];
  if (kernel === "combineMasked") return () => kernels.combineMasked(...of, mask, 0, factors, COMBINED, elements);
  return () => {
    kernels.zero(ties, 8 * COMBINED);
    kernels.combineBands(...of, bands, ties, COMBINED, elements);
  };
}

/** name → a call on n elements. */
function flatKernels(f, n) {
  const { base, model, delta, smooth, p, q, wp, wq, out, mask, note, lanes, moreLanes, counts, collected } = f;
  const bracketOf =
    (d, [lo, hi]) =>
    () => {
      kernels.zero(counts, 20);
      kernels.bracket(counts, collected, n, d, lo, hi, n);
    };
  const bandOf =
    (d, [lo, hi]) =>
    () =>
      kernels.maskBand(mask, counts, d, lo, 10, 1000, hi, 0, 100, n);
  return {
    "widen bf16": () => kernels.widen(out, model, "BF16", n),
    "widen f16": () => kernels.widen(out, model, "F16", n),
    "widen e4m3": () => kernels.widen(out, model, "F8_E4M3", n),
    "widen f64": () => kernels.widen(out, f.doubles, "F64", n),
    "narrow bf16": () => kernels.narrow(f.collected, delta, "BF16", n),
    "narrow f16": () => kernels.narrow(f.collected, delta, "F16", n),
    "narrow e4m3": () => kernels.narrow(f.collected, delta, "F8_E4M3", n),
    "noteNonFinite bf16": () => kernels.noteNonFinite(note, 0, model, "BF16", 0, n),
    "delta bf16": () => kernels.delta(out, model, "BF16", base, n),
    "accumulate bf16": () => kernels.accumulate(p, model, "BF16", 0.3, false, n),
    "accumulate bf16, first": () => kernels.accumulate(p, model, "BF16", 0.3, true, n),
    "accumulateDelta bf16": () => kernels.accumulateDelta(p, model, "BF16", base, 0.3, false, n),
    "scaleBlocks e4m3, 128 x 128": () => kernels.scaleBlocks(out, model, "F8_E4M3", delta, 0, 0, 4096, 128, 128, n),
    "divideBlocks, 128 x 128": () => kernels.divideBlocks(out, delta, smooth, 448, 0, 0, 4096, 128, 128, n),
    "blockMaxima, 128 x 128": () => kernels.blockMaxima(p, delta, 0, 0, 4096, 128, 128, n),
    "normRows of 4096": () => kernels.normRows(q, smooth, n / 4096, 4096),
    finishDelta: () => kernels.finishDelta(out, base, p, 1.5, 1, n),
    dot: () => kernels.dot(lanes, delta, smooth, n, n),
    "dot with itself": () => kernels.dot(lanes, delta, delta, n, n),
    "dotFour, for four": () => kernels.dotFour(lanes, moreLanes, counts, f.spareLanes, delta, smooth, p, q, base, n, n),
    accumulateF64: () => kernels.accumulateF64(f.doubles, delta, 0.3, n),
    squaresF64: () => kernels.squaresF64(lanes, f.doubles, n, n),
    "magnitudes l1": () => kernels.magnitudes(lanes, moreLanes, delta, mask, "l1", n, n),
    "magnitudes l2": () => kernels.magnitudes(lanes, moreLanes, delta, mask, "l2", n, n),
    "magnitudes linf": () => kernels.magnitudes(lanes, moreLanes, delta, mask, "linf", n, n),
    "bracket, 3 % inside": bracketOf(smooth, f.smoothBand),
    "bracket, tied": bracketOf(delta, f.band),
    "bracketDelta bf16, tied": () => {
      kernels.zero(counts, 20);
      kernels.bracketDelta(counts, collected, n, model, "BF16", base, ...f.band, n);
    },
    "histogram, smooth": () => kernels.histogram(f.bins, smooth, 0, 15, 65_536, n),
    "histogram, tied": () => kernels.histogram(f.bins, delta, 0, 15, 65_536, n),
    select: () => {
      arena.staging(collected, 4 * n).bytes.set(arena.staging(smooth, 4 * n).bytes);
      kernels.select(counts, collected, n >> 1, n);
    },
    "maskBand, smooth": bandOf(smooth, f.smoothBand),
    "maskBand, tied": bandOf(delta, f.band),
    maskRandom: () => kernels.maskRandom(mask, stream, 0, 2 ** 31, n),
    accumulateMasked: () => kernels.accumulateMasked(p, delta, mask, 0.3, n),
    "elect, 2 accumulators": () => kernels.elect(p, q, 0, 0, delta, mask, 0.3, 0.3, n),
    "elect, 4 accumulators": () => kernels.elect(p, q, wp, wq, delta, mask, 0.3, 0.3, n),
    "elect, 4, no mask": () => kernels.elect(p, q, wp, wq, delta, 0, 0.3, 0.3, n),
    // Five times the same model; of an element of one of them.
    "combineBands bf16, 4 accumulators": combinationOf(f, n, [p, q, wp, wq], "combineBands"),
    "combineBands bf16, 1 accumulator": combinationOf(f, n, [p, 0, 0, 0], "combineBands"),
    "combineMasked bf16, 2 accumulators": combinationOf(f, n, [p, q, 0, 0], "combineMasked"),
    finishElection: () => kernels.finishElection(out, base, p, q, wp, wq, 1, n),
    nearSwap: () => kernels.nearSwap(out, base, delta, 0.001, n),
    "dotColumns, 1024": () => kernels.dotColumns(f.doubles, delta, smooth, 0, 1024, n, n),
    "accumulateColumns, 1024": () => kernels.accumulateColumns(p, delta, smooth, false, 0, 1024, n),
    keepLargest: () => kernels.keepLargest(p, delta, 0.3, n),
    "agree bf16": () => kernels.agree(p, model, "BF16", base, delta, 0.4, n),
    finishAgreement: () => kernels.finishAgreement(out, base, delta, p, 2, 1, n),
    "addToVariance bf16": () => kernels.addToVariance(p, q, model, "BF16", base, 3, n),
    "deltaSquares bf16": () => kernels.deltaSquares(lanes, model, "BF16", base, mask, n, n),
    "electWeighed bf16": () => kernels.electWeighed(p, q, wp, wq, out, smooth, model, "BF16", base, mask, 0.3, n),
    "electWeighed bf16, no mask": () => kernels.electWeighed(p, q, wp, wq, out, smooth, model, "BF16", base, 0, 0.3, n),
    finishWeighed: () => kernels.finishWeighed(out, base, p, q, wp, wq, smooth, delta, 1e-6, n),
    "accumulateChanged, sum": () => kernels.accumulateChanged(p, q, 0, delta, 1e-5, 1, n),
    "accumulateChanged, all": () => kernels.accumulateChanged(p, q, wp, delta, 1e-5, 1, n),
    countChanged: () => kernels.countChanged(counts, delta, 1e-5, n),
    "countUnique, none": () => kernels.countUnique(counts, base, q, n),
    finishChanged: () => kernels.finishChanged(out, base, p, q, wp, n),
    "divergenceRows, 1024": () => kernels.divergenceRows(f.bins, base, delta, f.doubles, n / 1024, 1024),
    "importance, 1024": () => kernels.importance(out, delta, smooth, 0, 1024, n, n),
    addAtLeast: () => kernels.addAtLeast(out, base, delta, smooth, 0.001, n),
    zero: () => kernels.zero(out, 4 * n),
  };
}

function rankKernels(f, rows, rowLength) {
  const thresholds = put(
    Uint32Array.from({ length: rowLength }, (_, r) => (0.35 + (0.3 * r) / (rowLength - 1)) * 2 ** 32),
  );
  const table = put(Float32Array.from({ length: rowLength }, (_, r) => 1 / (0.35 + (0.3 * r) / (rowLength - 1))));
  const scratch = arena.allocate(arena.rankScratchBytes(rowLength));
  const maskOf = (d) => () => kernels.maskRanked(f.mask, d, thresholds, scratch, stream, 0, rows, rowLength);
  const scaleOf = (d) => () => kernels.scaleByRank(f.out, d, table, scratch, rows, rowLength);
  return {
    "maskRanked, smooth": maskOf(f.smooth),
    "maskRanked, tied": maskOf(f.delta),
    "scaleByRank, smooth": scaleOf(f.smooth),
    "scaleByRank, tied": scaleOf(f.delta),
  };
}

/** finishElection, the kernel with most buffers, laid as a plain bump allocator would, at distances of exactly 2^k, and by ours. */
function staggering(n) {
  const scope = arena.scope();
  const start = Math.ceil(arena.allocate(9 * 4 * n) / (4 * n)) * 4 * n;
  const aligned = Array.from({ length: 6 }, (_, i) => start + i * 4 * n);
  const staggered = Array.from({ length: 6 }, () => arena.allocate(4 * n));
  const [atPowers, asAllocated] = [aligned, staggered].map(([out, base, p, q, wp, wq]) => {
    for (const at of [out, base, p, q, wp, wq]) kernels.zero(at, 4 * n);
    return [
      nanosecondsPerElement(() => kernels.elect(p, q, wp, wq, base, 0, 0.3, 0.3, n), n),
      nanosecondsPerElement(() => kernels.finishElection(out, base, p, q, wp, wq, 1, n), n),
    ];
  });
  scope.end();
  return [atPowers[0], asAllocated[0], atPowers[1], asAllocated[1]];
}

function row(name, values) {
  console.log(`${name.padEnd(26)}${values.map((value) => value.toFixed(3).padStart(10)).join("")}`);
}

function table(title, columns, measure) {
  console.log(`\n${title.padEnd(26)}${columns.map((column) => String(column).padStart(10)).join("")}`);
  const results = new Map();
  for (const column of columns) {
    const scope = arena.scope();
    for (const [name, work, elements] of measure(column)) {
      if (!name.includes(only)) continue;
      const values = results.get(name) ?? [];
      values.push(nanosecondsPerElement(work, elements));
      results.set(name, values);
    }
    scope.end();
  }
  for (const [name, values] of results) row(name, values);
}

console.log(`${arena.kernelId}, Node ${process.version}, ns per element, best of ${RUNS} runs`);
table("elements", SIZES, (n) => Object.entries(flatKernels(buffersOf(n), n)).map(([name, work]) => [name, work, n]));
table("elements a row", ROW_LENGTHS, (rowLength) => {
  const rows = Math.floor(32_768 / rowLength);
  const entries = Object.entries(rankKernels(buffersOf(32_768), rows, rowLength));
  return entries.map(([name, work]) => [name, work, rows * rowLength]);
});
if ("staggering".includes(only)) {
  console.log("\nbuffers               elect, at 2^k | as allocated | finishElection, at 2^k | as allocated");
  for (const n of SIZES) row(String(n), staggering(n));
}
