import { isNotFound, join, type Place, readWhole, type Source, StorageError } from "../../storage/index.ts";
import { PublishError } from "../errors.ts";
import { MANIFEST_NAME, SUMS_NAME } from "./file-names.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import { parseSums, type Sums, sumsOf, sumsText } from "./sums.ts";

/** A manifest of a million slices has some 250 MB. */
const MAX_RECORD_BYTES = 1_000_000_000;

/** What is left of the two records of an output. */
export interface OutputRecords {
  readonly manifest: Manifest | undefined;
  /** The sums as they stand, if they are sound and, where the manifest is sound too, agree with it. Of one sealed by checksums: none. */
  readonly sums: Sums | undefined;
  readonly faults: readonly OutputRecordFault[];
}

export interface OutputRecordFault {
  readonly file: string;
  readonly kind: "missing" | "damaged";
  readonly message: string;
}

/** Reads manifest and SHA256SUMS; what is wrong with them is told, not thrown. */
export async function readRecords(store: Source, out: Place): Promise<OutputRecords> {
  const faults: OutputRecordFault[] = [];
  const read = async <T>(file: string, parse: (bytes: Uint8Array) => T): Promise<T | undefined> => {
    try {
      return parse(await readWhole(store, join(out, file), MAX_RECORD_BYTES));
    } catch (error) {
      if (error instanceof PublishError) faults.push({ file, kind: "damaged", message: error.message });
      else if (isNotFound(error)) faults.push({ file, kind: "missing", message: "it is not there" });
      else if (error instanceof StorageError) faults.push({ file, kind: "damaged", message: error.message });
      else throw error;
      return undefined;
    }
  };
  const manifest = await read(MANIFEST_NAME, parseManifest);
  if (manifest?.seal === "checksums") return { manifest, sums: undefined, faults };
  const sums = await read(SUMS_NAME, parseSums);
  if (manifest === undefined || sums === undefined || sumsText(sums) === sumsText(sumsOf(manifest))) {
    return { manifest, sums, faults };
  }
  const message = `it is not the one that goes with ${MANIFEST_NAME}`;
  return { manifest, sums: undefined, faults: [...faults, { file: SUMS_NAME, kind: "damaged", message }] };
}
