/** Merges of one small tensor, worked out by hand: through the whole program, in both engines. */
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { readCheckpoint } from "../../support/read-safetensors.ts";
import { runMerge } from "../../support/run-merge.ts";
import { writeSafetensors } from "../../support/write-safetensors.ts";

export interface SmallMerge {
  readonly method: string;
  readonly shape?: readonly number[];
  readonly base?: readonly number[];
  readonly models: readonly (readonly number[])[];
  readonly global?: Readonly<Record<string, number | boolean>>;
  /** Of each model. */
  readonly each?: readonly Readonly<Record<string, number>>[];
}

/** The merged F32 tensor and the warnings; the two engines must agree to the bit. @throws the failure of the merge */
export async function smallMerge(merge: SmallMerge): Promise<{ values: number[]; warnings: readonly string[] }> {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-small-"));
  try {
    const names = merge.models.map((_, i) => `model-${i}`);
    const shape = merge.shape ?? [merge.models[0]!.length];
    const write = (name: string, values: readonly number[]) =>
      writeSafetensors(join(folder, name, "model.safetensors"), [
        { name: "tensor", dtype: "F32", shape, bytes: new Uint8Array(Float32Array.from(values).buffer) },
      ]);
    if (merge.base) write("base", merge.base);
    for (const [i, values] of merge.models.entries()) write(names[i]!, values);
    const recipe = [
      `merge_method: ${merge.method}`,
      ...(merge.base ? ["base_model: base"] : []),
      `parameters: ${JSON.stringify(merge.global ?? {})}`,
      "models:",
      ...names.map((model, i) => `  - ${JSON.stringify({ model, parameters: merge.each?.[i] ?? {} })}`),
      "",
    ].join("\n");
    const merged = async (engine: "wasm" | "reference") => {
      const out = join(folder, engine);
      const run = await runMerge(recipe, out, { models: folder, engine });
      if (run.outcome.outcome !== "done")
        throw Object.assign(new Error(run.outcome.cause?.message), { code: run.outcome.cause?.code });
      return { bytes: readCheckpoint(out).get("tensor")!.bytes, warnings: run.warnings };
    };
    const wasm = await merged("wasm");
    expect(wasm.bytes.equals((await merged("reference")).bytes)).toBe(true);
    return { values: Array.from(new Float32Array(new Uint8Array(wasm.bytes).buffer)), warnings: wasm.warnings };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export function expectClose(values: readonly number[], expected: readonly number[]): void {
  expect(values).toHaveLength(expected.length);
  for (const [k, value] of expected.entries()) expect(values[k], `element ${k}`).toBeCloseTo(value, 6);
}
