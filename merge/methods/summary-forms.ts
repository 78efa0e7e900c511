import { isList, type Numbers, type PlainData } from "../work/index.ts";
import type { BlockSums } from "./block-sums.ts";
import type { ColumnSums } from "./column-sums.ts";
import { MethodError } from "./errors.ts";

/** What is known of a range before it is surveyed, and so of its summary. */
export interface SurveyedRange {
  readonly elementCount: number;
  readonly blocks: number;
  readonly parts: number;
  /** Whether it is the whole tensor. */
  readonly whole: boolean;
}

/**
 * Summaries come from other machines, of other releases or with broken memory: each is read as what was asked for before it is folded, for
 * afterwards nobody can tell whose it was. Numbers are not known before; that they are as many as they must be is.
 */

/** Sums of all blocks of a range, or, of a range that is the whole tensor, their totals. @throws MethodError `method/other-summary` */
export function readBlockSums(
  value: PlainData,
  { blocks, whole }: SurveyedRange,
  columns: number,
  of?: "maxima",
): BlockSums {
  const fields = fieldsOf(value, "block sums");
  if (fields.columns !== columns) throw other(`sums of ${shown(fields.columns)} columns, not of ${columns}`);
  const { values } = fields;
  if (!(values instanceof Float64Array)) throw other("sums that are no float64 numbers");
  const rows = values.length / columns;
  if (rows !== blocks && !(whole && rows === 1)) throw other(`sums of ${rows} blocks, not of ${blocks}`);
  if (fields.of !== of) throw other(`${shown(fields.of ?? "sums")} where ${of ?? "sums"} were asked for`);
  return { columns, values, ...(of === undefined ? {} : { of }) };
}

/** @throws MethodError `method/other-summary` */
export function readColumnSums(value: PlainData, { blocks }: SurveyedRange, size: number): ColumnSums {
  const list = listOf(fieldsOf(value, "column sums").subtrees, "subtrees");
  let covered = 0;
  const subtrees = list.map((item) => {
    const { level, index, sums } = fieldsOf(item, "a subtree");
    if (!isCount(level) || level > 52 || !isCount(index)) throw other("a subtree that stands nowhere");
    if (!(sums instanceof Float64Array) || sums.length !== size) throw other(`a subtree without its ${size} sums`);
    covered += 2 ** level;
    return { level, index, sums };
  });
  if (covered !== blocks) throw other(`sums of ${covered} blocks, not of ${blocks}`);
  return { subtrees };
}

/** @throws MethodError `method/other-summary` */
export function fieldsOf(
  value: PlainData | undefined,
  what: string,
): { readonly [name: string]: PlainData | undefined } {
  if (!isMap(value)) throw other(`no ${what}`);
  return value;
}

/** @throws MethodError `method/other-summary` */
export function listOf(value: PlainData | undefined, what: string, length?: number): readonly PlainData[] {
  if (!isList(value)) throw other(`no list of ${what}`);
  if (length !== undefined && value.length !== length) throw other(`${value.length} ${what}, not ${length}`);
  return value;
}

/** Whole numbers from 0 to `most`. @throws MethodError `method/other-summary` */
export function countsOf(value: PlainData | undefined, what: string, length: number, most: number): readonly number[] {
  return listOf(value, what, length).map((count) => countOf(count, what, most));
}

/** @throws MethodError `method/other-summary` */
export function countOf(value: PlainData | undefined, what: string, most: number): number {
  if (!isCount(value) || value > most)
    throw other(`${shown(value)} as a number of ${what}, of which there are ${most} at most`);
  return value;
}

export function other(what: string): MethodError {
  return new MethodError("method/other-summary", `a survey was answered with ${what}`, {
    hint: "Run the coordinator's release on that machine; if it is the same one, check its memory, and report this as a defect.",
  });
}

function isCount(value: PlainData | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isMap(value: PlainData | undefined): value is { readonly [name: string]: PlainData | undefined } {
  return typeof value === "object" && value !== null && !isList(value) && !isNumbers(value);
}

function isNumbers(value: object): value is Numbers {
  return ArrayBuffer.isView(value);
}

function shown(value: PlainData | undefined): string {
  return typeof value === "number" || typeof value === "string" ? String(value).slice(0, 40) : "something else";
}
