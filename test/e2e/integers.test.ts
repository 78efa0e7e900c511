import { join } from "node:path";
import { expect, test } from "vitest";
import { mergedTensors } from "../support/run-merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

function write(path: string, integers: readonly number[], mask: readonly number[] = [1, 0]): void {
  const weight = new Uint8Array(new Float32Array([1, 2]).buffer);
  const ids = new Uint8Array(BigInt64Array.from(integers.map(BigInt)).buffer);
  writeSafetensors(path, [
    { name: "layers.0.weight", dtype: "F32", shape: [2], bytes: weight },
    { name: "position_ids", dtype: "I64", shape: [integers.length], bytes: ids },
    { name: "mask", dtype: "BOOL", shape: [mask.length], bytes: Uint8Array.from(mask) },
  ]);
}

test.each<[string, readonly number[], readonly number[], readonly string[]]>([
  ["agree", [0, 1, 2], [1, 0], []],
  ["differ in a value", [0, 1, 3], [1, 0], ["recipe/integers-differ"]],
  ["differ in length", [0, 1], [1, 0], ["recipe/integers-differ"]],
  ["differ in two tensors", [0, 1, 3], [0, 0], ["recipe/integers-differ"]],
])("integer tensors that %s are copied from the first model", async (_, integers, mask, expected) => {
  const models = temporaryFolder();
  write(join(models, "a.safetensors"), [0, 1, 2]);
  write(join(models, "b.safetensors"), integers, mask);
  const recipe =
    "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a.safetensors}, {model: b.safetensors}]\n";
  const { tensors, run } = await mergedTensors(recipe, join(models, "out"), { models });
  expect(run.planWarnings).toEqual(expected);
  expect([...new BigInt64Array(Uint8Array.from(tensors.get("position_ids")!.bytes).buffer)]).toEqual([0n, 1n, 2n]);
});
