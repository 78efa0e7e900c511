import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PlainData } from "../../merge/work/index.ts";
import { Data } from "../../proto/index.ts";
import { dataOf, messageOfData } from "../../wire/index.ts";

/** Through bytes, as between two machines. */
function there(value: unknown): unknown {
  return dataOf(Data.decode(Data.encode(messageOfData(value as PlainData)).finish()));
}

const typed = fc.oneof(
  fc.uint8Array(),
  fc.uint16Array(),
  fc.int32Array(),
  fc.uint32Array(),
  fc.float32Array(),
  fc.float64Array(),
  fc.bigUint64Array(),
);
const { data } = fc.letrec<{ data: unknown }>((tie) => ({
  data: fc.oneof(
    { maxDepth: 5 },
    fc.constant(null),
    fc.boolean(),
    fc.double(),
    fc.string({ unit: "grapheme" }),
    fc.bigInt(),
    typed,
    fc.array(tie("data"), { maxLength: 4 }),
    fc.dictionary(fc.string(), tie("data"), { maxKeys: 4, noNullPrototype: true }),
  ),
}));

describe("requests, summaries and verdicts on the wire", () => {
  test("come back as they went, kinds of arrays and -0 included", () => {
    fc.assert(fc.property(data, (value) => void expect(there(value)).toStrictEqual(value)));
  });

  test("keep the payload of a NaN, in a typed array", () => {
    const bits = Uint32Array.of(0x7fc12345, 0xffaaaaaa, 0x7f800001);
    const back = there(new Float32Array(bits.buffer)) as Float32Array;
    expect(new Uint32Array(back.buffer)).toEqual(bits);
  });

  test("of a typed array that is a part of a larger one only that part travels", () => {
    const part = Float64Array.from({ length: 100 }, (_, k) => k).subarray(10, 13);
    const back = there(part) as Float64Array;
    expect(back).toEqual(Float64Array.of(10, 11, 12));
    expect(back.buffer.byteLength).toBe(24);
  });

  test("an entry named __proto__ is an entry", () => {
    const value = JSON.parse('{"__proto__":{"a":1}}') as object;
    expect(Object.keys(there(value) as object)).toEqual(["__proto__"]);
  });

  test("entries that are undefined are left out; what is no plain data is refused", () => {
    expect(there({ a: undefined, b: 1 })).toStrictEqual({ b: 1 });
    expect(() => messageOfData(new Map() as never)).toThrow("a Map cannot travel");
    expect(() => messageOfData([undefined] as never)).toThrow("undefined cannot travel");
    expect(() => messageOfData(new DataView(new ArrayBuffer(8)) as never)).toThrow("a DataView cannot travel");
  });

  test.each([
    ["nothing", { kind: undefined }],
    ["an unknown type of numbers", { kind: { $case: "arrayValue", value: { type: 99, bytes: Buffer.alloc(8) } } }],
    ["half a number", { kind: { $case: "arrayValue", value: { type: 5, bytes: Buffer.alloc(7) } } }],
    ["no whole number", { kind: { $case: "bigintValue", value: "1.5" } }],
  ] as const)("%s is refused", (_, message) => {
    expect(() => dataOf(message as unknown as Data)).toThrow(expect.objectContaining({ code: "wire/malformed" }));
  });

  test("data nested without end is refused", () => {
    let message: Data = { kind: { $case: "numberValue", value: 1 } };
    for (let depth = 0; depth < 100; depth++) message = { kind: { $case: "listValue", value: { values: [message] } } };
    expect(() => dataOf(message)).toThrow(expect.objectContaining({ code: "wire/malformed" }));
  });
});
