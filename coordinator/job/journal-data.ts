import type { Json, Numbers, PlainData } from "../../merge/work/index.ts";
import { JobError } from "./errors.ts";

/**
 * Verdicts as JSON and back, bit for bit: JSON has no NaN, no infinities, no -0, no bigint and no typed arrays. What it has stays as it
 * is; the rest, and objects that could be mistaken for it, stand in an object of the one key `$`.
 */
const TAG = "$";

type NumbersConstructor = new (buffer: ArrayBuffer) => Numbers;

/** Bytes are little-endian, as on every machine that runs WebAssembly at speed. */
const arrays: Readonly<Record<string, readonly [NumbersConstructor, elementBytes: number]>> = {
  u8: [Uint8Array, 1],
  u16: [Uint16Array, 2],
  i32: [Int32Array, 4],
  u32: [Uint32Array, 4],
  u64: [BigUint64Array, 8],
  f32: [Float32Array, 4],
  f64: [Float64Array, 8],
};

const words: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
  "-0": -0,
};

/** Entries that are undefined are left out. Anything but plain data is a defect of its method. */
export function jsonOfData(value: PlainData): Json {
  switch (typeof value) {
    case "boolean":
    case "string":
      return value;
    case "number":
      if (Object.is(value, -0)) return { [TAG]: "-0" };
      return Number.isFinite(value) ? value : { [TAG]: String(value) };
    case "bigint":
      return { [TAG]: { bigint: String(value) } };
    case "object":
      return value === null ? null : jsonOfObject(value);
    default:
      throw new Error(`a ${typeof value} cannot be journalled`);
  }
}

function jsonOfObject(value: object): Json {
  if (ArrayBuffer.isView(value)) {
    const name = Object.keys(arrays).find((key) => value instanceof (arrays[key]?.[0] ?? Object));
    if (name === undefined) throw new Error(`a ${value.constructor.name} cannot be journalled`);
    return { [TAG]: { [name]: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") } };
  }
  if (Array.isArray(value)) return value.map(jsonOfData);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null)
    throw new Error(`a ${value.constructor.name} cannot be journalled`);
  const entries = Object.entries(value).flatMap(([name, item]): [string, Json][] =>
    item === undefined ? [] : [[name, jsonOfData(item)]],
  );
  const plain = Object.fromEntries(entries);
  return entries.length === 1 && entries[0]?.[0] === TAG ? { [TAG]: { map: plain } } : plain;
}

/** `where`: the record's subject. @throws JobError `coordinator/bad-record` */
export function dataOfJson(value: Json, where: string): PlainData {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((item: Json) => dataOfJson(item, where));
  const entries = Object.entries(value);
  const [first] = entries;
  if (entries.length === 1 && first?.[0] === TAG) return taggedOf(first[1], where);
  return Object.fromEntries(entries.map(([name, item]: [string, Json]) => [name, dataOfJson(item, where)]));
}

function taggedOf(tagged: Json, where: string): PlainData {
  if (typeof tagged === "string") {
    const number = words[tagged];
    if (number !== undefined) return number;
  } else if (typeof tagged === "object" && tagged !== null && !Array.isArray(tagged)) {
    const [name = "", held] = Object.entries(tagged)[0] ?? [];
    if (name === "map" && typeof held === "object" && held !== null) {
      return Object.fromEntries(Object.entries(held).map(([key, item]) => [key, dataOfJson(item as Json, where)]));
    }
    if (typeof held === "string") {
      if (name === "bigint" && /^-?[0-9]{1,1000}$/.test(held)) return BigInt(held);
      const [Numbers, elementBytes = 1] = arrays[name] ?? [];
      const bytes = Buffer.from(held, "base64");
      if (Numbers !== undefined && bytes.length % elementBytes === 0) return new Numbers(new Uint8Array(bytes).buffer);
    }
  }
  throw badRecord(where, `${JSON.stringify(tagged).slice(0, 80)} stands for no value that is known here`);
}

/** A record that its checksum vouches for, and that says nothing sensible all the same: another version or program wrote it. */
export function badRecord(where: string, what: string): JobError {
  return new JobError("coordinator/bad-record", `the journal's record ${where}: ${what}`, {
    hint: "Finish this merge with the version of deltaworks that began it, or begin anew with --restart.",
  });
}
