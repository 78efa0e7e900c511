import type { TensorEntry } from "./checkpoint.ts";
import { elementBits, type StoredDtype, storedDtypes } from "./dtype.ts";
import { type CheckpointCode, CheckpointError, quoted } from "./errors.ts";
import { JsonBytes } from "./json-bytes.ts";
import { NameSet } from "./name-set.ts";

/** More than any model has; bounds the memory that a header can claim. */
export const MAX_TENSORS = 1_000_000;
/** Of a tensor's name or a metadata key, in UTF-8. */
export const MAX_NAME_BYTES = 1024;
/** What PyTorch and NumPy allow. */
export const MAX_RANK = 64;
/** Keys under `__metadata__`; adapters by kohya's scripts have about a hundred. */
export const MAX_METADATA_KEYS = 10_000;
/** Shorter than any tensor's entry, so that the tables below are never larger than the header calls for. */
const MIN_ENTRY_BYTES = 48;

const dtypeBit = { index: 0x7f, nameEscaped: 0x80 };

export interface ScannedHeader {
  /** In the order of their offsets. */
  readonly entries: readonly TensorEntry[];
  /** What stands under `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * The tensors that a safetensors header describes. The header is checked in one pass over its bytes that ends at the
 * first fault and keeps 27 bytes a tensor; objects are made only once all of it is known to be right.
 *
 * `header`: the JSON text, without the length before it. `dataBytes`: what follows it in the file.
 * `fileName` is for messages, `file` goes into the entries. Offsets in entries count from the start of the file.
 * @throws CheckpointError naming file, tensor, what was found and what is allowed
 */
export function scanHeader(header: Uint8Array, dataBytes: number, fileName: string, file = 0): ScannedHeader {
  const scan = new HeaderScan(header, dataBytes, fileName);
  scan.check();
  return { entries: scan.entries(file), metadata: scan.metadata() };
}

class HeaderScan {
  readonly #header: Uint8Array;
  readonly #dataBytes: number;
  readonly #fileName: string;
  readonly #json: JsonBytes;
  /** Looks at names scanned before while #json stands elsewhere. */
  readonly #again: JsonBytes;

  // One tensor each: where its name and its shape begin in the header, its range in the data, its dtype (dtypeBit).
  readonly #nameAt: Uint32Array;
  readonly #shapeAt: Uint32Array;
  readonly #begin: Float64Array;
  readonly #end: Float64Array;
  readonly #dtype: Uint8Array;
  readonly #names: NameSet;
  readonly #shapeInWork: number[] = [];
  #count = 0;
  #inTensor = false;
  #metadataAt = -1;

  constructor(header: Uint8Array, dataBytes: number, fileName: string) {
    this.#header = header;
    this.#dataBytes = dataBytes;
    this.#fileName = fileName;
    const fail = (code: CheckpointCode, message: string, position: number): never => {
      const tensor = this.#inTensor ? `, tensor ${this.#nameOf(this.#count)}` : "";
      throw new CheckpointError(code, `${fileName}${tensor}: ${message} (byte ${position} of the header)`, {
        hint: headerHint,
      });
    };
    this.#json = new JsonBytes(header, fail);
    this.#again = new JsonBytes(header, fail);
    const capacity = Math.min(MAX_TENSORS, Math.ceil(header.length / MIN_ENTRY_BYTES)) + 1;
    this.#nameAt = new Uint32Array(capacity);
    this.#shapeAt = new Uint32Array(capacity);
    this.#begin = new Float64Array(capacity);
    this.#end = new Float64Array(capacity);
    this.#dtype = new Uint8Array(capacity);
    this.#names = new NameSet(capacity);
  }

  check(): void {
    const json = this.#json;
    if (this.#header[0] !== 0x7b) {
      const found = this.#header.length === 0 ? "it is empty" : `it begins with byte ${this.#header[0]}`;
      this.#refuse("checkpoint/header-start", `the header must begin with "{", ${found}`);
    }
    json.position = 1;
    if (!json.accept("}")) {
      do {
        this.#checkMember();
      } while (json.another("}", "after an entry"));
    }
    this.#checkTrailing();
    this.#checkTiling();
  }

  metadata(): ReadonlyMap<string, string> {
    const metadata = new Map<string, string>();
    if (this.#metadataAt < 0) return metadata;
    const json = this.#json;
    json.position = this.#metadataAt + 1;
    if (json.accept("}")) return metadata;
    do {
      const key = json.string("as key");
      json.expect(":", "");
      metadata.set(key, json.string("as value"));
    } while (json.another("}", ""));
    return metadata;
  }

  entries(file: number): readonly TensorEntry[] {
    const dataStart = 8 + this.#header.length;
    const entries: TensorEntry[] = [];
    let sorted = true;
    for (let k = 0; k < this.#count; k++) {
      const shape = this.#shapeOf(k);
      const begin = this.#begin[k] ?? 0;
      const end = this.#end[k] ?? 0;
      sorted &&= k === 0 || begin >= (this.#end[k - 1] ?? 0);
      entries.push({
        name: this.#plainNameOf(k),
        dtype: this.#dtypeOf(k),
        shape,
        elementCount: shape.reduce((product, length) => product * length, 1),
        file,
        offsetBytes: dataStart + begin,
        sizeBytes: end - begin,
      });
    }
    // Empty tensors share their offset with what follows them.
    if (!sorted) entries.sort((a, b) => a.offsetBytes - b.offsetBytes || a.sizeBytes - b.sizeBytes);
    return entries;
  }

  #checkMember(): void {
    const json = this.#json;
    json.peek();
    const nameAt = json.position;
    json.scanString("as a tensor's name");
    if (json.isKept("__metadata__")) {
      this.#checkMetadata();
      return;
    }
    if (this.#count === MAX_TENSORS) {
      this.#refuse("checkpoint/too-many-tensors", `more than ${MAX_TENSORS} tensors, which is what is allowed`);
    }
    this.#checkName(nameAt);
    this.#inTensor = true;
    json.expect(":", "after a tensor's name");
    this.#checkEntry();
    this.#inTensor = false;
    this.#count++;
  }

  #checkName(nameAt: number): void {
    const json = this.#json;
    const fault = nameFault(json);
    if (fault !== undefined) {
      this.#refuse("checkpoint/tensor-name", `a tensor's name (byte ${nameAt} of the header) ${fault}`);
    }
    json.refuseProto();
    const index = this.#count;
    this.#nameAt[index] = nameAt;
    this.#dtype[index] = json.escaped ? dtypeBit.nameEscaped : 0;
    const other = this.#names.add(json.kept, json.decodedBytes, index, this.#hasScannedName);
    if (other >= 0) this.#refuse("checkpoint/duplicate-tensor", `tensor ${this.#nameOf(index)} stands in it twice`);
  }

  /** Whether tensor `other` has the name that was scanned last. */
  readonly #hasScannedName = (other: number): boolean => {
    const { kept, decodedBytes } = this.#json;
    const header = this.#header;
    const at = (this.#nameAt[other] ?? 0) + 1;
    if (((this.#dtype[other] ?? 0) & dtypeBit.nameEscaped) === 0) {
      for (let k = 0; k < decodedBytes; k++) if (header[at + k] !== kept[k]) return false;
      return header[at + decodedBytes] === 0x22;
    }
    this.#again.position = at - 1;
    this.#again.scanString("");
    if (this.#again.decodedBytes !== decodedBytes) return false;
    for (let k = 0; k < decodedBytes; k++) if (this.#again.kept[k] !== kept[k]) return false;
    return true;
  };

  #checkEntry(): void {
    const json = this.#json;
    const index = this.#count;
    json.expect("{", "to begin a tensor's entry");
    let bitsPerElement = -1;
    let elementCount = -1;
    let hasOffsets = false;
    do {
      json.scanString("as key of a tensor's entry");
      if (json.isKept("dtype") && bitsPerElement < 0) {
        json.expect(":", "after a key");
        const dtype = this.#checkDtype();
        this.#dtype[index] = (this.#dtype[index] ?? 0) | storedDtypes.indexOf(dtype);
        bitsPerElement = elementBits(dtype);
      } else if (json.isKept("shape") && elementCount < 0) {
        json.expect(":", "after a key");
        elementCount = this.#checkShape();
      } else if (json.isKept("data_offsets") && !hasOffsets) {
        json.expect(":", "after a key");
        this.#checkOffsets();
        hasOffsets = true;
      } else {
        this.#refuseEntryKey();
      }
    } while (json.another("}", "after a member of a tensor's entry"));
    const missing = bitsPerElement < 0 ? "dtype" : elementCount < 0 ? "shape" : hasOffsets ? undefined : "data_offsets";
    if (missing !== undefined) this.#refuseTensor("checkpoint/entry-keys", `"${missing}" is missing`);
    this.#checkSize(elementCount, bitsPerElement);
  }

  #refuseEntryKey(): never {
    const json = this.#json;
    json.refuseProto();
    const key = quoted(Buffer.from(json.kept).toString("utf8", 0, Math.min(json.decodedBytes, 100)));
    if (key === '"dtype"' || key === '"shape"' || key === '"data_offsets"') {
      this.#refuseTensor("checkpoint/duplicate-key", `the key ${key} stands in it twice`);
    }
    this.#refuseTensor("checkpoint/entry-keys", `the key ${key} is unknown; dtype, shape, data_offsets are allowed`);
  }

  #checkDtype(): StoredDtype {
    const json = this.#json;
    json.scanString("as dtype");
    for (const dtype of storedDtypes) if (json.isKept(dtype)) return dtype;
    const allowed = storedDtypes.join(", ");
    const found = quoted(Buffer.from(json.kept).toString("utf8", 0, Math.min(json.decodedBytes, 100)));
    return this.#refuseTensor("checkpoint/dtype-unknown", `dtype ${found} is unknown; ${allowed} are allowed`);
  }

  /** Returns the number of elements. */
  #checkShape(): number {
    const json = this.#json;
    json.expect("[", "to begin a shape");
    this.#shapeAt[this.#count] = json.position - 1;
    let elementCount = 1;
    let nonZeroProduct = 1;
    let rank = 0;
    if (json.accept("]")) return elementCount;
    do {
      if (++rank > MAX_RANK) {
        this.#refuseTensor("checkpoint/shape-rank", `its shape has more than ${MAX_RANK} dimensions`);
      }
      const length = json.integer("in a shape");
      elementCount *= length;
      // Without the zeros: the answer must not depend on the order of the dimensions.
      if (length > 0) nonZeroProduct *= length;
      if (nonZeroProduct > Number.MAX_SAFE_INTEGER) this.#refuseOverflow("elements");
    } while (json.another("]", "in a shape"));
    return elementCount;
  }

  #checkOffsets(): void {
    const json = this.#json;
    const index = this.#count;
    json.expect("[", "to begin data_offsets");
    const begin = json.integer("in data_offsets");
    json.expect(",", "between the two data_offsets");
    const end = json.integer("in data_offsets");
    json.expect("]", "after the two data_offsets");
    if (begin > end) {
      this.#refuseTensor("checkpoint/offsets-backwards", `its data_offsets run backwards, from ${begin} to ${end}`);
    }
    if (end > this.#dataBytes) {
      const found = `its data_offsets [${begin}, ${end}] pass the end of the file, which holds ${this.#dataBytes} bytes of data`;
      throw new CheckpointError("checkpoint/offsets-past-end", this.#placed(found), {
        hint: "The file may have been cut short: compare its size with the original, and get it again.",
      });
    }
    this.#begin[index] = begin;
    this.#end[index] = end;
  }

  #checkSize(elementCount: number, bitsPerElement: number): void {
    const index = this.#count;
    // Codes of some types share bytes: as many of them as fill their last byte.
    const wanted = (elementCount / 8) * bitsPerElement;
    if (wanted > Number.MAX_SAFE_INTEGER) this.#refuseOverflow("bytes");
    if (!Number.isInteger(wanted)) {
      const text = `its ${elementCount} elements of ${bitsPerElement} bits do not fill whole bytes`;
      this.#refuseTensor("checkpoint/offsets-size", text);
    }
    const found = (this.#end[index] ?? 0) - (this.#begin[index] ?? 0);
    if (found !== wanted) {
      const text = `its data_offsets span ${found} bytes, its dtype and shape ask for ${wanted}`;
      this.#refuseTensor("checkpoint/offsets-size", text);
    }
  }

  #checkMetadata(): void {
    const json = this.#json;
    if (this.#metadataAt >= 0) this.#refuse("checkpoint/duplicate-key", "__metadata__ stands in it twice");
    json.expect(":", "after __metadata__");
    if (json.peek() !== 0x7b) this.#refuse("checkpoint/metadata", "__metadata__ must map strings to strings");
    this.#metadataAt = json.position++;
    const keys = new Set<string>();
    if (json.accept("}")) return;
    do {
      json.peek();
      const keyAt = json.position;
      json.scanString("as key in __metadata__");
      json.refuseProto();
      if (json.decodedBytes > MAX_NAME_BYTES) {
        this.#refuse("checkpoint/metadata", `a key in __metadata__ has more than ${MAX_NAME_BYTES} bytes`);
      }
      if (keys.size === MAX_METADATA_KEYS) {
        this.#refuse("checkpoint/metadata", `__metadata__ has more than ${MAX_METADATA_KEYS} keys`);
      }
      this.#again.position = keyAt;
      const key = this.#again.string("");
      if (keys.has(key)) this.#refuse("checkpoint/duplicate-key", `__metadata__ has the key ${quoted(key)} twice`);
      keys.add(key);
      json.expect(":", "after a key in __metadata__");
      if (json.peek() !== 0x22) this.#refuse("checkpoint/metadata", `the value of ${quoted(key)} is no string`);
      json.scanString("as value in __metadata__");
    } while (json.another("}", "after a value in __metadata__"));
  }

  #checkTrailing(): void {
    const header = this.#header;
    for (let at = this.#json.position; at < header.length; at++) {
      if (header[at] === 0x20) continue;
      const found = `byte ${header[at]} stands after its end, at byte ${at} of ${header.length}`;
      this.#refuse("checkpoint/header-trailing", `${found}; only spaces are allowed there`);
    }
  }

  /** Whether the tensors fill the data without overlap or hole. Most files list them in order: then one look suffices. */
  #checkTiling(): void {
    let covered = 0;
    let k = 0;
    for (; k < this.#count && this.#begin[k] === covered; k++) covered = this.#end[k] ?? 0;
    if (k < this.#count) this.#checkTilingSorted();
    else if (covered < this.#dataBytes) this.#refuseHole(covered, this.#dataBytes);
  }

  /**
   * Sorted by themselves, begins and ends tell how many tensors cover each byte: it is one everywhere if and only if each
   * begin equals the end before it. That needs no sorted list of pairs, and typed arrays sort in place.
   */
  #checkTilingSorted(): void {
    const begins = this.#names.intoScratch().subarray(0, this.#count);
    const ends = new Float64Array(this.#count);
    let filled = 0;
    for (let k = 0; k < this.#count; k++) {
      if (this.#begin[k] === this.#end[k]) continue;
      begins[filled] = this.#begin[k] ?? 0;
      ends[filled] = this.#end[k] ?? 0;
      filled++;
    }
    const sortedBegins = begins.subarray(0, filled).sort();
    const sortedEnds = ends.subarray(0, filled).sort();
    let covered = 0;
    for (let k = 0; k < filled; k++) {
      const begin = sortedBegins[k] ?? 0;
      if (begin > covered) this.#refuseHole(covered, begin);
      if (begin < covered) this.#refuseOverlap(begin);
      covered = sortedEnds[k] ?? 0;
    }
    if (covered < this.#dataBytes) this.#refuseHole(covered, this.#dataBytes);
    for (let k = 0; k < this.#count; k++) {
      const begin = this.#begin[k] ?? 0;
      const isEmpty = begin === this.#end[k];
      if (isEmpty && begin !== this.#dataBytes && !includesSorted(sortedBegins, begin)) this.#refuseOverlap(begin);
    }
  }

  #refuseHole(begin: number, end: number): never {
    const next = this.#find((k) => this.#begin[k] === end && this.#end[k] !== end);
    const place = next < 0 ? "at the end" : `before tensor ${this.#nameOf(next)}`;
    this.#refuse(
      "checkpoint/offsets-hole",
      `bytes ${begin} to ${end} of the data, ${place}, belong to no tensor; no byte may be left over`,
    );
  }

  #refuseOverlap(at: number): never {
    const first = this.#find((k) => this.#begin[k] === at);
    const other = this.#find((k) => k !== first && (this.#begin[k] ?? 0) <= at && (this.#end[k] ?? 0) > at);
    const ranges = [first, other].map((k) => `${this.#nameOf(k)} [${this.#begin[k]}, ${this.#end[k]}]`);
    this.#refuse(
      "checkpoint/offsets-overlap",
      `tensors ${ranges.join(" and ")} overlap; each byte may belong to one tensor only`,
    );
  }

  #find(isWanted: (tensor: number) => boolean): number {
    for (let k = 0; k < this.#count; k++) if (isWanted(k)) return k;
    return -1;
  }

  #refuse(code: CheckpointCode, message: string): never {
    throw new CheckpointError(code, `${this.#fileName}: ${message}`, { hint: headerHint });
  }

  /** The fault lies in the tensor being scanned. */
  #refuseTensor(code: CheckpointCode, message: string): never {
    throw new CheckpointError(code, this.#placed(message), { hint: headerHint });
  }

  #refuseOverflow(what: string): never {
    const found = `the number of ${what} that its shape asks for overflows`;
    this.#refuseTensor("checkpoint/shape-overflow", `${found}; at most ${Number.MAX_SAFE_INTEGER} are allowed`);
  }

  #placed(message: string): string {
    return `${this.#fileName}, tensor ${this.#nameOf(this.#count)}: ${message}`;
  }

  /** For messages. */
  #nameOf(tensor: number): string {
    return quoted(this.#plainNameOf(tensor));
  }

  #plainNameOf(tensor: number): string {
    this.#again.position = this.#nameAt[tensor] ?? 0;
    return this.#again.string("");
  }

  #shapeOf(tensor: number): readonly number[] {
    const json = this.#again;
    json.position = (this.#shapeAt[tensor] ?? 0) + 1;
    const shape = this.#shapeInWork;
    shape.length = 0;
    if (json.accept("]")) return [];
    do {
      shape.push(json.integer(""));
    } while (json.another("]", ""));
    return shape.slice(); // exactly as long as it must be; push makes room for 17, in each of a million tensors
  }

  #dtypeOf(tensor: number): StoredDtype {
    const dtype = storedDtypes[(this.#dtype[tensor] ?? 0) & dtypeBit.index];
    if (dtype === undefined) throw new Error("a tensor passed the check without a dtype");
    return dtype;
  }
}

const headerHint = "The file is damaged or was not written by a safetensors library: get it again, or write it anew.";

/** What is wrong with the name scanned last; undefined if nothing is. */
export function nameFault(json: JsonBytes): string | undefined {
  if (json.decodedBytes === 0) return "is empty";
  if (json.decodedBytes > MAX_NAME_BYTES)
    return `has ${json.decodedBytes} bytes, at most ${MAX_NAME_BYTES} are allowed`;
  if (json.hasControl) return "holds a control character, none is allowed";
  return undefined;
}

function includesSorted(sorted: Float64Array, value: number): boolean {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return sorted[low] === value;
}
