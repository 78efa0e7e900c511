import { describe, expect, test } from "vitest";
import {
  fnv1a64,
  type Halves,
  type PhiloxCounter,
  type PhiloxKey,
  parseSeed,
  philox4x32,
  randomThreshold,
  randomWord,
  rankedThresholds,
} from "../../../merge/math/index.ts";

const TENSOR = "model.layers.0.self_attn.q_proj.weight";

function word(seed: string, model: number, element: number, tensor = TENSOR): number {
  const { low, high } = parseSeed(seed);
  const name = fnv1a64(tensor);
  return randomWord(low, high, name.low, name.high, model, element);
}

function hex({ low, high }: Halves): string {
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
}

const words = (text: string): number[] => text.split(" ").map((digits) => Number.parseInt(digits, 16));

describe("Philox4x32-10", () => {
  // kat_vectors of the Random123 library.
  const answers: [counter: string, key: string, output: string][] = [
    ["00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
    ["ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"],
    ["243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"],
  ];
  test.each(answers)("of %s under %s is Random123's", (counter, key, output) => {
    const result = philox4x32(words(counter) as unknown as PhiloxCounter, words(key) as unknown as PhiloxKey);
    expect(result).toEqual(words(output));
  });
});

describe("FNV-1a-64", () => {
  test.each([
    ["", "cbf29ce484222325"],
    ["a", "af63dc4c8601ec8c"],
    ["foobar", "85944171f73967e8"],
    [TENSOR, "3a296639dc11febb"],
  ])('of "%s" is the published one', (text, expected) => {
    expect(hex(fnv1a64(text))).toBe(expected);
  });

  test("is taken over UTF-8, not over UTF-16 units", () => {
    let expected = 0xcbf29ce484222325n;
    for (const byte of [0xc3, 0xa9, 0xf0, 0x9f, 0x98, 0x80]) {
      expected = ((expected ^ BigInt(byte)) * 0x100000001b3n) % 2n ** 64n;
    }
    expect(hex(fnv1a64("é😀"))).toBe(expected.toString(16).padStart(16, "0"));
  });
});

describe("random words", () => {
  test.each([
    ["0", 0, "12531c07 9939082a 58e861da 11f929f5 781c0834 44496a48 7a08a8e7 10b51580"],
    ["0", 1, "000311cb 2620e098 186c0cd5 164ae297 ee670be8 4fb7f573 b6004343 01d5b185"],
    ["42", 0, "302e178b 44af240f 9cdab40a 58d5de5e e03cd58b 14292812 3cfa7e94 35b2fbe2"],
    ["42", 2, "00de064f d3ed93f2 85982add 4e4ae850 ce97f6d2 679a8054 b3a18cdd 56a22e1e"],
    ["81985529216486895", 1, "96d34a1e 7aebf490 01f0299b ccbe9528 83a8cbfa 66b228ea 4604b6e8 0f73bdd7"],
  ])("of seed %s and model %i are the specified ones", (seed, model, expected) => {
    expect(Array.from({ length: 8 }, (_, element) => word(seed, model, element))).toEqual(words(expected));
  });

  const matrix = Array.from({ length: 128 * 128 }, (_, element) => word("42", 1, element));

  test("of a whole tensor have the specified sum and members", () => {
    expect(matrix.reduce((sum, value) => sum + value)).toBe(35144994379169);
    expect(matrix[4097]).toBe(0x5b8de72a);
    expect(matrix[16383]).toBe(0x0cffe286);
  });

  test.each([
    [0.5, 2147483648, 8217, [3, 4, 6, 7, 8, 11, 13, 18, 19, 20]],
    [0.3, 1288490188, 4940, [3, 4, 6, 7, 20, 24, 29, 33, 34, 36]],
    [0.1, 429496729, 1662, [3, 4, 6, 7, 24, 29, 36, 37, 50, 53]],
  ])("keep the specified elements at density %d", (density, threshold, count, first) => {
    expect(randomThreshold(density)).toBe(threshold);
    const kept = [...matrix.keys()].filter((element) => matrix[element]! < randomThreshold(density));
    expect(kept).toHaveLength(count);
    expect(kept.slice(0, 10)).toEqual(first);
  });

  test("are addressed by the group of four beyond 2^31 elements too", () => {
    const { low, high } = fnv1a64(TENSOR);
    expect(word("7", 3, 2 ** 33 + 6)).toBe(philox4x32([0x80000001, 3, low, high], [7, 0])[2]);
    // The last that is allowed.
    expect(word("7", 3, 2 ** 34 - 1)).toBe(philox4x32([0xffffffff, 3, low, high], [7, 0])[3]);
  });
});

describe("thresholds", () => {
  test("of DELLA are the specified ones", () => {
    const expected = [1503238553, 1687308580, 1871378607, 2055448634, 2239518661, 2423588688, 2607658715, 2791728742];
    expect([...rankedThresholds(0.5, 0.15, 8)]).toEqual(expected);
  });

  // Near p = 1/4 one rounding decides. Each row refutes other orders: r / (C - 1) first, epsilon subtracted last, ...
  test.each([
    [0.21, 0.05, 11, 9, 1073741823],
    [0.21, 0.1, 11, 7, 1073741824],
    [0.29, 0.1, 11, 3, 1073741824],
  ])(
    "for density %d, epsilon %d, %i columns follow the specified order of evaluation",
    (density, epsilon, columns, rank, expected) => {
      expect(rankedThresholds(density, epsilon, columns)[rank]).toBe(expected);
    },
  );

  test("of rows of one element are the density's", () => {
    expect([...rankedThresholds(0.3, 0.15, 1)]).toEqual([1288490188]);
  });

  test("never wrap around: a last rank that rounds up to 1 gets the largest word", () => {
    const epsilon = 0.125 + 2 ** -55;
    const density = 0.875 - 2 ** -53;
    expect(density + epsilon).toBeLessThan(1);
    expect(density - epsilon + 2 * epsilon).toBe(1);
    const table = rankedThresholds(density, epsilon, 9);
    expect(table.at(-1)).toBe(0xffffffff);
    expect(table.at(-2)).toBeLessThan(0xffffffff);
  });

  test.each([
    [0.1, 0.15],
    [0.15, 0.15],
    [0.9, 0.15],
    [0.5, -0.1],
    [Number.NaN, 0.1],
  ])("for density %d and epsilon %d are refused", (density, epsilon) => {
    expect(() => rankedThresholds(density, epsilon, 8)).toThrow(RangeError);
  });

  test.each([1, 1.5, -0.1, Number.NaN])("for probability %d is refused", (probability) => {
    expect(() => randomThreshold(probability)).toThrow(RangeError);
  });
});

describe("a seed", () => {
  test.each([
    ["0", "0000000000000000"],
    ["42", "000000000000002a"],
    ["0x2A", "000000000000002a"],
    ["007", "0000000000000007"],
    ["81985529216486895", "0123456789abcdef"],
    ["9007199254740993", "0020000000000001"], // 2^53 + 1: no double
    ["18446744073709551615", "ffffffffffffffff"],
    ["0xffffffffffffffff", "ffffffffffffffff"],
  ])("%s is read to the last bit", (text, expected) => {
    expect(hex(parseSeed(text))).toBe(expected);
  });

  test.each([
    "",
    " 1",
    "-1",
    "+1",
    "1.0",
    "1e3",
    "0x",
    "0b1",
    "1_000",
    "1n",
    "18446744073709551616",
    "0x10000000000000000",
  ])('"%s" is refused, and quoted', (text) => {
    expect(() => parseSeed(text)).toThrow(RangeError);
    expect(() => parseSeed(text)).toThrow(`"${text}"`);
  });
});
