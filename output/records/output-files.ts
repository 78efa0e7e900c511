import { sha256Hex } from "../../checkpoint/index.ts";
import type { Place, Source } from "../../storage/index.ts";
import { MANIFEST_NAME, SUMS_NAME } from "./file-names.ts";
import { manifestText, type OutputFile } from "./manifest.ts";
import { readRecords } from "./records.ts";
import { sumsText } from "./sums.ts";

/**
 * Every file of a published output by its records, manifest and SHA256SUMS too; undefined where one of these two is not sound. One that was
 * sealed by checksums has no SHA256SUMS.
 */
export async function maybeOutputFiles(store: Source, out: Place): Promise<readonly OutputFile[] | undefined> {
  const { manifest, sums } = await readRecords(store, out);
  if (manifest === undefined || (sums === undefined && manifest.seal === undefined)) return undefined;
  const own = recordFile(MANIFEST_NAME, manifestText(manifest));
  return [...manifest.files, own, ...(sums === undefined ? [] : [recordFile(SUMS_NAME, sumsText(sums))])];
}

function recordFile(name: string, text: string): OutputFile {
  const bytes = Buffer.from(text);
  return { name, sizeBytes: bytes.length, sha256: sha256Hex(bytes) };
}
