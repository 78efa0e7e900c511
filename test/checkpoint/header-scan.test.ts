import { describe, expect, test } from "vitest";
import { CheckpointError, type ScannedHeader, scanHeader } from "../../checkpoint/index.ts";

const scan = (header: string | Uint8Array, dataBytes: number): ScannedHeader =>
  scanHeader(Buffer.from(header), dataBytes, "m.safetensors");

/** One F32 tensor of two elements under the name, given as it stands in the JSON. */
const named = (name: string) => `{"${name}":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`;
/** A tensor with some members replaced. */
const entry = (members: Record<string, unknown>) =>
  JSON.stringify({ w: { dtype: "F32", shape: [2], data_offsets: [0, 8], ...members } });
/** U8 vectors at these places. */
const placed = (...ranges: readonly [number, number][]) =>
  JSON.stringify(
    Object.fromEntries(
      ranges.map(([begin, end], k) => [`t${k}`, { dtype: "U8", shape: [end - begin], data_offsets: [begin, end] }]),
    ),
  );

function fault(header: string | Uint8Array, dataBytes = 8): CheckpointError {
  try {
    scan(header, dataBytes);
  } catch (error) {
    if (error instanceof CheckpointError) return error;
    throw error;
  }
  throw new Error("the header was accepted");
}

describe("scanHeader", () => {
  test("gives every tensor in the order of offsets, counted from the start of the file", () => {
    const header = `{"b":{"dtype":"BF16","shape":[3,1],"data_offsets":[8,14]},
      "__metadata__":{"format":"pt","a\\nb":"c\\u00e9"}, "a" : { "data_offsets" : [ 0 , 8 ] , "shape" : [ ] , "dtype" : "I64" } }   `;
    const { entries, metadata } = scanHeader(Buffer.from(header), 14, "m", 5);
    const dataStart = 8 + Buffer.byteLength(header);
    expect(entries).toEqual([
      { name: "a", dtype: "I64", shape: [], elementCount: 1, file: 5, offsetBytes: dataStart, sizeBytes: 8 },
      { name: "b", dtype: "BF16", shape: [3, 1], elementCount: 3, file: 5, offsetBytes: dataStart + 8, sizeBytes: 6 },
    ]);
    expect([...metadata]).toEqual([
      ["format", "pt"],
      ["a\nb", "cé"],
    ]);
  });

  test.each(
    ["F64", "I64", "U64", "F32", "I32", "U32", "F16", "BF16", "I16", "U16"]
      .map((dtype) => [dtype])
      .concat(["F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"].map((dtype) => [dtype])),
  )("knows how long elements of %s are", (dtype) => {
    const bytes = /64/.test(dtype) ? 8 : /32/.test(dtype) ? 4 : /16/.test(dtype) ? 2 : 1;
    const header = entry({ dtype, data_offsets: [0, 2 * bytes] });
    expect(scan(header, 2 * bytes).entries).toMatchObject([{ dtype, sizeBytes: 2 * bytes }]);
    expect(fault(entry({ dtype, data_offsets: [0, 2 * bytes + 1] }), 2 * bytes + 1).code).toBe(
      "checkpoint/offsets-size",
    );
  });

  test("accepts a header without tensors, empty tensors anywhere on a border, and data beyond 4 GiB", () => {
    expect(scan("{}", 0).entries).toEqual([]);
    const empty = placed([4, 8], [4, 4], [0, 4], [0, 0], [8, 8]);
    expect(scan(empty, 8).entries.map((tensor) => tensor.name)).toEqual(["t3", "t2", "t1", "t0", "t4"]);
    const far = 6 * 2 ** 32;
    expect(scan(placed([0, far], [far, far + 1]), far + 1).entries[1]?.sizeBytes).toBe(1);
  });

  test.each([
    ["F4", [3, 2], 3],
    ["F4", [], undefined],
    ["F6_E2M3", [4], 3],
    ["F6_E3M2", [2, 2, 2], 6],
    ["F8_E8M0", [3], 3],
    ["F8_E4M3FNUZ", [3], 3],
    ["F8_E5M2FNUZ", [], 1],
    ["C64", [2], 16],
  ])("elements of %s and shape %j take the bytes that their bits fill: %s", (dtype, shape, bytes) => {
    const of = (end: number) => scan(JSON.stringify({ w: { dtype, shape, data_offsets: [0, end] } }), end).entries;
    if (bytes === undefined) expect(() => of(1)).toThrow(/do not fill whole bytes/);
    else expect(of(bytes)).toMatchObject([{ dtype, shape, sizeBytes: bytes }]);
  });

  test.each([
    ["\\u0061\\/b", "a/b"],
    ["\\ud83d\\ude00", "😀"],
    ["\\uD83D\\uDE00é漢😀", "😀é漢😀"],
    ["\\u00e9\\u6f22", "é漢"],
    ['q\\"\\\\', 'q"\\'],
    ["é".repeat(512), "é".repeat(512)],
    ["\\u00e9".repeat(512), "é".repeat(512)],
  ])("reads the name %s as JSON.parse does", (name, expected) => {
    expect(scan(named(name), 8).entries[0]?.name).toBe(expected);
    expect(JSON.parse(`"${name}"`)).toBe(expected);
  });

  test.each<[string, string, string | Uint8Array, number?]>([
    ["checkpoint/header-start", "an empty header", ""],
    ["checkpoint/header-start", "white space before the header", ` ${named("w")}`],
    ["checkpoint/header-start", "a list", "[]"],
    ["checkpoint/header-trailing", "anything after the end", `${named("w")}  x`],
    ["checkpoint/header-trailing", "a line feed after the end", `${named("w")}\n`],
    ["checkpoint/header-trailing", "a second object", `${named("w")}{}`],
    ["checkpoint/json", "an end in the middle", named("w").slice(0, -1)],
    ["checkpoint/json", "an end in a name", '{"w'],
    ["checkpoint/json", "a comma too many", named("w").replace("]}}", "]},}")],
    ["checkpoint/json", "a missing colon", named("w").replace('"w":', '"w"')],
    ["checkpoint/json", "a name without quotes", named("w").replace('"w"', "w")],
    ["checkpoint/json", "an unknown escape", named("\\x41")],
    ["checkpoint/json", "an escape cut short", named("\\u00g0")],
    ["checkpoint/json", "a raw control character", named("a\nb")],
    ["checkpoint/json", "a number where an entry belongs", '{"w":3}'],
    ["checkpoint/json", "null as dtype", entry({ dtype: null })],
    ["checkpoint/json", "one offset", entry({ data_offsets: [0] })],
    ["checkpoint/json", "three offsets", entry({ data_offsets: [0, 8, 8] })],
    ["checkpoint/json", "a string as length", entry({ shape: ["2"] })],
    ["checkpoint/json-depth", "a shape in a shape", entry({ shape: [[2]] })],
    ["checkpoint/json-depth", "a hundred thousand brackets", `{"w":{"shape":${"[".repeat(100_000)}`],
    ["checkpoint/json-depth", "an object as dtype", entry({ dtype: { a: 1 } })],
    ["checkpoint/json-utf8", "a name in Latin-1", Buffer.from(named("é"), "latin1")],
    ["checkpoint/json-utf8", "an overlong slash", Buffer.from(named("\xc0\xaf"), "latin1")],
    ["checkpoint/json-utf8", "an overlong form of three bytes", Buffer.from(named("\xe0\x80\xaf"), "latin1")],
    ["checkpoint/json-utf8", "a surrogate in UTF-8", Buffer.from(named("\xed\xa0\x80"), "latin1")],
    ["checkpoint/json-utf8", "a code point past the last", Buffer.from(named("\xf4\x90\x80\x80"), "latin1")],
    ["checkpoint/json-utf8", "a character cut short", Buffer.from(named("\xf0\x9f\x98"), "latin1")],
    ["checkpoint/json-utf8", "the first half of a pair", named("\\ud83d")],
    ["checkpoint/json-utf8", "the second half of a pair", named("\\ude00")],
    ["checkpoint/json-utf8", "two first halves", named("\\ud83d\\ud83d")],
    ["checkpoint/json-number", "a negative length", entry({ shape: [-2] })],
    ["checkpoint/json-number", "a fraction", entry({ shape: [2.5] })],
    ["checkpoint/json-number", "a fraction that is whole", named("w").replace("[2]", "[2.0]")],
    ["checkpoint/json-number", "an exponent", named("w").replace("[2]", "[2e0]")],
    ["checkpoint/json-number", "a leading zero", named("w").replace("[2]", "[02]")],
    ["checkpoint/json-number", "a number past 2^53 - 1", named("w").replace("[2]", "[9007199254740992]")],
    ["checkpoint/json-number", "a number of a million digits", named("w").replace("[2]", `[${"9".repeat(1_000_000)}]`)],
    ["checkpoint/json-number", "true as length", entry({ shape: [true] })],
    ["checkpoint/duplicate-key", "two dtypes", named("w").replace('"shape"', '"dtype":"F32","shape"')],
    ["checkpoint/duplicate-key", "two shapes", named("w").replace('"data', '"shape":[2],"data')],
    ["checkpoint/duplicate-key", "two ranges", named("w").replace("}}", ',"data_offsets":[0,8]}}')],
    ["checkpoint/duplicate-key", "two __metadata__", `{"__metadata__":{},"__metadata__":{},${named("w").slice(1)}`],
    ["checkpoint/duplicate-key", "a key of the metadata twice", '{"__metadata__":{"a":"","\\u0061":""}}', 0],
    ["checkpoint/proto-key", "a tensor called __proto__", named("__proto__")],
    ["checkpoint/proto-key", "a tensor called __proto__, written with an escape", named("__proto\\u005f_")],
    ["checkpoint/proto-key", "__proto__ in an entry", named("w").replace('"shape"', '"__proto__":{},"shape"')],
    ["checkpoint/proto-key", "__proto__ in the metadata", '{"__metadata__":{"__proto__":""}}', 0],
    ["checkpoint/tensor-name", "an empty name", named("")],
    ["checkpoint/tensor-name", "a name of more than 1 kB", named("w".repeat(1025))],
    ["checkpoint/tensor-name", "a name of more than 1 kB in UTF-8", named("é".repeat(513))],
    ["checkpoint/tensor-name", "an escaped control character", named("a\\u001b[2J")],
    ["checkpoint/tensor-name", "an escaped line feed", named("a\\n")],
    ["checkpoint/tensor-name", "DEL", named("a\x7f")],
    ["checkpoint/tensor-name", "a C1 control character", named("a\u009b")],
    ["checkpoint/duplicate-tensor", "a name twice", `${named("w").slice(0, -1)},${named("w").slice(1)}`],
    [
      "checkpoint/duplicate-tensor",
      "a name in two spellings",
      `${named("w").slice(0, -1)},${named("\\u0077").slice(1)}`,
    ],
    [
      "checkpoint/duplicate-tensor",
      "two spellings, escape first",
      `${named("\\u0077").slice(0, -1)},${named("w").slice(1)}`,
    ],
    [
      "checkpoint/duplicate-tensor",
      "one spelling with an escape",
      `${named("\\u0077").slice(0, -1)},${named("\\u0077").slice(1)}`,
    ],
    ["checkpoint/entry-keys", "no dtype", '{"w":{"shape":[2],"data_offsets":[0,8]}}'],
    ["checkpoint/entry-keys", "no shape", '{"w":{"dtype":"F32","data_offsets":[0,8]}}'],
    ["checkpoint/entry-keys", "no range", '{"w":{"dtype":"F32","shape":[2]}}'],
    ["checkpoint/entry-keys", "an unknown key", entry({ strides: [1] })],
    ["checkpoint/dtype-unknown", "a dtype nobody knows", entry({ dtype: "F33" })],
    ["checkpoint/dtype-unknown", "a dtype in lower case", entry({ dtype: "f32" })],
    ["checkpoint/offsets-size", "codes of half a byte as if of one", entry({ dtype: "F4", shape: [8] })],
    ["checkpoint/offsets-size", "codes that leave a byte half full", entry({ dtype: "F4", shape: [15] })],
    ["checkpoint/offsets-size", "codes of six bits in bytes of their own", entry({ dtype: "F6_E2M3", shape: [8] })],
    ["checkpoint/shape-rank", "65 dimensions", entry({ shape: Array(65).fill(1), data_offsets: [0, 4] })],
    ["checkpoint/shape-overflow", "a product past 2^53", entry({ shape: [2 ** 30, 2 ** 30] })],
    [
      "checkpoint/shape-overflow",
      "a product that would wrap to the right size",
      entry({ shape: [2 ** 32, 2 ** 32, 2] }),
    ],
    [
      "checkpoint/shape-overflow",
      "a product hidden behind a zero",
      entry({ shape: [0, 2 ** 52, 2 ** 52], data_offsets: [0, 0] }),
    ],
    ["checkpoint/shape-overflow", "bytes past 2^53", entry({ shape: [2 ** 51, 3] })],
    ["checkpoint/offsets-backwards", "an end before the begin", entry({ data_offsets: [8, 0] })],
    ["checkpoint/offsets-past-end", "an end past the file", entry({ shape: [3], data_offsets: [0, 12] })],
    ["checkpoint/offsets-size", "fewer bytes than the shape asks for", entry({ data_offsets: [0, 4] })],
    ["checkpoint/offsets-overlap", "one range twice", placed([0, 8], [0, 8])],
    ["checkpoint/offsets-overlap", "a range in another", placed([0, 8], [2, 4])],
    ["checkpoint/offsets-overlap", "ranges that share a byte", placed([4, 8], [0, 5])],
    ["checkpoint/offsets-overlap", "an empty tensor inside another", placed([0, 8], [4, 4])],
    ["checkpoint/offsets-hole", "a hole at the start", placed([1, 8])],
    ["checkpoint/offsets-hole", "a hole in the middle", placed([5, 8], [0, 4])],
    ["checkpoint/offsets-hole", "a hole at the end", placed([0, 4], [4, 7])],
    ["checkpoint/offsets-hole", "a hole at the end of ranges out of order", placed([4, 7], [0, 4])],
    ["checkpoint/offsets-hole", "data without a tensor", "{}"],
    ["checkpoint/metadata", "metadata that is no object", '{"__metadata__":"pt"}', 0],
    ["checkpoint/metadata", "a number in the metadata", '{"__metadata__":{"a":1}}', 0],
    ["checkpoint/metadata", "an object in the metadata", '{"__metadata__":{"a":{}}}', 0],
    ["checkpoint/metadata", "a key of more than 1 kB", `{"__metadata__":{"${"a".repeat(1025)}":""}}`, 0],
    [
      "checkpoint/metadata",
      "more keys than allowed",
      JSON.stringify({ __metadata__: Object.fromEntries(Array.from({ length: 10_001 }, (_, k) => [`k${k}`, ""])) }),
      0,
    ],
  ])("refuses with %s: %s", (code, _what, header, dataBytes) => {
    const error = fault(header, dataBytes);
    expect(error).toMatchObject({ name: "CheckpointError", code, retryable: false });
    expect(error.message).toContain("m.safetensors");
    expect(error.hint).not.toBe("");
  });

  test("names the tensor, what was found and what is allowed", () => {
    expect(fault(entry({ data_offsets: [0, 4] })).message).toBe(
      'm.safetensors, tensor "w": its data_offsets span 4 bytes, its dtype and shape ask for 8',
    );
    expect(fault(placed([0, 6], [4, 8])).message).toContain('tensors "t1" [4, 8] and "t0" [0, 6] overlap');
    expect(fault(placed([5, 8], [0, 4])).message).toContain('bytes 4 to 5 of the data, before tensor "t0"');
    expect(fault(entry({ shape: [-2] })).message).toMatch(/tensor "w": -2 found in a shape.*0 to 9007199254740991/);
  });

  test("does not pass terminal commands from a file on to the message", () => {
    const error = fault(entry({ "\u001b[2J\u009b": 1 }));
    expect(error.code).toBe("checkpoint/entry-keys");
    expect(error.message).not.toMatch(/\p{Cc}/u);
  });

  test("refuses the tensor after the millionth", () => {
    const tensor = (k: number) => `"${k}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`;
    const tensors = Array.from({ length: 1_000_001 }, (_, k) => tensor(k));
    expect(fault(`{${tensors.join(",")}}`, 0).code).toBe("checkpoint/too-many-tensors");
  });

  test("stops at the first fault, whatever follows", () => {
    const broken = Buffer.concat([Buffer.from('{"a":{"dtype":"F33"'), Buffer.alloc(100, 0xff)]);
    expect(fault(broken).code).toBe("checkpoint/dtype-unknown");
  });
});
