import { expect, test } from "vitest";
import { createEngine, EngineError, type EngineName } from "../../../merge/engines/index.ts";

test("an engine is known by its name", async () => {
  const engine = await createEngine("reference", { maximumBytes: 1 << 20 });
  expect(engine.name).toBe("reference");
});

test.each(["cuda", "toString", ""])('an unknown engine "%s" is refused, with the names there are', async (name) => {
  const refused = createEngine(name as EngineName, { maximumBytes: 1 << 20 });
  await expect(refused).rejects.toBeInstanceOf(EngineError);
  await expect(refused).rejects.toMatchObject({ code: "engine/unavailable", hint: "Choose one of: wasm, reference." });
});
