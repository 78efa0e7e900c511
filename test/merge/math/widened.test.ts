import { expect, test } from "vitest";
import { type StoredFormat, widenedToF32 } from "../../../merge/math/index.ts";
import { codings } from "../engines/awkward-values.ts";

test.each(Object.keys(codings) as (keyof typeof codings)[])("%s: every code is what it stands for", (format) => {
  const { codes, array, decode } = codings[format];
  const stored = array(Array.from({ length: codes }, (_, code) => code));
  const values = widenedToF32(new Uint8Array(stored.buffer), format);
  expect([...values]).toEqual(Array.from({ length: codes }, (_, code) => Math.fround(decode(code))));
});

test.each<[StoredFormat, ArrayBufferView]>([
  ["F32", Float32Array.of(1, 0.1, -0)],
  ["F64", Float64Array.of(1, Math.fround(0.1) + 2 ** -60, -0)],
])("%s that begins anywhere among bytes; float64 is rounded to nearest even", (format, { buffer, byteLength }) => {
  const within = new Uint8Array(byteLength + 3);
  within.set(new Uint8Array(buffer), 3);
  expect([...widenedToF32(within.subarray(3), format)]).toEqual([1, Math.fround(0.1), -0]);
});

test("float64 half-way between two values becomes the even one", () => {
  const stored = Float64Array.of(1 + 2 ** -24, 1 + 3 * 2 ** -24, 1e300);
  expect([...widenedToF32(new Uint8Array(stored.buffer), "F64")]).toEqual([1, 1 + 2 ** -22, Number.POSITIVE_INFINITY]);
});
