import { join } from "node:path";
import { expect, test } from "vitest";
import { mergeCommand } from "../../cli/commands/merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { CapturedIo } from "./captured-io.ts";

test("merge --json says what plan --json does, before all else", async () => {
  const io = new CapturedIo();
  const options = {
    ...{ randomSeed: "0", sliceSize: 2 ** 25, shardSize: 5e9, allowNonfinite: false, allowUnknownKeys: false },
    ...{ allowVocabularyMismatch: false, cutEmbeddings: false, modelsRoot: undefined, json: true, threads: 1 },
    ...{ engine: "reference", overwrite: false, restart: false, hashInputs: false, keep: [], quiet: false },
    logLevel: "info",
  };
  const recipe = join(import.meta.dirname, "../../examples/recipes/experts.yml");
  const code = await mergeCommand([recipe, join(temporaryFolder(), "out")], options as never, io);
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
