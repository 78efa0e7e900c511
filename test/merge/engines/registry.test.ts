import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  checkEngineNames,
  chooseEngines,
  type EngineDeclaration,
  EngineError,
  engineNames,
  openDevice,
} from "../../../merge/engines/index.ts";

const folder = join(import.meta.dirname, "../../../merge/engines");
const folders = readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);

test("every folder of an engine declares one of the folder's name, which the registry has, and no other", async () => {
  expect(engineNames.toSorted()).toEqual(folders.toSorted());
  for (const name of folders) {
    const door = (await import(/* @vite-ignore */ join(folder, name, "index.ts"))) as Record<string, EngineDeclaration>;
    expect(door[name]?.name).toBe(name);
    expect(await chooseEngines(name)).toMatchObject([{ name, arenas: 1, threadsMax: Number.POSITIVE_INFINITY }]);
    expect((await openDevice(name)).name).toBe(name);
  }
});

test("several are named with + between them; auto is what this machine has, but for the one to measure by", async () => {
  expect((await chooseEngines("wasm+reference")).map(({ name }) => name)).toEqual(["wasm", "reference"]);
  expect((await chooseEngines("auto")).map(({ name }) => name)).toEqual(["wasm"]);
  expect(() => checkEngineNames("auto")).not.toThrow();
});

test.each([
  ["cuda", "cuda"],
  ["toString", "toString"],
  ["", ""],
  ["wasm+cuda", "cuda"],
  ["wasm+", ""],
  ["auto+wasm", "auto"],
])('of "%s" the unknown engine "%s" is refused, with the names there are', async (text, unknown) => {
  const refusal = {
    code: "engine/unavailable",
    message: `There is no engine "${unknown}".`,
    hint: "Choose one of: wasm, reference; several with + between them; or auto.",
  };
  const refused = chooseEngines(text);
  await expect(refused).rejects.toBeInstanceOf(EngineError);
  await expect(refused).rejects.toMatchObject(refusal);
  expect(() => checkEngineNames(text)).toThrow(expect.objectContaining(refusal));
});

test("an engine that is named twice is refused", () => {
  expect(() => checkEngineNames("wasm+reference+wasm")).toThrow(/"wasm" is named twice/);
});
