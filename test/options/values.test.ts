import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { engineNames } from "../../merge/engines/index.ts";
import {
  bytesText,
  checkOption,
  isOptionValue,
  maybeBytes,
  mergeOptions,
  type OptionDeclaration,
  parseOption,
} from "../../options/index.ts";

const { seed, sliceBytes, threads, auditShare, overwrite, keep } = mergeOptions;

describe("what people write for an option", () => {
  test.each<[OptionDeclaration, string, unknown]>([
    [seed, "0x10", "16"],
    [seed, "18446744073709551615", "18446744073709551615"],
    [sliceBytes, "512MB", 512e6],
    [sliceBytes, "1.5GiB", 1.5 * 2 ** 30],
    [sliceBytes, " 65536 ", 65536],
    [threads, "256", 256],
    [auditShare, "1%", 0.01],
    [auditShare, "1", 1],
    [mergeOptions.engine, "anything", "anything"],
  ])("%j: %j", (declaration, text, value) => {
    expect(parseOption(declaration, text)).toBe(value);
    expect(isOptionValue(declaration, value)).toBe(true);
  });

  test.each<[OptionDeclaration, string]>([
    [seed, "18446744073709551616"],
    [seed, "-1"],
    [seed, ""],
    [sliceBytes, "0"],
    [sliceBytes, "12x"],
    [sliceBytes, "9007199254740993"],
    [threads, "257"],
    [threads, "1.5"],
    [threads, "1e2"],
    [auditShare, "101%"],
    [auditShare, "-0.1"],
  ])("%j: %j is refused by the option's name", (declaration, text) => {
    const refusal = { code: "options/value", message: `${declaration.flag} cannot be "${text}"` };
    expect(() => parseOption(declaration, text)).toThrow(expect.objectContaining(refusal));
  });
});

test.each<[OptionDeclaration, unknown]>([
  [seed, 5],
  [sliceBytes, "1"],
  [sliceBytes, 1.5],
  [threads, 257],
  [auditShare, Number.NaN],
  [overwrite, 1],
  [keep, ["a", 1]],
  [seed, undefined],
])("%j: a program's %j is refused", (declaration, value) => {
  expect(() => checkOption(declaration, value)).toThrow(expect.objectContaining({ code: "options/value" }));
});

test("every default is a value of its option, and the engine's is one that there is", () => {
  for (const declaration of Object.values<OptionDeclaration>(mergeOptions)) {
    if (declaration.default !== undefined) checkOption(declaration, declaration.default);
  }
  expect(engineNames).toContain(mergeOptions.engine.default);
});

test("bytes are read as they are written", () => {
  expect([bytesText(2 ** 25), bytesText(5e9), bytesText(1001)]).toEqual(["32MiB", "5GB", "1001"]);
  const sizes = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
  fc.assert(fc.property(sizes, (bytes) => maybeBytes(bytesText(bytes)) === bytes));
});
