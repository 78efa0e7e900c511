import { expect, test } from "vitest";
import { engineText, engineThreads } from "../../app/engine-threads.ts";

const wasm = { name: "wasm", kernelId: "w", arenas: 1, threadsMax: Number.POSITIVE_INFINITY };
const reference = { ...wasm, name: "reference" };
const graphics = { name: "graphics", kernelId: "g", arenas: 3, threadsMax: 2 };

const namesOf = (...options: Parameters<typeof engineThreads>) => engineThreads(...options).map(({ name }) => name);

test("engines of processors take turns", () => {
  expect(namesOf([wasm], 3, 100)).toEqual(["wasm", "wasm", "wasm"]);
  expect(namesOf([wasm, reference], 3, 100)).toEqual(["wasm", "reference", "wasm"]);
});

test("an engine that wants few threads has them, and the others what is left, one each at least", () => {
  expect(namesOf([graphics], 8, 100)).toEqual(["graphics", "graphics"]);
  expect(namesOf([wasm, graphics], 4, 100)).toEqual(["graphics", "graphics", "wasm", "wasm"]);
  expect(namesOf([wasm, reference, graphics], 1, 100)).toEqual(["graphics", "graphics", "wasm", "reference"]);
});

test("each thread is told how many slices it works on at once, and its memory", () => {
  expect(engineThreads([graphics], 1, 100)[0]).toEqual({ name: "graphics", arenas: 3, maximumBytes: 100 });
  expect(engineText([wasm, graphics])).toBe("wasm+graphics");
});
