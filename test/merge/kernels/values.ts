/** Uniform in [0, 1), from a seed: mulberry32, by Tommy Ettinger. Good enough to fill buffers. */
export function uniform(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Where arithmetic goes wrong first. */
const extremes = [
  0,
  -0,
  1,
  -1,
  2 ** -149,
  -(2 ** -149),
  2 ** -126,
  -(2 ** -126) * (1 - 2 ** -23),
  3.4028234663852886e38,
  -3.4028234663852886e38,
  1e-30,
  -1e30,
  1 + 2 ** -23,
  65504,
  -65520,
  448,
  -464,
];

/** Bell-shaped values around 0, every seventh an extreme one. */
export function mixed(n: number, seed: number): Float32Array {
  const random = uniform(seed);
  return Float32Array.from({ length: n }, (_, k) => {
    const bell = (random() + random() + random() - 1.5) * 0.02;
    return k % 7 === 5 ? extremes[Math.floor(random() * extremes.length)]! : bell;
  });
}

/** As mixed, with infinities and NaN in places. */
export function wild(n: number, seed: number): Float32Array {
  const random = uniform(seed + 1000);
  const specials = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  return mixed(n, seed).map((value) => (random() < 0.05 ? specials[Math.floor(random() * 3)]! : value));
}

/** Bell-shaped values without ties or extremes. */
export function bell(n: number, seed: number): Float32Array {
  const random = uniform(seed);
  return Float32Array.from({ length: n }, () => (random() + random() + random() - 1.5) * 0.02);
}

/** What deltas of bf16 models are like: small multiples of a step, many of them zero. */
export function tied(n: number, seed: number, distinct = 12): Float32Array {
  const random = uniform(seed);
  return Float32Array.from({ length: n }, () => Math.round((random() + random() - 1) * distinct) * 2 ** -13);
}

/** Mask bits, random; density of about a half. */
export function randomMask(n: number, seed: number): Uint8Array {
  const random = uniform(seed);
  const mask = Uint8Array.from({ length: Math.ceil(n / 8) }, () => Math.floor(random() * 256));
  if (n % 8 !== 0) mask[mask.length - 1]! &= (1 << (n % 8)) - 1;
  return mask;
}
