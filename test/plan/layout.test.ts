import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Dtype, dtypeBytes } from "../../checkpoint/index.ts";
import type { PlanShard, Slice, TensorTask } from "../../merge/work/index.ts";
import { layOutShards, layOutSlices, shardPreamble } from "../../plan/index.ts";
import { readSafetensors } from "../support/read-safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { bytesOf, taskOf } from "./made-up-tasks.ts";

/** Blocks as docs/spec/methods.md defines them, written anew: the smallest number of whole rows with at least 65,536 elements. */
function blockElements({ shape }: TensorTask): number {
  if (shape.length < 2 || shape.at(-1) === 0) return 65_536;
  const row = shape.at(-1)!;
  let elements = row;
  while (elements < 65_536) elements += row;
  return elements;
}

const dimensions = fc.oneof(
  fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 3 }),
  // One block and more, whole and broken; rows longer than a block.
  fc.constantFrom([65_536], [65_537], [400_000], [1000, 257], [513, 128], [3, 70_001], [7, 11, 1031], [131_072, 1]),
);
const dtypes = fc.constantFrom(...(Object.keys(dtypeBytes) as Dtype[]));
const layouts = fc
  .record({
    tensors: fc.array(fc.record({ shape: dimensions, dtype: dtypes, models: fc.integer({ min: 1, max: 300 }) }), {
      maxLength: 12,
    }),
    sliceBytes: fc.constantFrom(1, 4096, 131_072, 300_000, 1_000_000, 2 ** 30),
    shardBytes: fc.constantFrom(1, 5000, 600_000, 2 ** 40),
  })
  .map(({ tensors, sliceBytes, shardBytes }) => {
    const tasks = tensors.map(({ shape, dtype, models }, k) => taskOf(`layer.${k}.“weight”`, shape, dtype, models));
    const shards = layOutShards(tasks, shardBytes);
    return { tasks, shards, slices: layOutSlices(tasks, shards, sliceBytes), sliceBytes, shardBytes };
  });

interface Layout {
  readonly tasks: readonly TensorTask[];
  readonly shards: readonly PlanShard[];
  readonly slices: readonly Slice[];
  readonly sliceBytes: number;
  readonly shardBytes: number;
}

const holdsForAll = (check: (layout: Layout) => void) => fc.assert(fc.property(layouts, check), { numRuns: 300 });

test("slices tile the data of every shard: in order, without gap or overlap, to the last byte", () => {
  holdsForAll(({ shards, slices }) => {
    for (const [k, { dataOffsetBytes, sizeBytes }] of shards.entries()) {
      let end = dataOffsetBytes;
      for (const slice of slices.filter(({ shard }) => shard === k)) {
        expect(slice.offsetBytes).toBe(end);
        end += slice.sizeBytes;
      }
      expect(end).toBe(sizeBytes);
    }
    expect(slices.map(({ shard }) => shard)).toEqual(slices.map(({ shard }) => shard).toSorted((a, b) => a - b));
    expect(new Set(slices.map(({ id }) => id)).size).toBe(slices.length);
  });
});

test("parts make up every tensor, in output order; each is as long as its slice says", () => {
  holdsForAll(({ tasks, slices }) => {
    const parts = slices.flatMap((slice) => slice.parts);
    expect(parts.map(({ task }) => task)).toEqual(parts.map(({ task }) => task).toSorted((a, b) => a - b));
    for (const [k, task] of tasks.entries()) {
      const own = parts.filter((part) => part.task === k);
      let end = 0;
      for (const [number, part] of own.entries()) {
        expect(part).toMatchObject({ part: number, partCount: own.length, firstElement: end });
        end += part.elementCount;
      }
      expect(own.length).toBeGreaterThan(0);
      expect(end * dtypeBytes[task.dtype]).toBe(bytesOf(task));
    }
    for (const { sizeBytes, parts: held } of slices) {
      const bytes = held.map(({ task, elementCount }) => elementCount * dtypeBytes[tasks[task]!.dtype]);
      expect(bytes.reduce((sum, size) => sum + size, 0)).toBe(sizeBytes);
    }
  });
});

test("a tensor is cut between blocks only, and as soon as it is larger than a slice; a part of one has a slice to itself", () => {
  holdsForAll(({ tasks, slices, sliceBytes }) => {
    for (const { parts, sizeBytes } of slices) {
      for (const { task: index, firstElement, elementCount, partCount } of parts) {
        const task = tasks[index]!;
        const blockBytes = blockElements(task) * dtypeBytes[task.dtype];
        if (partCount === 1) {
          expect(bytesOf(task)).toBeLessThanOrEqual(Math.max(sliceBytes, blockBytes));
          continue;
        }
        expect(parts).toHaveLength(1);
        expect(firstElement % blockElements(task)).toBe(0);
        if (firstElement * dtypeBytes[task.dtype] + sizeBytes < bytesOf(task))
          expect(elementCount % blockElements(task)).toBe(0);
        expect(sizeBytes).toBeLessThanOrEqual(Math.max(sliceBytes, blockBytes));
      }
      if (parts.length > 1) expect(sizeBytes).toBeLessThanOrEqual(sliceBytes);
    }
  });
});

test("shards hold the tensors in output order, no more than allowed; a larger tensor is alone in its own", () => {
  holdsForAll(({ tasks, shards, shardBytes }) => {
    expect(shards.flatMap((shard) => shard.tasks)).toEqual(tasks.map((_, k) => k));
    for (const { tasks: held, sizeBytes, dataOffsetBytes } of shards) {
      const bytes = held.reduce((sum, k) => sum + bytesOf(tasks[k]!), 0);
      expect(dataOffsetBytes + bytes).toBe(sizeBytes);
      const solid = held.filter((k) => bytesOf(tasks[k]!) > 0);
      if (solid.length > 1) expect(bytes).toBeLessThanOrEqual(shardBytes);
    }
    const names = shards.map(({ name }) => name);
    const count = String(shards.length).padStart(5, "0");
    expect(names).toEqual(
      shards.length === 1
        ? ["model.safetensors"]
        : shards.map((_, k) => `model-${String(k + 1).padStart(5, "0")}-of-${count}.safetensors`),
    );
  });
});

test("headers say where each tensor is, aligned to 8 bytes", () => {
  holdsForAll(({ tasks, shards }) => {
    for (const { header, tasks: held, dataOffsetBytes, sizeBytes } of shards) {
      const preamble = Buffer.from(shardPreamble(header));
      expect(preamble.length).toBe(dataOffsetBytes);
      expect(dataOffsetBytes % 8).toBe(0);
      expect(Number(preamble.readBigUInt64LE())).toBe(preamble.length - 8);
      const { __metadata__, ...entries } = JSON.parse(preamble.toString("utf8", 8));
      expect(__metadata__).toEqual({ format: "pt" });
      let end = 0;
      const expected = held.map((k) => {
        const { name, dtype, shape } = tasks[k]!;
        const begin = end;
        end += bytesOf(tasks[k]!);
        return [name, { dtype, shape, data_offsets: [begin, end] }];
      });
      expect(Object.entries(entries)).toEqual(expected);
      expect(dataOffsetBytes + end).toBe(sizeBytes);
    }
  });
});

test("an independent reader finds the tensors of a shard where the slices put them", () => {
  const tasks = [taskOf("embed", [7, 3], "BF16"), taskOf("mask", [5], "BOOL"), taskOf("norm.weight", [], "F64")];
  const [shard] = layOutShards(tasks, 2 ** 40);
  const slices = layOutSlices(tasks, [shard!], 42);
  const path = join(temporaryFolder(), shard!.name);
  const file = Buffer.alloc(shard!.sizeBytes);
  file.set(shardPreamble(shard!.header));
  for (const [k, { offsetBytes, sizeBytes }] of slices.entries())
    file.fill(k + 1, offsetBytes, offsetBytes + sizeBytes);
  writeFileSync(path, file);
  const found = [...readSafetensors(path)].map(([name, { dtype, shape, bytes }]) => [name, dtype, shape, [...bytes]]);
  expect(found).toEqual([
    ["embed", "BF16", [7, 3], new Array(42).fill(1)],
    ["mask", "BOOL", [5], new Array(5).fill(2)],
    ["norm.weight", "F64", [], new Array(8).fill(2)],
  ]);
});
