import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { CheckpointError, parseShardIndex, scanHeader } from "../../checkpoint/index.ts";

const models = "examples/models";

/** Headers and data lengths of real files. */
const headers = filesOf(/\.safetensors$/).map((path) => {
  const file = readFileSync(path);
  const headerBytes = Number(file.readBigUInt64LE(0));
  return { text: file.subarray(8, 8 + headerBytes), dataBytes: file.length - 8 - headerBytes };
});
const indexes = filesOf(/\.safetensors\.index\.json$/).map((path) => readFileSync(path));

type Mutation = (text: Buffer) => Buffer;

const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const words = [
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  '"',
  "\\",
  "\\u0000",
  "-1",
  "1e9",
  "9007199254740993",
  "null",
  "__proto__",
  "\xff",
  "\0",
];

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(place, fc.nat(255)).map(
    ([at, bits]): Mutation =>
      (text) => {
        const changed = Buffer.from(text);
        const k = Math.floor(at * text.length);
        changed[k] = (changed[k] ?? 0) ^ bits;
        return changed;
      },
  ),
  place.map(
    (at): Mutation =>
      (text) =>
        text.subarray(0, Math.floor(at * text.length)),
  ),
  // A piece of the text put in another place, or over it
  fc.tuple(place, place, place, fc.nat(120), fc.boolean()).map(
    ([, from, to, length, over]): Mutation =>
      (text) => {
        const piece = text.subarray(Math.floor(from * text.length)).subarray(0, length);
        const k = Math.floor(to * text.length);
        return Buffer.concat([text.subarray(0, k), piece, text.subarray(over ? k + length : k)]);
      },
  ),
  fc.tuple(place, fc.constantFrom(...words)).map(
    ([at, word]): Mutation =>
      (text) => {
        const k = Math.floor(at * text.length);
        return Buffer.concat([text.subarray(0, k), Buffer.from(word, "latin1"), text.subarray(k)]);
      },
  ),
  // One of the numbers becomes another
  fc.tuple(place, fc.oneof(fc.nat(2000), fc.bigInt(0n, 1n << 70n), fc.constant(-1))).map(
    ([at, number]): Mutation =>
      (text) => {
        const found = [...text.toString("latin1").matchAll(/\d+/g)];
        const chosen = found[Math.floor(at * found.length)];
        if (chosen === undefined) return text;
        const end = chosen.index + chosen[0].length;
        return Buffer.concat([text.subarray(0, chosen.index), Buffer.from(String(number)), text.subarray(end)]);
      },
  ),
);
const mutations = fc.array(mutation, { minLength: 0, maxLength: 3 });
const mutated = (text: Buffer, changes: readonly Mutation[]) => changes.reduce((now, change) => change(now), text);

test("a mutated header is refused with a CheckpointError, or all of its tensors tile the data", () => {
  let accepted = 0;
  let refused = 0;
  const property = fc.property(
    fc.constantFrom(...headers),
    mutations,
    fc.boolean(),
    ({ text, dataBytes }, changes, cut) => {
      const header = mutated(text, changes);
      const bytes = cut ? dataBytes - 1 : dataBytes;
      try {
        const { entries } = scanHeader(header, bytes, "fuzz");
        accepted++;
        let at = 8 + header.length;
        for (const tensor of entries) {
          expect(tensor.offsetBytes).toBe(at);
          at += tensor.sizeBytes;
        }
        expect(at).toBe(8 + header.length + bytes);
        // What we accept, JSON.parse reads the same way.
        const { __metadata__, ...parsed } = JSON.parse(header.toString("utf8"));
        expect(new Set(entries.map((tensor) => tensor.name))).toEqual(new Set(Object.keys(parsed)));
        for (const tensor of entries) {
          const { dtype, shape } = parsed[tensor.name];
          expect(tensor).toMatchObject({ dtype, shape });
        }
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        refused++;
      }
    },
  );
  fc.assert(property, { numRuns: 6000 });
  expect(accepted).toBeGreaterThan(100);
  expect(refused).toBeGreaterThan(1000);
});

test("a mutated index is refused with a CheckpointError, or names files that stay in its folder", () => {
  const property = fc.property(fc.constantFrom(...indexes), mutations, (text, changes) => {
    try {
      for (const [tensor, file] of parseShardIndex(mutated(text, changes), "fuzz")) {
        expect(Buffer.byteLength(tensor)).toBeLessThanOrEqual(1024);
        expect(join("/folder", file)).toBe(`/folder/${file}`);
      }
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
    }
  });
  fc.assert(property, { numRuns: 2000 });
});

test("any bytes at all are refused with a CheckpointError, or are a header", () => {
  const property = fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(100), (bytes, dataBytes) => {
    try {
      scanHeader(Buffer.concat([Buffer.from("{"), bytes]), dataBytes, "fuzz");
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
    }
  });
  fc.assert(property, { numRuns: 3000 });
});

function filesOf(pattern: RegExp): string[] {
  const paths = readdirSync(models, { recursive: true, encoding: "utf8" });
  return paths
    .filter((path) => pattern.test(path))
    .sort()
    .map((path) => join(models, path));
}
