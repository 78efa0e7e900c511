import { describe, expect, test } from "vitest";
import { filledRecipe, parseSweep } from "../../recipe/sweep.ts";

const names = (text: string) => parseSweep(text, "s.yml").sweep?.points.map(({ name }) => name);
const faults = (text: string) => parseSweep(text, "s.yml").faults.map(({ line, message }) => `${line}: ${message}`);

test("a grid is every combination of its lists, the first name turning slowest", () => {
  expect(names("recipe: r.yml\ngrid:\n  density: [0.3, 0.5]\n  weight: [1, 2]\n")).toEqual([
    "density=0.3,weight=1",
    "density=0.3,weight=2",
    "density=0.5,weight=1",
    "density=0.5,weight=2",
  ]);
});

test("points are added one by one, and values stay as they are written", () => {
  const { sweep } = parseSweep("recipe: r.yml\ngrid: {d: [0.50]}\npoints:\n  - {d: 1e-3}\n", "s.yml");
  expect(sweep?.points.map(({ values }) => values.get("d"))).toEqual(["0.50", "1e-3"]);
});

test("several recipes without a grid are a merge each, named after their files", () => {
  expect(names("recipes: [a/ties.yml, b/dare.yml]\nout: runs\n")).toEqual(["ties", "dare"]);
  expect(names("recipes: [ties.yml, dare.yml]\ngrid: {w: [1, 2]}\n")).toEqual([
    "ties-w=1",
    "ties-w=2",
    "dare-w=1",
    "dare-w=2",
  ]);
});

test("a gradient is a value of a grid", () => {
  const { sweep } = parseSweep("recipe: r.yml\ngrid:\n  t: [[0, 0.5, 1], 0.5]\n", "s.yml");
  expect(sweep?.points.map(({ values, name }) => [values.get("t"), name])).toEqual([
    ["[0, 0.5, 1]", "t=_0,_0.5,_1_"],
    ["0.5", "t=0.5"],
  ]);
});

describe("faults have their place", () => {
  test.each([
    ["grids: {a: [1]}\nrecipe: r.yml\ngrid: {a: [1]}\n", '1: unknown key "grids", did you mean "grid"?'],
    ["grid: {a: [1]}\n", '1: the key "recipe" is missing'],
    ["recipe: r.yml\n", '1: neither "grid" nor "points" is there, and only one recipe'],
    ["recipe: r.yml\ngrid:\n  a: []\n", '3: "a" has no values'],
    ["recipe: r.yml\ngrid:\n  a: [1, 1]\n", '1: two merges of the sweep would be called "a=1"'],
    ["recipe: r.yml\ngrid: 5\n", '2: "grid" holds 5, a map is expected'],
    ["recipe: {merge_method: ties}\ngrid: {a: [1]}\n", "1: a map stands where a recipe is expected"],
  ])("%j", (text, fault) => {
    expect(faults(text)).toContain(fault);
  });

  test("a grid beyond all measure is refused without being made", () => {
    const list = `[${Array.from({ length: 200 }, (_, k) => k).join(", ")}]`;
    expect(faults(`recipe: r.yml\ngrid:\n  a: ${list}\n  b: ${list}\n  c: ${list}\n`)).toContain(
      "4: the grid has more than 10000 points",
    );
  });
});

test("placeholders are filled wherever they stand; what has no value and what has no place is named", () => {
  const values = new Map([
    ["density", "0.3"],
    ["weight", "2"],
  ]);
  expect(filledRecipe(`a: \${density}\nb: [\${ density }, 1]\n`, values)).toEqual({
    text: "a: 0.3\nb: [0.3, 1]\n",
    unknown: [],
    unused: ["weight"],
  });
  expect(filledRecipe(`a: \${densty}\n`, values).unknown).toEqual(['densty, did you mean "density"?']);
});
