import type { Checkpoint } from "../../checkpoint/index.ts";
import type { Source } from "../../storage/index.ts";
import { PublishError } from "../errors.ts";
import type { Manifest, ManifestInputFile } from "../records/manifest.ts";
import { hashFile } from "../seal/read-back.ts";

/** A model that the recipe names, found and opened; by the label that the plan knows it by. */
export interface RepairInput {
  readonly label: string;
  readonly checkpoint: Checkpoint;
}

/**
 * Whether these are the models that the output was made from: sizes, header hashes and, where the manifest has them,
 * hashes of whole files. @throws PublishError `publish/input-differs` naming input and file
 */
export async function checkInputs(store: Source, manifest: Manifest, inputs: readonly RepairInput[]): Promise<void> {
  for (const { label, files } of manifest.inputs) {
    const input = inputs.find((candidate) => candidate.label === label);
    if (input === undefined) throw differs(label, "the recipe does not name it");
    const { checkpoint } = input;
    if (checkpoint.files.length !== files.length) {
      throw differs(label, `it has ${checkpoint.files.length} weight files, the manifest lists ${files.length}`);
    }
    for (const file of files) {
      const fault = await inputFault(store, checkpoint, file);
      if (fault !== undefined) throw differs(label, `${file.name} ${fault}`);
    }
  }
}

async function inputFault(store: Source, checkpoint: Checkpoint, file: ManifestInputFile): Promise<string | undefined> {
  const found = checkpoint.files.find(({ name }) => name === file.name);
  if (found === undefined) return `is not in ${checkpoint.root}`;
  if (found.sizeBytes !== file.sizeBytes) {
    return `has ${found.sizeBytes} bytes, the manifest says ${file.sizeBytes} (${found.path})`;
  }
  if (found.headerSha256 !== file.headerSha256) return `has another header than the manifest says (${found.path})`;
  if (file.sha256 === undefined) return undefined;
  const { sha256 } = await hashFile(store, found.path);
  return sha256 === file.sha256 ? undefined : `has SHA-256 ${sha256}, the manifest says ${file.sha256} (${found.path})`;
}

/** SHA-256 of every file of every input, as buildManifest takes them. */
export async function hashInputs(
  store: Source,
  inputs: readonly RepairInput[],
): Promise<readonly (readonly string[])[]> {
  const hashes: string[][] = [];
  for (const { checkpoint } of inputs) {
    const own: string[] = [];
    for (const { path } of checkpoint.files) own.push((await hashFile(store, path)).sha256);
    hashes.push(own);
  }
  return hashes;
}

function differs(label: string, message: string): PublishError {
  return new PublishError("publish/input-differs", `input ${label} is not what the output was made from: ${message}`, {
    hint: "Bring that version of the model back, and say with --models-root where it is.",
  });
}
