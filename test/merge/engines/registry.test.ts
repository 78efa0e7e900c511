import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  checkEngine,
  checkEngineName,
  type EngineDeclaration,
  EngineError,
  engineNames,
  openDevice,
} from "../../../merge/engines/index.ts";

const folder = join(import.meta.dirname, "../../../merge/engines");
const folders = readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);

test("every folder of an arena declares one of the folder's name, which the registry has, and no other", async () => {
  expect(engineNames.toSorted()).toEqual(folders.toSorted());
  for (const name of folders) {
    const door = (await import(/* @vite-ignore */ join(folder, name, "index.ts"))) as Record<string, EngineDeclaration>;
    expect(door[name]?.name).toBe(name);
    await checkEngine(name);
    expect((await openDevice(name)).name).toBe(name);
  }
});

test.each(["cuda", "toString", ""])('an unknown arena "%s" is refused, with the names there are', async (name) => {
  const refusal = { code: "engine/unavailable", hint: "Choose one of: wasm, reference." };
  const refused = openDevice(name);
  await expect(refused).rejects.toBeInstanceOf(EngineError);
  await expect(refused).rejects.toMatchObject(refusal);
  await expect(checkEngine(name)).rejects.toMatchObject(refusal);
  expect(() => checkEngineName(name)).toThrow(expect.objectContaining(refusal));
});
