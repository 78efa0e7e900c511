// Writes one checkpoint a message: { path, index }, index 0 being the base.
// Every value follows from its place and its model, so threads, order and interruptions change nothing.
import { closeSync, openSync, renameSync, writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";

const CHUNK_ELEMENTS = 1 << 22;
const TABLE = 1 << 16;
const BASE_DEVIATION = 0.02;
const DELTA_DEVIATION = 1e-3;

const { header, tensors } = workerData;
// A drawn 16-bit word picks a quantile: exact in distribution, and far cheaper than logarithms and cosines.
const quantiles = Float64Array.from({ length: TABLE }, (_, k) => normalQuantile((k + 0.5) / TABLE));
const baseValues = Float32Array.from(quantiles, (z) => BASE_DEVIATION * z);
// z + 0.15 z^3 has heavy tails, as trained deltas have; its deviation is sqrt(2.2375).
const deltas = Float32Array.from(quantiles, (z) => (DELTA_DEVIATION * (z + 0.15 * z ** 3)) / Math.sqrt(2.2375));

const chunk = new Uint16Array(CHUNK_ELEMENTS);
const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

parentPort.on("message", ({ path, index }) => {
  const descriptor = openSync(`${path}.part`, "w");
  writeAll(descriptor, header);
  let counter = 0;
  for (const { elements, mean } of tensors) {
    for (let done = 0; done < elements; done += CHUNK_ELEMENTS) {
      const count = Math.min(CHUNK_ELEMENTS, elements - done);
      fill(counter, count, mean, index);
      writeAll(descriptor, new Uint8Array(chunk.buffer, 0, 2 * count));
      counter += count;
    }
  }
  closeSync(descriptor);
  renameSync(`${path}.part`, path);
  parentPort.postMessage("written");
});

/** The elements `from` .. `from + count` of a model; the counter goes through all its tensors. */
function fill(from, count, mean, index) {
  for (let k = 0; k < count; k++) {
    float[0] = mean + baseValues[draw(from + k, 0) & 0xffff];
    if (index > 0) {
      bits[0] = roundedBf16() << 16;
      float[0] += deltas[draw(from + k, index) & 0xffff];
    }
    chunk[k] = roundedBf16();
  }
}

/** The value in `float`, to nearest even. */
function roundedBf16() {
  const word = bits[0];
  return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}

/** 32 random bits for a counter and a model: two rounds of the finalizer of MurmurHash3, the model between them. */
function draw(counter, model) {
  return mixed(mixed(counter) ^ Math.imul(model, 0x9e3779b1));
}

function mixed(word) {
  let x = word ^ (word >>> 16);
  x = Math.imul(x, 0x85ebca6b);
  x ^= x >>> 13;
  x = Math.imul(x, 0xc2b2ae35);
  return x ^ (x >>> 16);
}

/** Inverse of normalShare by bisection; only run for the table. */
function normalQuantile(probability) {
  if (probability > 0.5) return -normalQuantile(1 - probability);
  let low = -6;
  let high = 0;
  for (let step = 0; step < 50; step++) {
    const middle = (low + high) / 2;
    if (normalShare(middle) < probability) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** Share of a normal distribution below `z`: 1/2 + phi(z) (z + z^3/3 + z^5/(3 5) + ...). */
function normalShare(z) {
  let term = z;
  let sum = z;
  for (let k = 3; Math.abs(term) > 1e-18; k += 2) {
    term *= (z * z) / k;
    sum += term;
  }
  return 0.5 + (sum * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI);
}

function writeAll(descriptor, bytes) {
  for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done);
}
