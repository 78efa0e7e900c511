import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Json } from "../../merge/work/index.ts";
import { withJsonValue, withoutJsonKey } from "../../output/documents/json-text.ts";

describe("withJsonValue", () => {
  test("leaves everything but the value as it stands", () => {
    const text = '{\n  "eps": 1e-05,\n  "layers" : 2 ,\n  "theta": 10000.0,\n  "text": "\\u00e9 \\" }"\n}\n';
    expect(withJsonValue(text, ["layers"], 30)).toBe(text.replace(" 2 ", " 30 "));
  });

  test("finds a key in a nested object, not the same key elsewhere", () => {
    const text = '{"n": 1, "vision": {"n": 2}, "text": {"a": [{"n": 3}], "n": 4}}';
    expect(withJsonValue(text, ["text", "n"], 5)).toBe(text.replace("4", "5"));
    expect(withJsonValue(text, ["n"], 5)).toBe(text.replace("1", "5"));
  });

  test("takes the last of equal keys, as JSON.parse does", () => {
    expect(withJsonValue('{"n": 1, "n": 2}', ["n"], 3)).toBe('{"n": 1, "n": 3}');
  });

  test.each([
    ['{\n  "a": 1,\n  "b": 2\n}', '{\n  "a": 1,\n  "b": 2,\n  "n": 3\n}'],
    ['{\n    "a": 1\n}', '{\n    "a": 1,\n    "n": 3\n}'],
    ['{"a": 1, "b": 2}', '{"a": 1, "b": 2, "n": 3}'],
    ["{}", '{"n": 3}'],
  ])("adds a missing key to %j in its own style", (text, expected) => {
    expect(withJsonValue(text, ["n"], 3)).toBe(expected);
  });

  test("writes a list with the indent of its place", () => {
    const text = '{\n  "inner": {\n    "types": ["a"]\n  }\n}';
    expect(withJsonValue(text, ["inner", "types"], ["a", "b"])).toBe(
      '{\n  "inner": {\n    "types": [\n      "a",\n      "b"\n    ]\n  }\n}',
    );
  });

  test("of any JSON text it makes the text of the same value with that one key set", () => {
    const object = fc.dictionary(fc.string(), fc.jsonValue());
    const spaced = fc.constantFrom(undefined, 1, 2, "\t");
    fc.assert(
      fc.property(object, fc.string(), fc.jsonValue(), spaced, (value, key, replacement, indent) => {
        fc.pre(key !== "__proto__");
        const text = withJsonValue(JSON.stringify(value, null, indent), [key], replacement as Json);
        // JSON has no negative zero.
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify({ ...value, [key]: replacement })));
      }),
      { numRuns: 500 },
    );
  });
});

describe("withoutJsonKey", () => {
  test.each([
    ['{\n  "a": 1e-05,\n  "q": {"x": [1, 2]},\n  "b": 2\n}', '{\n  "a": 1e-05,\n  "b": 2\n}'],
    ['{"q": 1, "b": 2}', '{"b": 2}'],
    ['{"a": 1, "q": 1}', '{"a": 1}'],
    ['{"q": 1}', "{}"],
    ['{"q": 1, "a": {"q": 2}, "q": 3}', '{"a": {"q": 2}}'],
    ['{"a": 1}', '{"a": 1}'],
  ])("takes the key out of %j, and leaves all else as it stands", (text, expected) => {
    expect(withoutJsonKey(text, ["q"])).toBe(expected);
  });

  test("finds a key in a nested object", () => {
    expect(withoutJsonKey('{"q": 1, "t": {"q": 2, "b": 3}}', ["t", "q"])).toBe('{"q": 1, "t": {"b": 3}}');
  });
});
