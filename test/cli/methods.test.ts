import { describe, expect, test } from "vitest";
import { methodsCommand } from "../../cli/commands/methods.ts";
import { methodDeclarations } from "../../merge/methods/index.ts";
import { CapturedIo } from "./captured-io.ts";

describe("deltaworks methods", () => {
  test("lists every method, one a line", async () => {
    const io = new CapturedIo();
    expect(await methodsCommand([], { json: false }, io)).toBe(0);
    const names = io.out
      .trimEnd()
      .split("\n")
      .map((line) => line.split(" ")[0]);
    expect(names).toEqual([...methodDeclarations().keys()]);
    expect(names).toContain("ties");
  });

  test("shows all that the declaration of one says", async () => {
    for (const method of methodDeclarations().values()) {
      const io = new CapturedIo();
      expect(await methodsCommand([method.name], { json: false }, io)).toBe(0);
      const { title, formula, documentation, deviations, parameters, refused } = method;
      const texts = [title, formula, documentation, ...deviations, ...Object.keys(parameters), ...Object.keys(refused)];
      for (const text of texts) expect(io.out).toContain(text);
    }
  });

  test("says of a parameter its type, its words or range, its default and whether it is required", async () => {
    const io = new CapturedIo();
    await methodsCommand(["dare_ties"], { json: false }, io);
    expect(io.out).toMatch(/^ {2}weight +number, required +per model and tensor {2}/m);
    expect(io.out).toMatch(/^ {2}rescale_mode +l1 \| l2 \| linf \| inverse_keep, = l1 +global {2}/m);
    expect(io.out).toMatch(/^models +1 or more, besides the base$/m);
  });

  test("--json gives the declarations, one a line", async () => {
    const io = new CapturedIo();
    await methodsCommand([], { json: true }, io);
    expect(io.objects().map(({ name }) => name)).toEqual([...methodDeclarations().keys()]);
    const one = new CapturedIo();
    await methodsCommand(["slerp"], { json: true }, one);
    expect(one.objects()).toMatchObject([{ name: "slerp", parameters: { t: { required: true } }, models: { max: 2 } }]);
  });

  test("an unknown name is a usage error that suggests the nearest, exit 2", async () => {
    const io = new CapturedIo();
    expect(await methodsCommand(["tise"], { json: false }, io)).toBe(2);
    expect(io.err).toContain('there is no method "tise", did you mean ties?');
    expect(io.out).toBe("");
  });
});
