import type { Dtype } from "../../checkpoint/index.ts";
import type { TensorTask } from "./tensor-task.ts";

/**
 * One input of one output tensor. A method sees elements of `dtype` in rows and asks no further; where they come from is the
 * kind's business. All but stored sources are made while a chunk is read: no file ever holds them.
 */
export type TensorSource =
  | StoredSource
  | AdapterSource
  | NormedSource
  | ScaledSource
  | RowsSource
  | ColumnsSource
  | ProductSource
  | MergedSource;

interface SourceShape {
  /** Name of the tensor in the input, for messages. */
  readonly tensor: string;
  /** Of the elements as methods see them. */
  readonly dtype: Dtype;
  /**
   * Elements from the start of one row of the source to the next. It exceeds the row length of the task only where an embedding is
   * cut to a leading submatrix.
   */
  readonly storedRowLength: number;
}

/** A range of a file. Most sources of most plans are stored; they carry no kind. */
export interface StoredSource extends SourceShape {
  readonly kind?: never;
  /** Index into the plan's inputs. */
  readonly input: number;
  /** Index into that input's files. */
  readonly file: number;
  /** First byte of the tensor in its file. */
  readonly offsetBytes: number;
}

/**
 * base + scale * (B A), in float64 in order of rank, rounded once to f32: a weight with its low-rank adapter (docs/spec/recipe.md, "Model
 * references"). The weight is the matrix [rows, columns] that its shape makes when all dimensions but the first are one.
 */
export interface AdapterSource extends SourceShape {
  readonly kind: "adapter";
  readonly dtype: "F32";
  readonly base: TensorSource;
  readonly columns: number;
  readonly rows: number;
  readonly rank: number;
  /** alpha / rank, or alpha / sqrt(rank). */
  readonly scale: number;
  /** [rank, columns]; [rank, rows] where transposed. */
  readonly a: StoredSource;
  /** [rows, rank]; [columns, rank] where transposed. */
  readonly b: StoredSource;
  /** The weight is stored as [in, out] (`fan_in_fan_out`): what is added is (B A) transposed. */
  readonly transposed: boolean;
}

/**
 * Every row of a matrix [rows, columns] made as long as its magnitude says (DoRA): f32(value * (f64(magnitude) / length)), with the length
 * of the row as it is, the square root of its sum of squares in float64 in order of columns.
 */
export interface NormedSource extends SourceShape {
  readonly kind: "normed";
  readonly dtype: "F32";
  readonly values: AdapterSource;
  /** One a row. */
  readonly magnitudes: StoredSource;
  readonly rows: number;
}

/**
 * f32(code) * f32(scale), one f32 product: codes that mean something only times a scale. Scales form a grid over the matrix of
 * codes: one for each block of blockRows x blockColumns, blocks at the right and lower edge cut short.
 */
export interface ScaledSource extends SourceShape {
  readonly kind: "scaled";
  readonly dtype: "F32";
  readonly codes: TensorSource;
  /** [ceil(rows / blockRows), ceil(columns / blockColumns)], F32, BF16 or F16; U8: exponents e of powers of two, 2^(e - 127), 255 is NaN. */
  readonly scales: TensorSource;
  readonly rows: number;
  readonly blockRows: number;
  readonly blockColumns: number;
}

/** Rows gathered from matrices of one width: a model's embedding in the order of the output's vocabulary. */
export interface RowsSource extends SourceShape {
  readonly kind: "rows";
  readonly dtype: "F32";
  /** Elements of a row, in the result and in every part; 1 where a tensor has one element a token. */
  readonly width: number;
  /** The matrices that rows are taken from, widened to f32. */
  readonly parts: readonly TensorSource[];
  /** Every row of the result, in order. */
  readonly runs: readonly RowRun[];
}

/** Neighbouring rows of a gathered matrix. */
export type RowRun =
  /** Rows first .. first + count - 1 of a part. */
  | { readonly part: number; readonly first: number; readonly count: number }
  /** These rows of a part, one after another. */
  | { readonly part: number; readonly rows: readonly number[] }
  /** One row: the mean of these [part, row], summed in float64 in this order, divided and rounded once to f32. */
  | { readonly mean: readonly (readonly [part: number, row: number])[] }
  /** So many rows of zeros. */
  | { readonly zero: number }
  /** So many rows, each the mean of all rows of this source that are no padding (float64, in order of rows, rounded once). */
  | { readonly padding: number };

/** Matrices of as many rows, side by side, each times its factor (f32, one product). */
export interface ColumnsSource extends SourceShape {
  readonly kind: "columns";
  readonly dtype: "F32";
  /** Columns of all parts together. */
  readonly width: number;
  readonly parts: readonly { readonly source: StoredSource; readonly columns: number; readonly factor: number }[];
}

/**
 * One of the two factors of the best product of rank `rank` for the sum over the terms of factor * (B A), in float64, rounded once to
 * f32. left: [rows, rank], right: [rank, columns], each with the square root of the singular value in it; the element of largest
 * magnitude of every left vector is positive.
 */
export interface ProductSource extends SourceShape {
  readonly kind: "product";
  readonly dtype: "F32";
  readonly side: "left" | "right";
  readonly rows: number;
  readonly columns: number;
  readonly rank: number;
  readonly terms: readonly ProductTerm[];
}

export interface ProductTerm {
  /** [rows, rank] */
  readonly b: StoredSource;
  /** [rank, columns] */
  readonly a: StoredSource;
  readonly rank: number;
  readonly factor: number;
}

/**
 * What another task gives, as if it had been written in its dtype and read back. Element-wise methods are evaluated as blocks are
 * read; of others all rounds are run over the whole tensor first.
 */
export interface MergedSource extends SourceShape {
  readonly kind: "merged";
  readonly task: TensorTask;
}

/** How many rows a run stands for. */
export function rowsOfRun(run: RowRun): number {
  if ("zero" in run) return run.zero;
  if ("padding" in run) return run.padding;
  if ("mean" in run) return 1;
  return "rows" in run ? run.rows.length : run.count;
}

/** The sources that a source is made of, itself if it is stored; those of a merged task are the task's. */
export function* storedIn(source: TensorSource): Generator<StoredSource> {
  switch (source.kind) {
    case undefined:
      yield source;
      return;
    case "adapter":
      yield* storedIn(source.base);
      yield source.a;
      yield source.b;
      return;
    case "normed":
      yield* storedIn(source.values);
      yield source.magnitudes;
      return;
    case "scaled":
      yield* storedIn(source.codes);
      yield* storedIn(source.scales);
      return;
    case "rows":
      for (const part of source.parts) yield* storedIn(part);
      return;
    case "columns":
      for (const part of source.parts) yield part.source;
      return;
    case "product":
      for (const { a, b } of source.terms) yield* [b, a];
      return;
    case "merged":
      for (const inner of sourcesOf(source.task)) yield* storedIn(inner);
  }
}

/** Base and models of a task. */
export function sourcesOf(task: TensorTask): TensorSource[] {
  return task.base === undefined ? [...task.models] : [task.base, ...task.models];
}
