import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PlainData } from "../../merge/work/index.ts";
import { Data } from "../../proto/index.ts";
import { DataIntake, dataBytes, messageOfData, packedData } from "../../wire/index.ts";
import { piecesOf } from "../../worker/transfer/index.ts";

/** Through a stream whose pieces are so long. */
function throughPieces(value: unknown, pieceBytes: number): unknown {
  const { structure, arrays, arrayBytes } = packedData(value as PlainData);
  const intake = new DataIntake(structure.length, arrayBytes);
  for (const piece of piecesOf([structure, ...arrays], pieceBytes)) {
    expect(piece.length).toBeLessThanOrEqual(pieceBytes);
    intake.write(piece);
  }
  return intake.finish();
}

test("data in pieces is what it was, bit for bit, wherever it is cut", () => {
  const leaf = fc.oneof(
    ...[fc.double(), fc.string(), fc.bigInt(), fc.boolean(), fc.constant(null)],
    ...[fc.float64Array(), fc.uint16Array(), fc.uint32Array(), fc.uint8Array()],
  );
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: "small" },
      leaf,
      fc.array(tie("tree")),
      fc.dictionary(
        fc.string().filter((name) => name !== "__proto__"),
        tie("tree"),
        { noNullPrototype: true },
      ),
    ),
  }));
  fc.assert(
    fc.property(tree, fc.integer({ min: 1, max: 64 }), (value, pieceBytes) => {
      expect(throughPieces(value, pieceBytes)).toStrictEqual(value);
    }),
  );
});

test("the bytes of arrays are not copied to be sent, and are in no structure", () => {
  const numbers = new Float64Array(1000).fill(0.1);
  const { structure, arrays, arrayBytes } = packedData({ a: [numbers], b: numbers.subarray(10, 20) });
  expect(arrays.map(({ buffer, length }) => [buffer === numbers.buffer, length])).toEqual([
    [true, 8000],
    [true, 80],
  ]);
  expect(arrayBytes).toBe(8080);
  expect(structure.length).toBeLessThan(100);
});

test("sizes are known without encoding", () => {
  for (const value of [
    { a: new Uint32Array(5000), b: [1, 2, "three", null] },
    Array.from({ length: 300 }, (_, k) => k),
  ]) {
    const encoded = Data.encode(messageOfData(value)).finish().length;
    expect(dataBytes(value)).toBeGreaterThanOrEqual(encoded);
    expect(dataBytes(value)).toBeLessThan(1.5 * encoded + 100);
  }
});

describe("what no end of ours sends is refused", () => {
  const { structure, arrayBytes } = packedData({ a: new Uint32Array(4) });
  const all = Buffer.concat([structure, new Uint8Array(16)]);
  const cases: readonly (readonly [string, number, number, Uint8Array, RegExp])[] = [
    ["no structure", 0, 16, all, /without a structure/],
    ["a structure that is none", 3, 0, Buffer.from("xyz"), /cannot be read|without a value/],
    ["less than all", structure.length, arrayBytes, all.subarray(0, -1), /without its end/],
    ["more than all", structure.length, arrayBytes, Buffer.concat([all, all]), /more bytes than its arrays have/],
    ["arrays larger than was said", structure.length, 15, all, /an array of 16 bytes where 15 are left/],
    ["arrays smaller than was said", structure.length, 17, all, /1 bytes that belong to no array/],
    ["a size that no memory has", 2 ** 52, 0, all, /data of 4503599627370496 bytes/],
    [
      "half a number",
      structureOf(15).length,
      15,
      Buffer.concat([structureOf(15), new Uint8Array(15)]),
      /15 bytes of numbers/,
    ],
  ];
  test.each(cases)("%s", (_, structureBytes, arrayBytes, bytes, said) => {
    const receive = () => {
      const intake = new DataIntake(structureBytes, arrayBytes);
      intake.write(bytes);
      intake.finish();
    };
    expect(receive).toThrow(said);
    expect(receive).toThrow(expect.objectContaining({ code: "wire/malformed" }));
  });
});

function structureOf(followingBytes: number): Uint8Array {
  const { kind } = messageOfData(new Uint32Array());
  if (kind?.$case !== "arrayValue") throw new Error("no array");
  const value = { ...kind.value, followingBytes: BigInt(followingBytes) };
  return Data.encode({ kind: { $case: "arrayValue", value } }).finish();
}
