import { join } from "node:path";
import { expect, test } from "vitest";
import { mergeCommand } from "../../cli/commands/merge.ts";
import { defaultsOf } from "../../options/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { CapturedIo } from "./captured-io.ts";

test("merge --json says what plan --json does, before all else", async () => {
  const io = new CapturedIo();
  const options = {
    ...defaultsOf("merge"),
    ...{ json: true, threads: 1, engine: "reference", quiet: false, logLevel: "info" },
  };
  const recipe = join(import.meta.dirname, "../../examples/recipes/experts.yml");
  const code = await mergeCommand([recipe, join(temporaryFolder(), "out")], options, io);
  expect(code, io.err).toBe(0);
  const [planned, began] = io.objects();
  expect(planned).toMatchObject({
    event: "planned",
    plan: expect.stringMatching(/^[0-9a-f]{64}$/),
    estimate: { readBytes: expect.any(Number) },
    usage: [{ model: "experts-b", share: 1 }, { model: "experts-a" }],
    output: { architecture: "MixtralForCausalLM" },
    decisions: ["config from experts-a"],
  });
  expect(began).toMatchObject({ event: "began" });
});
