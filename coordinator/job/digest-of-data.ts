import { createHash, type Hash } from "node:crypto";
import { resultOf, type Steps } from "../../merge/methods/index.ts";
import { isList, type PlainData } from "../../merge/work/index.ts";

/** SHA-256 of plain data, in which no two different values are alike; in whatever order a map has its entries. */
export function digestOfData(value: PlainData): string {
  return resultOf(digestInSteps(value));
}

/** The same, with a step for each array of numbers. */
export function* digestInSteps(value: PlainData): Steps<string> {
  const hash = createHash("sha256");
  yield* add(hash, value);
  return hash.digest("hex");
}

function* add(hash: Hash, value: PlainData): Steps<void> {
  if (typeof value === "string") {
    hash.update(`text ${value.length}:${value}`);
  } else if (typeof value !== "object" || value === null) {
    hash.update(`${typeof value} ${Object.is(value, -0) ? "-0" : String(value)};`);
  } else if (ArrayBuffer.isView(value)) {
    hash.update(`${value.constructor.name} ${value.byteLength}:`);
    hash.update(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    yield;
  } else if (isList(value)) {
    hash.update(`list ${value.length}:`);
    for (const item of value) yield* add(hash, item);
  } else {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    hash.update(`map ${entries.length}:`);
    for (const [name, item] of entries.sort(([a], [b]) => (a < b ? -1 : 1))) {
      hash.update(`${name.length} ${name}:`);
      yield* add(hash, item ?? null);
    }
  }
}
