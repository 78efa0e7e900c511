import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { type Plan, planFromText, planLines } from "../../merge/work/index.ts";
import { CHUNK_BYTES, PlanPieces, planTextOf } from "../../wire/index.ts";

const slice = (k: number) => ({ id: `s${k}`, shard: 0, offsetBytes: k, sizeBytes: 1, parts: [] });
/** A line longer than a piece, of characters of several bytes, then many short ones: more than three pieces. */
const plan = {
  version: 1,
  recipe: { note: "é".repeat(CHUNK_BYTES), noise: randomBytes(1000).toString("hex") },
  tasks: [],
  slices: Array.from({ length: 20_000 }, (_, k) => slice(k)),
} as unknown as Plan;
const text = Buffer.from([...planLines(plan)].join(""));

test.each([true, false])("the pieces of a plan are its text, however it is lined (gzip: %s)", (takesGzip) => {
  const messages = [...new PlanPieces(plan).messages(takesGzip)];
  const pieces = messages.map(planTextOf);
  expect(messages.length).toBeGreaterThan(3);
  expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(CHUNK_BYTES);
  expect(messages.every(({ chunk, gzipChunk }) => (takesGzip ? chunk : gzipChunk).length === 0)).toBe(true);
  expect(Buffer.concat(pieces).equals(text)).toBe(true);
  expect(planFromText(Buffer.concat(pieces))).toEqual(plan);
});

test("readers that overtake one another all read the whole plan", () => {
  const pieces = new PlanPieces(plan);
  const read: Uint8Array[][] = [[], [], []];
  const readers = read.map(() => pieces.messages(true));
  for (let turn = 0; turn < 30; turn++) {
    for (const [k, reader] of readers.entries()) {
      for (let steps = (turn + k) % 3; steps > 0; steps--) {
        const { value } = reader.next();
        if (value !== undefined) read[k]!.push(planTextOf(value));
      }
    }
  }
  for (const mine of read) expect(Buffer.concat(mine).equals(text)).toBe(true);
});

test("a piece that is no gzip, or one of more text than a piece has, is refused", () => {
  const message = (gzipChunk: Uint8Array) => ({ chunk: Buffer.alloc(0), gzipChunk: Buffer.from(gzipChunk) });
  expect(() => planTextOf(message(Buffer.from("no gzip")))).toThrow(/piece of a plan that is no gzip/);
  expect(() => planTextOf(message(gzipSync(Buffer.alloc(CHUNK_BYTES + 1))))).toThrow(/no gzip of up to 1048576 bytes/);
});
