import { expect, test } from "vitest";
import { maybeNumberFromText, scalarFromPlain } from "../../recipe/scalars.ts";

/** What PyYAML 6.0.3 makes of `a: <text>`. */
const pyYaml: readonly (readonly [string, string | number | boolean | null])[] = [
  ["y", "y"],
  ["n", "n"],
  ["Y", "Y"],
  ["yes", true],
  ["Yes", true],
  ["on", true],
  ["Off", false],
  ["NO", false],
  ["true", true],
  ["1e-5", "1e-5"],
  ["1.e-5", 1e-5],
  ["1.0e-5", 1e-5],
  ["1.0e5", "1.0e5"],
  ["1.5e+3", 1500.0],
  [".5", 0.5],
  ["-.5", "-.5"],
  ["+.5", "+.5"],
  ["017", 15],
  ["0o17", "0o17"],
  ["08", "08"],
  ["0_", 0],
  ["0", 0],
  ["-0", 0],
  ["+1", 1],
  ["1_000", 1000],
  ["1:30", 90],
  ["01:30", "01:30"],
  ["1:30.5", 90.5],
  ["-1:30", -90],
  ["1:70", "1:70"],
  ["0x1F", 31],
  ["-0x1f", -31],
  ["0b101", 5],
  [".inf", Number.POSITIVE_INFINITY],
  ["-.INF", Number.NEGATIVE_INFINITY],
  [".nan", Number.NaN],
  ["~", null],
  ["null", null],
  ["Null", null],
  ["nil", "nil"],
  ["1.", 1.0],
  ["1._5", 1.5],
  ["_1", "_1"],
  ["1,000", "1,000"],
  ["0.1_5", 0.15],
  [".1_", 0.1],
  ["01_7", 15],
  ["12:30:45", 45045],
  ["1e5", "1e5"],
  ["inf", "inf"],
  ["nan", "nan"],
  ["00:10.5", 10.5],
  ["+.inf", Number.POSITIVE_INFINITY],
];

test.each(pyYaml)("plain %s is read as PyYAML reads it", (text, expected) => {
  expect(scalarFromPlain(text)).toEqual(expected);
});

test.each([
  ["1e-5", 1e-5],
  [" 0.25 ", 0.25],
  ["08", 8],
  ["1_000.5", 1000.5],
  ["-3E+2", -300],
  ["0x10", 16],
])("text %s counts as a number where one is expected", (text, expected) => {
  expect(maybeNumberFromText(text)).toBe(expected);
});

test.each(["", ".", "e5", "1e", "one", "1,5", "0.5.1", "--1"])("text %j is no number", (text) => {
  expect(maybeNumberFromText(text)).toBeUndefined();
});
