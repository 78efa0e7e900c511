import { join, type Place, type Source, StorageError } from "../../storage/index.ts";
import { filesIn } from "../output-directory.ts";
import { changesTheModel, MANIFEST_NAME, SUMS_NAME } from "../records/file-names.ts";
import type { Manifest, ManifestSlice } from "../records/manifest.ts";
import { readRecords } from "../records/records.ts";
import { digestOfFile, hashRanges } from "../seal/read-back.ts";

/** One thing that is not as it was published. */
export interface Finding {
  readonly file: string;
  /**
   * missing, size, damaged: the file as a whole. slice, header: where in a shard the damage is. unexpected: a file that
   * no record lists and that a loader may pick up.
   */
  readonly kind: "missing" | "size" | "damaged" | "header" | "slice" | "unexpected";
  readonly message: string;
  /** For "slice": its name in the plan, and the tensors that are in it. */
  readonly slice?: string;
  readonly tensors?: readonly string[];
  /** For "header" and "slice": where in the file. */
  readonly offsetBytes?: number;
  readonly sizeBytes?: number;
}

export interface VerifyReport {
  /** No findings. */
  readonly ok: boolean;
  /** What the files were compared with: the manifest, or, where that is damaged, SHA256SUMS; nothing, where both are. */
  readonly measure: "manifest" | "sums" | "nothing";
  readonly plan: string | undefined;
  readonly files: number;
  readonly slices: number;
  readonly bytesRead: number;
  /**
   * Of the values, at which verify does not look: whether the merge stopped at any that was NaN or infinity. Undefined where no
   * record says so.
   */
  readonly valuesFinite: boolean | undefined;
  readonly findings: readonly Finding[];
  /** Files that no record lists and that change nothing. */
  readonly notes: readonly string[];
}

interface Expected {
  readonly name: string;
  readonly sha256: string;
  /** SHA256SUMS has no sizes. */
  readonly sizeBytes?: number;
}

/**
 * Compares an output with its own records, reading every byte once; shards that differ are read again, slice by slice.
 * @throws StorageError if the directory cannot be listed; what is wrong with files in it is found, not thrown
 */
export async function verifyOutput(store: Source, out: Place): Promise<VerifyReport> {
  const present = await filesIn(store, out);
  const { manifest, sums, faults } = await readRecords(store, out);
  const findings: Finding[] = faults.map((fault) => ({ ...fault }));
  const expected = expectedFiles(manifest, sums?.files);
  let bytesRead = 0;
  for (const file of expected) {
    bytesRead += (await store.identity(join(out, file.name)))?.sizeBytes ?? 0;
    findings.push(...(await checkFile(store, out, file, manifest)));
  }
  const records = manifest?.seal === "checksums" ? [MANIFEST_NAME] : [MANIFEST_NAME, SUMS_NAME];
  const known = new Set([...records, ...expected.map(({ name }) => name)]);
  const unknown = present.filter((name) => !known.has(name));
  for (const file of unknown.filter(changesTheModel)) {
    findings.push({ file, kind: "unexpected", message: "no record lists it, and loaders may pick it up" });
  }
  return {
    ok: findings.length === 0,
    measure: manifest !== undefined ? "manifest" : sums !== undefined ? "sums" : "nothing",
    plan: manifest?.plan ?? sums?.plan,
    files: expected.length,
    slices: manifest?.slices.length ?? 0,
    bytesRead,
    valuesFinite: manifest === undefined ? undefined : manifest.options.allowNonfinite !== true,
    findings,
    notes: unknown.filter((name) => !changesTheModel(name)),
  };
}

function expectedFiles(
  manifest: Manifest | undefined,
  sums: ReadonlyMap<string, string> | undefined,
): readonly Expected[] {
  if (manifest !== undefined) return manifest.files;
  // The manifest itself is known to be damaged then.
  const listed = [...(sums ?? [])].filter(([name]) => name !== MANIFEST_NAME);
  return listed.map(([name, sha256]) => ({ name, sha256 }));
}

async function checkFile(
  store: Source,
  out: Place,
  file: Expected,
  manifest: Manifest | undefined,
): Promise<readonly Finding[]> {
  const path = join(out, file.name);
  const identity = await store.identity(path);
  if (identity === undefined) return [{ file: file.name, kind: "missing", message: "it is not there" }];
  const findings: Finding[] = [];
  if (file.sizeBytes !== undefined && identity.sizeBytes !== file.sizeBytes) {
    const message = `it has ${identity.sizeBytes} bytes, ${file.sizeBytes} were published`;
    findings.push({ file: file.name, kind: "size", message });
  } else {
    const message = await hashFault(store, path, file.sha256);
    if (message === undefined) return [];
    findings.push({ file: file.name, kind: "damaged", message });
  }
  const places = manifest === undefined ? [] : await findDamage(store, path, file.name, manifest);
  // Where the damage is says more than that there is some; a size stays a finding of its own.
  return places.length > 0 ? [...findings.filter(({ kind }) => kind === "size"), ...places] : findings;
}

async function hashFault(store: Source, path: Place, sha256: string): Promise<string | undefined> {
  try {
    const found = await digestOfFile(store, path, sha256);
    return found === sha256 ? undefined : `its SHA-256 is ${found}, ${sha256} was published`;
  } catch (error) {
    return readFault(error);
  }
}

/** Header and slices of a shard whose bytes are not those published; nothing for files that are no shards. */
async function findDamage(store: Source, path: Place, file: string, manifest: Manifest): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  const shard = manifest.shards.find(({ name }) => name === file);
  if (shard === undefined) return [];
  const header = { offsetBytes: 0, sizeBytes: shard.headerBytes };
  const headerFault = await rangeFault(store, path, header, shard.headerSha256);
  if (headerFault !== undefined) findings.push({ file, kind: "header", message: headerFault, ...header });
  for (const slice of manifest.slices) {
    if (slice.file !== file) continue;
    const message = await rangeFault(store, path, slice, slice.sha256);
    if (message !== undefined) findings.push(sliceFinding(slice, message));
  }
  return findings;
}

async function rangeFault(
  store: Source,
  path: Place,
  range: { readonly offsetBytes: number; readonly sizeBytes: number },
  sha256: string,
): Promise<string | undefined> {
  try {
    const [found] = await hashRanges(store, path, [range]);
    return found === sha256 ? undefined : `its SHA-256 is ${found}, ${sha256} was published`;
  } catch (error) {
    return readFault(error);
  }
}

function sliceFinding({ id, file, tensors, offsetBytes, sizeBytes }: ManifestSlice, message: string): Finding {
  return { file, kind: "slice", message, slice: id, tensors, offsetBytes, sizeBytes };
}

/** A file that ends early, is no file or cannot be read is damaged like any other. */
function readFault(error: unknown): string {
  if (error instanceof StorageError) return `it cannot be read: ${error.message}`;
  throw error;
}
