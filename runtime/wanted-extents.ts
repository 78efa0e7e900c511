import { dtypeBytes } from "../checkpoint/index.ts";
import {
  geometryOfTask,
  type StoredSource,
  sourcesOf,
  type TensorSource,
  type TensorTask,
} from "../merge/work/index.ts";

/** Bytes of an input file: those from `fromByte` on, before `toByte`. */
export interface Extent {
  readonly input: number;
  readonly file: number;
  readonly fromByte: number;
  readonly toByte: number;
}

/** So much that nobody asked for costs less than another request. */
const GAP_BYTES = 256 * 1024;

/**
 * Where the bytes lie that a range of a task is made of, sources in their order, as far as it is plain: of stored tensors the rows of the
 * range, of adapters their factors besides. What is gathered from all over a tensor is not named.
 */
export function extentsOfRange(task: TensorTask, firstElement: number, elementCount: number): readonly Extent[] {
  const { rowLength } = geometryOfTask(task);
  const rows = {
    first: Math.floor(firstElement / rowLength),
    end: Math.ceil((firstElement + elementCount) / rowLength),
  };
  const elements = { firstElement, elementCount, rowLength };
  return sourcesOf(task).flatMap((source) => extentsOf(source, rows, elements));
}

interface Rows {
  readonly first: number;
  readonly end: number;
}

interface Elements {
  readonly firstElement: number;
  readonly elementCount: number;
  readonly rowLength: number;
}

function extentsOf(source: TensorSource, rows: Rows, elements: Elements): readonly Extent[] {
  switch (source.kind) {
    case undefined: {
      const { storedRowLength } = source;
      // Of rows that are whole no more is read than the range.
      return storedRowLength === elements.rowLength
        ? [extentOf(source, elements.firstElement, elements.elementCount)]
        : [extentOf(source, rows.first * storedRowLength, (rows.end - rows.first) * storedRowLength)];
    }
    case "adapter":
      return [
        ...extentsOf(source.base, rows, elements),
        extentOf(source.a, 0, source.rank * source.columns),
        extentOf(source.b, 0, source.rank * source.rows),
      ];
    case "normed":
      return extentsOf(source.values, rows, elements);
    case "scaled":
      return extentsOf(source.codes, rows, elements);
    case "merged":
      return extentsOfRange(source.task, elements.firstElement, elements.elementCount);
    default:
      return [];
  }
}

export function extentOf({ input, file, offsetBytes, dtype }: StoredSource, first: number, count: number): Extent {
  const elementBytes = dtypeBytes[dtype];
  return {
    input,
    file,
    fromByte: offsetBytes + first * elementBytes,
    toByte: offsetBytes + (first + count) * elementBytes,
  };
}

/** Extents of one file that touch, overlap or nearly touch become one; files in the order in which they are met first. */
export function joinedExtents(extents: readonly Extent[]): readonly Extent[] {
  const byFile = new Map<string, Extent[]>();
  for (const extent of extents) {
    const key = `${extent.input}/${extent.file}`;
    byFile.set(key, [...(byFile.get(key) ?? []), extent]);
  }
  return [...byFile.values()].flatMap((list) => {
    const joined: Extent[] = [];
    for (const extent of list.toSorted((a, b) => a.fromByte - b.fromByte)) {
      const last = joined.at(-1);
      if (last === undefined || extent.fromByte > last.toByte + GAP_BYTES) joined.push(extent);
      else joined[joined.length - 1] = { ...last, toByte: Math.max(last.toByte, extent.toByte) };
    }
    return joined;
  });
}

/** The same for extents of the same bytes. */
export function keyOfExtent({ input, file, fromByte, toByte }: Extent): string {
  return `${input}/${file} ${fromByte}-${toByte}`;
}
