import type { Numbers, PlainData } from "../merge/work/index.ts";
import { type Data, ElementType, type TypedArray } from "../proto/index.ts";
import { malformed } from "./errors.ts";

type TypedArrayConstructor = new (buffer: ArrayBuffer) => Numbers;

/** Typed arrays that may travel. Bytes are little-endian, as on every machine that runs WebAssembly at speed. */
const arrays: readonly (readonly [ElementType, TypedArrayConstructor, elementBytes: number])[] = [
  [ElementType.ELEMENT_TYPE_UINT8, Uint8Array, 1],
  [ElementType.ELEMENT_TYPE_UINT16, Uint16Array, 2],
  [ElementType.ELEMENT_TYPE_INT32, Int32Array, 4],
  [ElementType.ELEMENT_TYPE_UINT32, Uint32Array, 4],
  [ElementType.ELEMENT_TYPE_UINT64, BigUint64Array, 8],
  [ElementType.ELEMENT_TYPE_FLOAT32, Float32Array, 4],
  [ElementType.ELEMENT_TYPE_FLOAT64, Float64Array, 8],
];

/** Deeper data is no request, summary or verdict. */
const DEPTH_MAX = 64;

/**
 * Requests, summaries and verdicts as messages, bit for bit: -0, NaN and typed arrays come back as they went. Entries that are
 * undefined are left out. A Buffer comes back as a Uint8Array. Anything but plain data is a defect of its method.
 */
export function messageOfData(value: PlainData): Data {
  return messageOf(value, 0, (bytes) => ({ bytes, followingBytes: 0n }));
}

/** How the bytes of an array travel. */
export type Packing = (bytes: Buffer) => Pick<TypedArray, "bytes" | "followingBytes">;

export function messageOf(value: PlainData, depth: number, packing: Packing): Data {
  if (depth > DEPTH_MAX) throw new Error(`data nested ${depth} deep cannot travel`);
  return { kind: kindOf(value, depth, packing) };
}

function kindOf(value: PlainData, depth: number, packing: Packing): NonNullable<Data["kind"]> {
  switch (typeof value) {
    case "boolean":
      return { $case: "boolValue", value };
    case "number":
      return { $case: "numberValue", value };
    case "string":
      return { $case: "stringValue", value };
    case "bigint":
      return { $case: "bigintValue", value: String(value) };
    case "object":
      return value === null ? { $case: "nullValue", value: true } : kindOfObject(value, depth, packing);
    default:
      throw new Error(`a ${typeof value} cannot travel`);
  }
}

function kindOfObject(value: object, depth: number, packing: Packing): NonNullable<Data["kind"]> {
  if (ArrayBuffer.isView(value)) {
    const known = arrays.find(([, Numbers]) => value instanceof Numbers);
    if (known === undefined) throw new Error(`a ${value.constructor.name} cannot travel`);
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return { $case: "arrayValue", value: { type: known[0], ...packing(bytes) } };
  }
  if (Array.isArray(value)) {
    return { $case: "listValue", value: { values: value.map((item) => messageOf(item, depth + 1, packing)) } };
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new Error(`a ${value.constructor.name} cannot travel`);
  }
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .map(([name, item]) => ({ name, value: messageOf(item, depth + 1, packing) }));
  return { $case: "mapValue", value: { entries } };
}

/** @throws WireError `wire/malformed` */
export function dataOf(message: Data | undefined): PlainData {
  return plainOf(message, 0, (array) => {
    if (array.followingBytes !== 0n) throw malformed("an array whose bytes are to follow where none do");
    return arrayOf(array);
  });
}

export type Unpacking = (array: TypedArray) => Numbers;

/** @throws WireError `wire/malformed` */
export function plainOf(message: Data | undefined, depth: number, unpacking: Unpacking): PlainData {
  if (depth > DEPTH_MAX) throw malformed(`data nested more than ${DEPTH_MAX} deep`);
  const kind = message?.kind;
  if (kind === undefined) throw malformed("data without a value");
  switch (kind.$case) {
    case "nullValue":
      return null;
    case "listValue":
      return kind.value.values.map((value) => plainOf(value, depth + 1, unpacking));
    case "mapValue": {
      const names = new Set(kind.value.entries.map(({ name }) => name));
      if (names.size !== kind.value.entries.length) throw malformed("data that names an entry twice");
      return Object.fromEntries(
        kind.value.entries.map(({ name, value }) => [name, plainOf(value, depth + 1, unpacking)]),
      );
    }
    case "arrayValue":
      return unpacking(kind.value);
    case "bigintValue":
      if (!/^-?[0-9]{1,1000}$/.test(kind.value)) throw malformed(`${JSON.stringify(kind.value)} as a whole number`);
      return BigInt(kind.value);
    default:
      return kind.value;
  }
}

function arrayOf({ type, bytes }: Pick<TypedArray, "type" | "bytes">): Numbers {
  // A copy: what was received lies anywhere in a larger buffer, typed arrays must be aligned.
  return numbersOf(type, new Uint8Array(bytes).buffer);
}

export function numbersOf(type: ElementType, buffer: ArrayBuffer): Numbers {
  const known = arrays.find(([known]) => known === type);
  if (known === undefined) throw malformed(`numbers of type ${type}, which is unknown here`);
  const [, Numbers, elementBytes] = known;
  if (buffer.byteLength % elementBytes !== 0)
    throw malformed(`${buffer.byteLength} bytes of numbers of ${elementBytes} bytes`);
  return new Numbers(buffer);
}
