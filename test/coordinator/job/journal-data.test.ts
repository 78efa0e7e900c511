import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dataOfJson, jsonOfData } from "../../../coordinator/job/index.ts";
import type { PlainData } from "../../../merge/work/index.ts";

/** As a journal does it. */
const throughJson = (value: unknown) =>
  dataOfJson(JSON.parse(JSON.stringify(jsonOfData(value as PlainData))), "verdict/7");

describe("a verdict in a journal", () => {
  test.each([
    ["numbers that JSON does not have", [Number.NaN, Infinity, -Infinity, -0, 0, 5e-324, 0.1, null]],
    ["typed arrays", { a: Float64Array.of(Number.NaN, -0, 1 / 3), b: Uint32Array.of(7), c: new Uint16Array() }],
    ["bigints", 2n ** 80n],
    ["objects that look like what stands for a number", { $: "NaN", a: { $: "-0" }, b: { $: { map: { $: 1 } } } }],
    ["words that look like numbers", ["NaN", "-0"]],
  ])("comes back bit for bit: %s", (_, value) => {
    expect(throughJson(value)).toStrictEqual(value);
  });

  test("whatever it is made of", () => {
    const leaf = fc.oneof(fc.double(), fc.bigInt(), fc.string(), fc.boolean(), fc.constant(null), fc.float64Array());
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof({ depthSize: "small" }, leaf, fc.array(tie("tree")), fc.dictionary(keys, tie("tree"), noNull)),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        expect(throughJson(value)).toStrictEqual(value);
      }),
    );
  });

  test.each([{ $: "nan" }, { $: { f64: "AAAA" } }, { $: { bigint: "1e9" } }, { $: 7 }, { $: {} }, { $: null }])(
    "that nothing is known of is refused by name: %j",
    (json) => expect(() => dataOfJson(json, "verdict/7")).toThrow(/verdict\/7: .* stands for no value/),
  );

  test("that is no plain data is a defect of its method", () => {
    for (const value of [new Map(), () => 1, Symbol("x"), undefined])
      expect(() => jsonOfData(value as never)).toThrow();
  });
});

const keys = fc.oneof(
  fc.constant("$"),
  fc.string().filter((name) => name !== "__proto__"),
);
const noNull = { noNullPrototype: true } as const;
