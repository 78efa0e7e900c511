import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { numbersOf } from "../golden/compare.ts";
import { readCheckpoint } from "../support/read-safetensors.ts";
import { mergedTensors } from "../support/run-merge.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";
import { type GeneratedTensor, writeModels } from "./generated-models.ts";

/** Experts in one tensor each, and their biases; once more with a tensor for every expert. */
const EXPERTS = 3;
const fused = "model.layers.0.mlp.experts.gate_up_proj";
const bias = "model.layers.0.mlp.experts.gate_up_proj_bias";
const tensors: readonly GeneratedTensor[] = [
  { name: "model.layers.0.mlp.router.weight", shape: [3, 131], dtypes: ["BF16"], style: "quantised", models: "steps" },
  { name: fused, shape: [EXPERTS, 251, 131], dtypes: ["BF16"], style: "quantised", models: "steps" },
  { name: bias, shape: [EXPERTS, 67], dtypes: ["BF16"], style: "quantised", models: "steps" },
];

const scratch = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-experts-"));
const together = join(scratch, "together");
const apart = join(scratch, "apart");
beforeAll(() => {
  writeModels(together, 11, tensors);
  for (const model of ["base", "one", "two", "three"]) {
    const parts = [...readCheckpoint(join(together, model))].flatMap(([name, { dtype, shape, bytes }]) => {
      if (name !== fused && name !== bias) return [{ name, dtype, shape, bytes }];
      const size = bytes.length / EXPERTS;
      return Array.from({ length: EXPERTS }, (_, k) => ({
        name: name.replace("experts.", `experts.${k}.`),
        dtype,
        shape: shape.slice(1),
        bytes: bytes.subarray(k * size, (k + 1) * size),
      }));
    });
    writeSafetensors(join(apart, model, "model.safetensors"), parts);
  }
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const recipe = (method: string, parameters: string) => `merge_method: ${method}
base_model: base
dtype: float32
parameters: {weight: 0.7, ${parameters}}
models: [{model: one}, {model: two}, {model: three}]
`;

async function merged(models: string, method: string, parameters: string, settings = {}) {
  const out = mkdtempSync(join(scratch, "out-"));
  return (await mergedTensors(recipe(method, parameters), out, { models, ...settings })).tensors;
}

const cuts = [
  ["whole", {}],
  // Slices of one block and surveys of one part: experts are cut besides.
  ["cut in the plan", { sliceBytes: 1, surveyElements: 1, workers: 3 }],
  ["cut in the worker", { budget: { rangeElements: 1, spareBytes: 0, heldBytes: 0, pieceElements: 1000 } }],
] as const;

test.each(
  [
    ["ties", "density: 0.4, rescale: true"],
    ["breadcrumbs", "density: 0.7, gamma: 0.1"],
    ["breadcrumbs_ties", "density: 0.7, gamma: 0.1, rescale: true, rescale_mode: linf"],
  ].flatMap(([method = "", parameters = ""]) =>
    cuts.map(([how, settings]) => [method, how, parameters, settings] as const),
  ),
)("scope: expert merges each by %s as if it were stored alone, %s", async (method, _, parameters, settings) => {
  const ours = await merged(together, method, `${parameters}, scope: expert`, settings);
  const expected = await merged(apart, method, parameters);
  expect(ours.get(fused)).toMatchObject({ shape: [EXPERTS, 251, 131] });
  for (const name of [fused, bias]) {
    const parts = Array.from(
      { length: EXPERTS },
      (_, k) => expected.get(name.replace("experts.", `experts.${k}.`))!.bytes,
    );
    expect(Buffer.compare(ours.get(name)!.bytes, Buffer.concat(parts))).toBe(0);
  }
  const asOne = await merged(together, method, parameters);
  expect(Buffer.compare(ours.get(fused)!.bytes, asOne.get(fused)!.bytes)).not.toBe(0);
  const router = "model.layers.0.mlp.router.weight";
  expect(ours.get(router)).toEqual(asOne.get(router));
});

test.each(cuts)(
  "random masks are those of the whole tensor, %s; what rescales them is each expert's own",
  async (_, settings) => {
    for (const [method, parameters] of [
      ["dare_linear", "density: 0.4"],
      ["della_linear", "density: 0.5, epsilon: 0.2"],
    ] as const) {
      const [ours, asOne] = [
        await merged(together, method, `${parameters}, rescale: false, scope: expert`, settings),
        await merged(together, method, `${parameters}, rescale: false`),
      ];
      for (const name of [fused, bias]) expect(Buffer.compare(ours.get(name)!.bytes, asOne.get(name)!.bytes)).toBe(0);
      // Of one model: what is kept shows as a change, and no sum cancels.
      const base = numbersOf(readCheckpoint(join(together, "base")).get(fused)!);
      const changed = async (more: string) => {
        const only = recipe(method, `${parameters}, ${more}`).replace(
          "{model: one}, {model: two}, {model: three}",
          "{model: one}",
        );
        const { tensors } = await mergedTensors(only, mkdtempSync(join(scratch, "out-")), {
          models: together,
          ...settings,
        });
        return numbersOf(tensors.get(fused)!).map((value, k) => (value === base[k] ? 0 : 1));
      };
      expect(await changed("scope: expert")).toEqual(await changed("rescale: false"));
      const rescaled = await merged(together, method, `${parameters}, scope: expert`, settings);
      const rescaledAsOne = await merged(together, method, parameters);
      expect(Buffer.compare(rescaled.get(fused)!.bytes, rescaledAsOne.get(fused)!.bytes)).not.toBe(0);
    }
  },
);

test.each(cuts)("documents build on experts as if they had been written, %s", async (_, settings) => {
  const inner = recipe("ties", "density: 0.5, scope: expert");
  const outer = (scope: string) => `merge_method: breadcrumbs
base_model: base
dtype: float32
parameters: {weight: 0.5, density: 0.6, scope: ${scope}}
models: [{model: inner}, {model: one}]
`;
  const written = join(together, "inner");
  await mergedTensors(inner, written, { models: together });
  const expected = new Map<string, Awaited<ReturnType<typeof mergedTensors>>["tensors"]>();
  for (const scope of ["expert", "tensor"]) {
    const out = mkdtempSync(join(scratch, "out-"));
    expected.set(scope, (await mergedTensors(outer(scope), out, { models: together })).tensors);
  }
  rmSync(written, { recursive: true });
  for (const [scope, tensors] of expected) {
    const out = mkdtempSync(join(scratch, "out-"));
    const text = `name: inner\n${inner}---\n${outer(scope)}`;
    const chained = (await mergedTensors(text, out, { models: together, ...settings })).tensors;
    for (const name of [fused, bias]) {
      expect(Buffer.compare(chained.get(name)!.bytes, tensors.get(name)!.bytes), `${scope} ${name}`).toBe(0);
    }
  }
  expect(Buffer.compare(expected.get("expert")!.get(fused)!.bytes, expected.get("tensor")!.get(fused)!.bytes)).not.toBe(
    0,
  );
});
