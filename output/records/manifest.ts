import { sha256Hex } from "../../checkpoint/index.ts";
import { canonicalJson, type Json, type Plan, type PlanOptions } from "../../merge/work/index.ts";
import { hubPlaceOf, maybePinnedHubPlace, type Place } from "../../storage/index.ts";
import { PublishError } from "../errors.ts";
import { headerSha256 } from "../seal/seal-work.ts";
import { isSafeName, MANIFEST_NAME } from "./file-names.ts";
import { maybePartsHash } from "./parts-hash.ts";

/** Raised when the manifest's or SHA256SUMS' form changes. */
export const RECORD_FORMAT = 1;
/** Of a manifest that has hashes of parts where earlier versions look for those of files. */
const FORMAT_OF_CHECKSUMS = 2;

/** A published file. */
export interface OutputFile {
  /** Relative to the output, "/" as separator. */
  readonly name: string;
  readonly sizeBytes: number;
  /** Of all of it, hex; of a shard that was sealed by its store's checksums, of its parts: see `PartsHash`. */
  readonly sha256: string;
}

/** What an output is and came from. It holds nothing of the machine or the moment: equal merges have equal manifests. */
export interface Manifest {
  readonly format: number;
  /** Shards were not read back: their store's checksums are those of what was computed. There is no SHA256SUMS then. */
  readonly seal?: "checksums";
  /** Version of deltaworks that made the output. */
  readonly tool: string;
  /** SHA-256 of the plan. */
  readonly plan: string;
  readonly seed: string;
  readonly options: PlanOptions;
  /** In normal form, models by label. */
  readonly recipe: Json;
  readonly inputs: readonly ManifestInput[];
  /** All files but the manifest itself and SHA256SUMS, sorted by name. */
  readonly files: readonly OutputFile[];
  readonly shards: readonly ManifestShard[];
  readonly slices: readonly ManifestSlice[];
  /** Of the canonical JSON of all other fields. */
  readonly sha256: string;
}

export interface ManifestInput {
  readonly label: string;
  /** Where it was read, if that is a place of everybody's at which nothing changes: "hf://owner/name@COMMIT". */
  readonly source?: string;
  readonly files: readonly ManifestInputFile[];
}

export interface ManifestInputFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly headerSha256: string;
  /** Of the whole file; only with --hash-inputs. */
  readonly sha256?: string;
}

/** What of a shard is in no slice: length and header. */
export interface ManifestShard {
  readonly name: string;
  readonly headerBytes: number;
  readonly headerSha256: string;
}

export interface ManifestSlice {
  readonly id: string;
  readonly file: string;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Names of the tensors that are in it, whole or in part. */
  readonly tensors: readonly string[];
}

export interface ManifestSources {
  readonly plan: Plan;
  readonly planDigest: string;
  readonly toolVersion: string;
  /** In the order of plan.slices. */
  readonly sliceSha256s: readonly string[];
  /** Shards and documents, in any order. */
  readonly files: readonly OutputFile[];
  /** Per input, per file of plan.inputs; with --hash-inputs. */
  readonly inputSha256s?: readonly (readonly string[])[] | undefined;
  /** Per input; see `ManifestInput`. */
  readonly inputSources?: InputSources | undefined;
}

export type InputSources = readonly (string | undefined)[];

/** A place of the Hub at a commit, that says nothing of this machine. `files`: of an input. */
export function sourceOf(files: readonly { readonly path: Place }[]): string | undefined {
  const [first] = files;
  const pinned = first === undefined ? undefined : maybePinnedHubPlace(first.path);
  return pinned === undefined ? undefined : hubPlaceOf({ ...pinned, path: "" });
}

export function buildManifest(sources: ManifestSources): Manifest {
  const { plan, planDigest, toolVersion, sliceSha256s, files, inputSha256s, inputSources } = sources;
  const isSealedByStore = files.some(({ sha256 }) => maybePartsHash(sha256) !== undefined);
  const content: Omit<Manifest, "sha256"> = {
    ...(isSealedByStore ? { format: FORMAT_OF_CHECKSUMS, seal: "checksums" as const } : { format: RECORD_FORMAT }),
    tool: toolVersion,
    plan: planDigest,
    seed: plan.seed,
    options: plan.options,
    recipe: plan.recipe,
    inputs: plan.inputs.map(({ label, files }, input) => ({
      label,
      ...(inputSources?.[input] !== undefined && { source: inputSources[input] }),
      files: files.map(({ name, sizeBytes, headerSha256 }, file) => {
        const sha256 = inputSha256s?.[input]?.[file];
        return { name, sizeBytes, headerSha256, ...(sha256 === undefined ? {} : { sha256 }) };
      }),
    })),
    files: files
      .map(({ name, sizeBytes, sha256 }) => ({ name, sizeBytes, sha256 }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    shards: plan.shards.map(({ name, dataOffsetBytes }, shard) => ({
      name,
      headerBytes: dataOffsetBytes,
      headerSha256: headerSha256(plan, shard),
    })),
    slices: plan.slices.map(({ id, shard, offsetBytes, sizeBytes, parts }, index) => {
      const file = plan.shards[shard]?.name;
      const sha256 = sliceSha256s[index];
      if (file === undefined || sha256 === undefined) throw new Error(`slice ${id} has no shard or no hash`);
      const tensors = [...new Set(parts.map(({ task }) => plan.tasks[task]?.name ?? ""))];
      return { id, file, offsetBytes, sizeBytes, sha256, tensors };
    }),
  };
  return { ...content, sha256: sha256Hex(Buffer.from(canonicalJson(content))) };
}

/** The file's text: canonical order of keys, one value a line. There is one text for a manifest, so any changed byte shows. */
export function manifestText(manifest: Manifest): string {
  return `${JSON.stringify(JSON.parse(canonicalJson(manifest)), null, 1)}\n`;
}

/** @throws PublishError `publish/manifest` unless every byte is what `manifestText` wrote */
export function parseManifest(bytes: Uint8Array): Manifest {
  const text = Buffer.from(bytes).toString("utf8");
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw damaged(`it is no JSON: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
  if (!isRecord(parsed)) throw damaged("it is no JSON object");
  const { sha256, ...content } = parsed;
  const found = sha256Hex(Buffer.from(canonicalJson(content)));
  if (found !== sha256) throw damaged(`its content has SHA-256 ${found}, it says ${String(sha256)}`);
  if (content.format !== (content.seal === "checksums" ? FORMAT_OF_CHECKSUMS : RECORD_FORMAT)) {
    throw new PublishError(
      "publish/manifest",
      `${MANIFEST_NAME} has format ${String(content.format)}, this version knows ${RECORD_FORMAT} and ${FORMAT_OF_CHECKSUMS}`,
      { hint: "Use the version of deltaworks that made the output, or a later one." },
    );
  }
  const fault = formFault(content);
  if (fault !== undefined) throw damaged(fault);
  const manifest = parsed as unknown as Manifest;
  if (!Buffer.from(manifestText(manifest)).equals(bytes)) throw damaged("its spaces or the order of its keys changed");
  return manifest;
}

/** A sound hash proves that nothing was damaged, not who wrote it: names in it are used to read and remove files. */
function formFault(content: Record<string, unknown>): string | undefined {
  const texts = [content.tool, content.plan, content.seed];
  if (!texts.every(isText) || !isRecord(content.options)) return "tool, plan, seed or options are missing";
  const { inputs, files, shards, slices } = content;
  const lists = [inputs, files, shards, slices];
  if (!lists.every((list) => Array.isArray(list) && list.every(isRecord))) return "a list is missing";
  const isInput = (input: Record<string, unknown>) =>
    isText(input.label) &&
    (input.source === undefined || isText(input.source)) &&
    Array.isArray(input.files) &&
    input.files.every((file) => isRecord(file) && isFile(file));
  const isFile = (file: Record<string, unknown>) => isText(file.name) && isSize(file.sizeBytes);
  if (!recordsIn(inputs).every(isInput)) return "an input has no label, or a file of it no name or size";
  const names = new Set<unknown>();
  for (const file of recordsIn(files)) {
    if (!isFile(file) || !isText(file.sha256)) return "a file has no name, size or hash";
    if (!isSafeName(String(file.name))) return `${JSON.stringify(file.name)} is no name of a file inside the output`;
    names.add(file.name);
  }
  for (const shard of recordsIn(shards)) {
    if (!names.has(shard.name) || !isSize(shard.headerBytes)) return `a shard is not among the files`;
  }
  for (const slice of recordsIn(slices)) {
    const isRange = isSize(slice.offsetBytes) && isSize(slice.sizeBytes);
    if (!names.has(slice.file) || !isRange) return `slice ${String(slice.id)} is in no file`;
    if (!Array.isArray(slice.tensors)) return `slice ${String(slice.id)} names no tensors`;
  }
  return undefined;
}

function recordsIn(list: unknown): readonly Record<string, unknown>[] {
  return Array.isArray(list) ? list.filter(isRecord) : [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isSize(value: unknown): boolean {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function damaged(reason: string, cause?: unknown): PublishError {
  return new PublishError("publish/manifest", `${MANIFEST_NAME} is damaged: ${reason}`, {
    hint: "`deltaworks repair` makes it anew from SHA256SUMS, the output and the inputs.",
    cause,
  });
}
