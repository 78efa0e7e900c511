import { type Data, ElementType } from "../proto/index.ts";
import { malformed } from "./errors.ts";

type TypedArrayConstructor = new (buffer: ArrayBuffer) => ArrayBufferView;

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
export function messageOfData(value: unknown, depth = 0): Data {
  if (depth > DEPTH_MAX) throw new Error(`data nested ${depth} deep cannot travel`);
  return { kind: kindOf(value, depth) };
}

function kindOf(value: unknown, depth: number): NonNullable<Data["kind"]> {
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
      return value === null ? { $case: "nullValue", value: true } : kindOfObject(value, depth);
    default:
      throw new Error(`a ${typeof value} cannot travel`);
  }
}

function kindOfObject(value: object, depth: number): NonNullable<Data["kind"]> {
  if (ArrayBuffer.isView(value)) {
    const known = arrays.find(([, Numbers]) => value instanceof Numbers);
    if (known === undefined) throw new Error(`a ${value.constructor.name} cannot travel`);
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return { $case: "arrayValue", value: { type: known[0], bytes } };
  }
  if (Array.isArray(value)) {
    return { $case: "listValue", value: { values: value.map((item) => messageOfData(item, depth + 1)) } };
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new Error(`a ${value.constructor.name} cannot travel`);
  }
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .map(([name, item]) => ({ name, value: messageOfData(item, depth + 1) }));
  return { $case: "mapValue", value: { entries } };
}

/** @throws WireError `wire/malformed` */
export function dataOf(message: Data | undefined, depth = 0): unknown {
  if (depth > DEPTH_MAX) throw malformed(`data nested more than ${DEPTH_MAX} deep`);
  const kind = message?.kind;
  if (kind === undefined) throw malformed("data without a value");
  switch (kind.$case) {
    case "nullValue":
      return null;
    case "listValue":
      return kind.value.values.map((value) => dataOf(value, depth + 1));
    case "mapValue": {
      const names = new Set(kind.value.entries.map(({ name }) => name));
      if (names.size !== kind.value.entries.length) throw malformed("data that names an entry twice");
      return Object.fromEntries(kind.value.entries.map(({ name, value }) => [name, dataOf(value, depth + 1)]));
    }
    case "arrayValue":
      return arrayOf(kind.value);
    case "bigintValue":
      if (!/^-?[0-9]{1,1000}$/.test(kind.value)) throw malformed(`${JSON.stringify(kind.value)} as a whole number`);
      return BigInt(kind.value);
    default:
      return kind.value;
  }
}

function arrayOf({ type, bytes }: { readonly type: ElementType; readonly bytes: Uint8Array }): ArrayBufferView {
  const known = arrays.find(([known]) => known === type);
  if (known === undefined) throw malformed(`numbers of type ${type}, which is unknown here`);
  const [, Numbers, elementBytes] = known;
  if (bytes.length % elementBytes !== 0) throw malformed(`${bytes.length} bytes of numbers of ${elementBytes} bytes`);
  // A copy: what was received lies anywhere in a larger buffer, typed arrays must be aligned.
  return new Numbers(new Uint8Array(bytes).buffer);
}
