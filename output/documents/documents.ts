import {
  ADAPTER_CONFIG_NAME,
  type Checkpoint,
  MAX_COMPANION_BYTES,
  type ModelOrigin,
  mayNameTokenIds,
  readSidecar,
  sha256Hex,
} from "../../checkpoint/index.ts";
import type { Plan } from "../../merge/work/index.ts";
import { sizeBytesOf } from "../../plan/index.ts";
import { staleQuantization } from "../../recipe/index.ts";
import { type Files, join, type Place, parentOf, type Source, writeWhole } from "../../storage/index.ts";
import { CARD_NAME, CONFIG_NAME, INDEX_NAME, MANIFEST_NAME, RECIPE_NAME, SUMS_NAME } from "../records/file-names.ts";
import { type Manifest, manifestText, type OutputFile } from "../records/manifest.ts";
import { sumsOf, sumsText } from "../records/sums.ts";
import { outputAdapterConfig } from "./adapter-config.ts";
import { outputConfig } from "./config/output-config.ts";
import { modelCard } from "./model-card.ts";
import { type OutputDocument, textDocument } from "./output-document.ts";
import {
  copiedText,
  givenText,
  isReplaced,
  type OutputText,
  tokenizerDocuments,
  withChatTemplate,
  withTokenIds,
  withValues,
} from "./output-text.ts";

/** The checkpoint room lets no larger config pass. */
const MAX_CONFIG_BYTES = 10_000_000;
export interface DocumentSources {
  readonly store: Source;
  /** As the user wrote it. */
  readonly recipeText: string;
  /** Of plan.definingInput. */
  readonly definingCheckpoint: Checkpoint;
  /** Where the output does not simply have the defining input's tokenizer and chat template. */
  readonly text?: OutputText | undefined;
  /** Per input of the plan, what its card says. */
  readonly origins?: readonly (ModelOrigin | undefined)[];
}

/** All files beside the shards but the manifest and SHA256SUMS: a function of the plan, the recipe's text and the inputs. */
export async function outputDocuments(plan: Plan, sources: DocumentSources): Promise<readonly OutputDocument[]> {
  const { store, recipeText, definingCheckpoint, text, origins = [] } = sources;
  const { config, companions } = definingCheckpoint;
  const read = async (name: string, limitBytes: number) =>
    Buffer.from(await readSidecar(store, definingCheckpoint, name, limitBytes)).toString("utf8");
  const documents: OutputDocument[] = [];
  if (plan.adapter !== undefined) {
    const edited = outputAdapterConfig(await read(ADAPTER_CONFIG_NAME, MAX_CONFIG_BYTES), plan.adapter);
    documents.push(textDocument(ADAPTER_CONFIG_NAME, edited));
  } else if (config !== undefined) {
    // Whose vocabulary a part counts is known by its number, before that is the output's.
    const renumbered = withTokenIds(await read(CONFIG_NAME, MAX_CONFIG_BYTES), text?.ids);
    documents.push(textDocument(CONFIG_NAME, outputConfig(renumbered, definingCheckpoint, plan)));
  }
  const { files: staleFiles } = staleQuantization(plan.tasks, definingCheckpoint);
  for (const name of companions) {
    if (isReplaced(name, text) || staleFiles.includes(name)) continue;
    if (mayNameTokenIds(name)) {
      documents.push(textDocument(name, withTokenIds(await read(name, MAX_COMPANION_BYTES), text?.ids)));
      continue;
    }
    const bytes = await readSidecar(store, definingCheckpoint, name, MAX_COMPANION_BYTES);
    const values = text?.fileValues?.filter(({ file }) => file === name) ?? [];
    documents.push(
      values.length === 0
        ? { name, bytes }
        : textDocument(name, withValues(Buffer.from(bytes).toString("utf8"), values)),
    );
  }
  if (text?.tokenizer !== undefined) documents.push(...(await tokenizerDocuments(store, text.tokenizer)));
  else if (text !== undefined) documents.push(...(await copiedText(store, text)));
  const withTemplate = text?.chatTemplate === undefined ? documents : withChatTemplate(documents, text.chatTemplate);
  const given = givenText(plan, definingCheckpoint, text ?? {});
  const last = [
    textDocument(CARD_NAME, modelCard({ plan, recipeText, config, origins, given })),
    textDocument(RECIPE_NAME, recipeText),
  ];
  if (plan.shards.length > 1) last.push(textDocument(INDEX_NAME, shardIndex(plan)));
  return [...withTemplate, ...last];
}

/** Writes documents into the stage, durably. */
export async function stageDocuments(
  store: Files,
  stage: Place,
  documents: readonly OutputDocument[],
  by: string,
): Promise<void> {
  for (const { name, bytes } of documents) {
    const path = join(stage, name);
    await store.makeDirectory(parentOf(path));
    await writeWhole(store, path, bytes, { by });
  }
  await store.syncDirectory(stage);
}

/** What the records say of it. */
export function fileOfDocument({ name, bytes }: OutputDocument): OutputFile {
  return { name, sizeBytes: bytes.length, sha256: sha256Hex(bytes) };
}

/** The two records of an output, manifest and SHA256SUMS, as files. */
export function recordDocuments(manifest: Manifest): readonly OutputDocument[] {
  const own = textDocument(MANIFEST_NAME, manifestText(manifest));
  if (manifest.seal === "checksums") return [own];
  return [own, textDocument(SUMS_NAME, sumsText(sumsOf(manifest)))];
}

/** Which tensor is in which shard, in output order. */
function shardIndex(plan: Plan): string {
  let totalBytes = 0;
  const places: [string, string][] = [];
  for (const shard of plan.shards) {
    for (const index of shard.tasks) {
      const task = plan.tasks[index];
      if (task === undefined) throw new Error(`shard ${shard.name} holds task ${index}, which the plan lacks`);
      totalBytes += sizeBytesOf(task); // of one expert, where there are several
      places.push([task.name, shard.name]);
    }
  }
  const index = { metadata: { total_size: totalBytes }, weight_map: Object.fromEntries(places) };
  return `${JSON.stringify(index, null, 2)}\n`;
}
