import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Dtype, dtypeBytes } from "../../checkpoint/index.ts";
import {
  geometryOf,
  type Plan,
  type PlanShard,
  partsOfTensors,
  type Slice,
  type SlicePart,
  shardPreamble,
  type TensorTask,
} from "../../merge/work/index.ts";
import { layOutParts, layOutShards, layOutSlices, partBytesOf } from "../../plan/index.ts";
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

const grids = layouts.map((layout) => {
  const grid = Math.max(layout.sliceBytes, 4099);
  return { ...layout, sliceBytes: grid, slices: layOutParts(layout.tasks, layout.shards, grid) };
});
const holdsForAllGrids = (check: (layout: Layout) => void) => fc.assert(fc.property(grids, check), { numRuns: 300 });
/** How many of these bytes a slice has of a part. */
const keptOf = (part: SlicePart, { dtype }: TensorTask) => {
  const bytes = part.elementCount * dtypeBytes[dtype];
  return part.kept ?? { skipBytes: 0, takeBytes: bytes };
};

test("on an equal grid every slice of a shard but the last has the same size, from the first byte of the file on", () => {
  holdsForAllGrids(({ shards, slices, sliceBytes }) => {
    expect(slices.map(({ id }) => id)).toEqual(slices.map((_, k) => `s${String(k).padStart(6, "0")}`));
    for (const [k, { sizeBytes }] of shards.entries()) {
      const own = slices.filter(({ shard }) => shard === k);
      const sizes = own.map((slice) => slice.sizeBytes);
      expect(own.map(({ offsetBytes }) => offsetBytes)).toEqual(own.map((_, part) => part * sliceBytes));
      expect(sizes.slice(0, -1).every((size) => size === sliceBytes)).toBe(true);
      expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(sizeBytes);
    }
  });
});

test("on an equal grid header and parts are every byte of a shard once, in order, in the slice where they lie", () => {
  holdsForAllGrids(({ tasks, shards, slices }) => {
    for (const [k, { dataOffsetBytes, tasks: held }] of shards.entries()) {
      const begins = new Map<number, number>();
      let end = dataOffsetBytes;
      for (const index of held) {
        begins.set(index, end);
        end += bytesOf(tasks[index]!);
      }
      let at = 0;
      for (const { shard, offsetBytes, sizeBytes, parts } of slices) {
        if (shard !== k) continue;
        at = Math.max(at, Math.min(dataOffsetBytes, offsetBytes + sizeBytes));
        for (const part of parts) {
          const task = tasks[part.task]!;
          const { skipBytes, takeBytes } = keptOf(part, task);
          expect(begins.get(part.task)! + part.firstElement * dtypeBytes[task.dtype] + skipBytes).toBe(at);
          expect(skipBytes + takeBytes).toBeLessThanOrEqual(part.elementCount * dtypeBytes[task.dtype]);
          at += takeBytes;
        }
        expect(at).toBe(offsetBytes + sizeBytes);
      }
    }
    for (const [k] of tasks.entries())
      expect(slices.some(({ parts }) => parts.some(({ task }) => task === k))).toBe(true);
  });
});

test("on an equal grid parts are whole blocks, the same for all slices; of each one slice has all", () => {
  holdsForAllGrids(({ tasks, slices }) => {
    const whole = partsOfTensors({ slices } as unknown as Plan);
    for (const [k, task] of tasks.entries()) {
      const { elementCount } = geometryOf(task.shape);
      const parts = whole.get(k)!;
      let end = 0;
      for (const [number, part] of parts.entries()) {
        expect(part).toMatchObject({ part: number, partCount: parts.length, firstElement: end });
        expect(end % blockElements(task)).toBe(0);
        end += part.elementCount;
      }
      expect(end).toBe(elementCount);
    }
    for (const { parts } of slices) {
      // Two at most wait for a verdict that is not the slice's alone: at its ends.
      const shared = new Set(parts.filter(({ partCount }) => partCount > 1).map(({ task }) => task));
      expect(shared.size).toBeLessThanOrEqual(2);
      for (const { task, part, firstElement, elementCount } of parts) {
        const all = whole.get(task)![part]!;
        expect(firstElement).toBe(all.firstElement);
        const end = firstElement + elementCount;
        const isEnd = end === geometryOf(tasks[task]!.shape).elementCount;
        expect(isEnd || end % blockElements(tasks[task]!) === 0).toBe(true);
        expect(elementCount).toBeLessThanOrEqual(all.elementCount);
      }
    }
  });
});

test("on an equal grid a block is computed by two slices where a line lies across it, and not else", () => {
  holdsForAllGrids(({ tasks, slices, sliceBytes }) => {
    for (const { parts, sizeBytes } of slices) {
      const computed = parts.reduce((sum, part) => sum + part.elementCount * dtypeBytes[tasks[part.task]!.dtype], 0);
      const blocks = parts.map(({ task }) => {
        const { dtype, shape } = tasks[task]!;
        return Math.min(blockElements(tasks[task]!), geometryOf(shape).elementCount) * dtypeBytes[dtype];
      });
      expect(computed).toBeLessThan(sizeBytes + (blocks[0] ?? 0) + (blocks.at(-1) ?? 0) + 1);
    }
    expect(sliceBytes).toBeGreaterThan(0);
  });
});

test.each([
  ["a small shard", 5e9, 32, 150],
  ["one of 400 GB", 400e9, 39, 9782],
  ["5 TiB", 5 * 2 ** 40, 525, 9987],
])("no shard has more than 10,000 parts: %s", (_, shardBytes, partMib, parts) => {
  const partBytes = partBytesOf(shardBytes, 32 * 2 ** 20);
  expect(partBytes / 2 ** 20).toBe(partMib);
  expect(Math.ceil(shardBytes / partBytes)).toBe(parts);
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
