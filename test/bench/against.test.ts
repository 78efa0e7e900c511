import { expect, test } from "vitest";
import { factorOf, hasSamePackages, orderOf } from "../../bench/against.mjs";

const lockOf = (version: string, packages: object, dependencies: object = { yaml: "2.9.1" }) =>
  JSON.stringify({ name: "deltaworks", version, packages: { "": { version, dependencies }, ...packages } });

test("packages are shared with a version whose lock file differs in its own version only", () => {
  const yaml = { "node_modules/yaml": { version: "2.9.1", integrity: "sha512-a" } };
  expect(hasSamePackages(lockOf("0.1.0", yaml), lockOf("0.2.0", yaml))).toBe(true);
});

test.each([
  ["another package is locked", { "node_modules/yaml": { version: "2.9.2" } }, { yaml: "2.9.1" }],
  ["a package is asked for that is not", { "node_modules/yaml": { version: "2.9.1" } }, {}],
])("packages are installed anew where %s", (_, packages, dependencies) => {
  const own = lockOf("0.1.0", { "node_modules/yaml": { version: "2.9.1" } });
  expect(hasSamePackages(own, lockOf("0.1.0", packages, dependencies))).toBe(false);
});

test("in turns either version goes first", () => {
  const firsts = [0, 1, 2, 3].map((round) => orderOf(round)[0]);
  expect(firsts).toEqual(["own", "other", "own", "other"]);
  for (let round = 0; round < 2; round++) expect([...orderOf(round)].sort()).toEqual(["other", "own"]);
});

test("the factor is the median of pairs, not a ratio of medians", () => {
  // Pairs: 2, 3, 1. Medians would give 4 / 2.
  expect(factorOf([1, 2, 5], [2, 6, 5])).toBe(2);
  expect(factorOf([1, 2, 4], [3, 4, 4])).toBe(2);
  expect(factorOf([1, 1, 10], [3, 4, 20])).toBe(3);
});

test("a pair of which one failed does not count, and where all did there is no factor", () => {
  const failedOnce: number[] = [4];
  failedOnce[2] = 9;
  expect(factorOf([2, 1, 3], failedOnce)).toBe(2.5);
  expect(factorOf([2, 1], [])).toBeUndefined();
});
