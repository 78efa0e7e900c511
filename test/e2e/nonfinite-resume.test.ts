/** Verdicts of values that are let through, NaN and infinities among them, cross the journal: a merge goes on in the same bits. */
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { methodNamed } from "../../merge/methods/index.ts";
import { f32Of } from "../merge/engines/awkward-values.ts";
import { MODEL_NAMES } from "../runtime/generated-models.ts";
import { recipeOf, variants } from "../runtime/method-variants.ts";
import { differencesBetween } from "../runtime/tensor-bits.ts";
import { type MergeSettings, mergedTensors, runMerge } from "../support/run-merge.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

/** Of two blocks, so that slices of a block share each tensor. */
const SHAPE = [702, 131];

/** One value among ordinary ones says nothing of the others, but for what is found over the whole tensor: norms, thresholds, scales. */
const poisons: Readonly<Record<string, readonly [model: number, value: number][]>> = {
  "infinite.model": [[1, Number.POSITIVE_INFINITY]],
  "infinite.models": MODEL_NAMES.map((_, k) => [k + 1, Number.NEGATIVE_INFINITY]),
  "nan.models": MODEL_NAMES.map((_, k) => [k + 1, Number.NaN]),
  "infinite.base": [[0, Number.POSITIVE_INFINITY]],
  none: [],
};

const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-nonfinite-"));
const models = join(scratch, "models");
beforeAll(() => {
  for (const [model, name] of ["base", ...MODEL_NAMES].entries()) {
    const tensors = Object.entries(poisons).map(([tensor, poison], k) => {
      const values = f32Of({ style: "ordinary", equal: false, seed: 10 * k + model }, SHAPE[0]! * SHAPE[1]!);
      for (const [whose, value] of poison) if (whose === model) values[70_000 + model] = value;
      return { name: tensor, dtype: "F32" as const, shape: SHAPE, bytes: new Uint8Array(values.buffer) };
    });
    writeSafetensors(join(models, name, "model.safetensors"), tensors);
  }
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const settings: Partial<MergeSettings> & Pick<MergeSettings, "models"> = {
  models,
  sliceBytes: 1,
  surveyElements: 1,
  allowNonfinite: true,
};

/** Stops once all tensors have their verdicts: what is merged after that, is merged by what the journal gives back. */
async function stoppedAfterSurveys(recipe: string, out: string): Promise<void> {
  let stop = () => {};
  const { outcome, progress } = await runMerge(recipe, out, {
    ...settings,
    workers: 1,
    onStop: (given) => {
      stop = given;
    },
    onProgress: ({ phase }) => {
      if (phase !== "merging") return;
      const stopOnce = stop;
      stop = () => {};
      stopOnce();
    },
  });
  expect(outcome.outcome).toBe("stopped");
  expect(progress?.slicesDone).toBeLessThan(progress?.slices ?? 0);
}

let merges = 0;
const asked = new Set<string>();

test.each(variants)("the same bits after a stop between verdicts and merge: $title", async (variant) => {
  const recipe = recipeOf(variant, "float32");
  const whole = await mergedTensors(recipe, join(scratch, `${merges++}`), settings);
  const { begin } = methodNamed(variant.method);
  if (!whole.run.plan.tasks.some((task) => "request" in begin(task))) return;
  asked.add(variant.method);
  const out = join(scratch, `${merges++}`);
  await stoppedAfterSurveys(recipe, out);
  const { tensors } = await mergedTensors(recipe, out, settings);
  expect(differencesBetween(tensors, whole.tensors)).toEqual([]);
});

test("all methods that survey were among them", () => {
  const surveying = "arcee_fusion breadcrumbs breadcrumbs_ties dare_linear dare_ties della della_linear karcher";
  const others = "model_stock multislerp nuslerp ramplus_tl sce slerp ties";
  expect([...asked].sort()).toEqual(`${surveying} ${others}`.split(" "));
});
