import { inParallel, StorageError } from "../storage/index.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { CHAT_TEMPLATES_FOLDER, judgeFile, judgeFolder } from "./companions.ts";
import { CheckpointError } from "./errors.ts";
import type { Folder, Look } from "./folder.ts";
import { CARD_NAME } from "./model-card.ts";
import { parsePythonJson } from "./python-json.ts";
import type { Sidecar } from "./read-with-state.ts";

/** Companions are read whole when they are copied; a larger file is no companion. */
export const MAX_COMPANION_BYTES = 1_000_000_000;
/** Of files that say which others a loader needs. */
const MAX_TELLING_BYTES = 10_000_000;
/** What is kept of a file that was read, for who reads it next. */
const MAX_KEPT_BYTES = 100_000;
/** What git leaves in place of a large file. */
const MAX_POINTER_BYTES = 1000;
/** Folders in folders that are carried along, and files in them. */
const MAX_DEPTH = 4;
const MAX_FILES = 10_000;
const STATES_AT_ONCE = 8;
const CODE_FOLDER = "custom_generate";

export interface FolderFiles {
  /** Sorted, with their states. */
  readonly companions: ReadonlyMap<string, Sidecar>;
  /** The model's own card, of which the output's card tells. */
  readonly card: ReadonlyMap<string, Sidecar>;
  /** Neither weights nor companions, and not known to be of no use to a loader; folders end in "/". Sorted. */
  readonly leftBehind: readonly string[];
  /** Files that auto_map names and that are not there. */
  readonly missing: readonly string[];
  /** Bytes of companions that were read on the way, in the state that is told of them. */
  readonly read: ReadonlyMap<string, Uint8Array>;
}

/**
 * Judges every entry of a model's folder: what belongs to the model is carried along, what is of no use to who loads it is passed
 * over, and what is neither is named. `weights`: the files whose tensors are merged.
 * @throws CheckpointError `checkpoint/link-out` for a companion that is a link out of the folder, `checkpoint/git-lfs`
 */
export async function folderFiles(
  folder: Folder,
  config: Checkpoint["config"],
  weights: readonly string[],
  label: string,
): Promise<FolderFiles> {
  const told = await whatFilesTell(folder, config);
  const candidates: string[] = [];
  const leftBehind: string[] = [];
  for (const { name, kind } of folder.entries) {
    if (kind === "directory") {
      const isNeeded = told.folders.has(name) || name === CHAT_TEMPLATES_FOLDER || name === CODE_FOLDER;
      const files = isNeeded || told.packages.has(name) ? await folder.filesBelow(name, MAX_DEPTH, MAX_FILES) : [];
      const carried = files.filter((file) => {
        if (weights.includes(file) || judgeFile(file) === "hidden") return false;
        if (name === CHAT_TEMPLATES_FOLDER) return file.endsWith(".jinja");
        return isNeeded || judgeFile(file) === "code";
      });
      candidates.push(...carried);
      const holdsWeights = weights.some((weight) => weight.startsWith(`${name}/`));
      if (carried.length === 0 && !isNeeded && !holdsWeights && judgeFolder(name) === "unknown")
        leftBehind.push(`${name}/`);
      continue;
    }
    if (weights.includes(name) || name === "config.json") continue;
    if (!(await folder.exists(name))) {
      // A link to a folder is not followed.
      if (kind === "link" && judgeFolder(name) === "unknown" && judgeFile(name) === "unknown")
        leftBehind.push(`${name}/`);
      continue;
    }
    const judged = told.names.has(name) ? "carried" : isMistralsConfig(name, weights) ? "unknown" : judgeFile(name);
    if (judged === "carried" || (judged === "code" && told.hasCode)) candidates.push(name);
    else if (judged === "unknown" || judged === "code") leftBehind.push(name);
  }
  const companions = new Map<string, Sidecar>();
  const read = new Map<string, Uint8Array>();
  const looks = await inParallel(candidates.sort(), STATES_AT_ONCE, async (name) => {
    const look = told.read.get(name) ?? (await folder.look(name, MAX_POINTER_BYTES));
    if (look?.bytes !== undefined) refusePointer(look.bytes, name, label);
    return look;
  });
  for (const [k, name] of candidates.entries()) {
    const look = looks[k];
    if (look === undefined) continue;
    if (look.state.sizeBytes > MAX_COMPANION_BYTES) leftBehind.push(name);
    else {
      companions.set(name, look.state);
      if (look.bytes !== undefined) read.set(name, look.bytes);
    }
  }
  const card = (await folder.exists(CARD_NAME)) ? await folder.state(CARD_NAME) : undefined;
  const missing = told.code.filter((name) => !companions.has(name));
  return { companions, card: new Map(card && [[CARD_NAME, card]]), leftBehind: leftBehind.sort(), missing, read };
}

function refusePointer(bytes: Uint8Array, name: string, label: string): void {
  const text = Buffer.from(bytes.subarray(0, MAX_POINTER_BYTES)).toString("latin1");
  if (!text.startsWith("version https://git-lfs.github.com/spec/")) return;
  throw new CheckpointError(
    "checkpoint/git-lfs",
    `${label}: ${name} is a pointer of git-lfs in place of the file, and would be copied as it stands`,
    { hint: 'Run "git lfs pull" in its folder, or get the model again with `hf download`.' },
  );
}

/** params.json is all that says what weights in Mistral's own format are; beside others it is of no use to who loads them. */
function isMistralsConfig(name: string, weights: readonly string[]): boolean {
  return name === "params.json" && weights.some((weight) => /^consolidated[\w.-]*$/.test(weight));
}

interface Told {
  /** Files that auto_map names, of this folder. */
  readonly code: readonly string[];
  readonly hasCode: boolean;
  /** Folders that the code imports, or that auto_map names modules of. */
  readonly packages: ReadonlySet<string>;
  /** Files of the folder that stand as values in a config. */
  readonly names: ReadonlySet<string>;
  /** Folders that sentence-transformers' modules.json names. */
  readonly folders: ReadonlySet<string>;
  /** Files that were read for this. */
  readonly read: ReadonlyMap<string, Look>;
}

async function whatFilesTell(folder: Folder, config: Checkpoint["config"]): Promise<Told> {
  const present = new Set(folder.entries.filter(({ kind }) => kind !== "directory").map(({ name }) => name));
  const inFolder = new Set(folder.entries.filter(({ kind }) => kind !== "file").map(({ name }) => name));
  const told: unknown[] = [config];
  const read = new Map<string, Look>();
  const modules = await maybeJson(folder, "modules.json", present, read);
  for (const name of present) {
    if (
      /^(?:tokenizer|processor|preprocessor|video_preprocessor|image_processor|feature_extractor)_?config\.json$/.test(
        name,
      )
    )
      told.push(await maybeJson(folder, name, present, read));
  }
  const code = new Set<string>();
  const names = new Set<string>();
  for (const value of told) {
    for (const reference of autoMaps(value)) {
      const module = /^([A-Za-z_][\w.]*)\.\w+$/.exec(reference)?.[1];
      if (module !== undefined) code.add(`${module.replaceAll(".", "/")}.py`);
    }
    for (const text of stringsIn(value)) if (present.has(text)) names.add(text);
  }
  const folders = new Set(
    stringsIn(modules).flatMap((path) => {
      const [top = ""] = path.split("/");
      return inFolder.has(top) ? [top] : [];
    }),
  );
  for (const name of ["README.md", "config.json"]) names.delete(name);
  const packages = code.size === 0 ? new Set<string>() : await importedFolders(folder, present, [...code]);
  return { code: [...code].sort(), hasCode: code.size > 0, packages, names, folders, read };
}

/** `named`: files of code that auto_map names. Of what the code in the folder imports, the folders beside it. */
async function importedFolders(
  folder: Folder,
  present: ReadonlySet<string>,
  named: readonly string[],
): Promise<Set<string>> {
  const folders = folder.entries.filter(({ kind }) => kind === "directory").map(({ name }) => name);
  const found = new Set(folders.filter((name) => named.some((file) => file.startsWith(`${name}/`))));
  for (const name of folders.length === 0 ? [] : present) {
    if (!name.endsWith(".py") || ((await folder.state(name))?.sizeBytes ?? Infinity) > MAX_TELLING_BYTES) continue;
    const text = Buffer.from(await folder.readWhole(name, MAX_TELLING_BYTES)).toString("utf8");
    for (const [, module = ""] of text.matchAll(/^[ \t]*(?:from|import)[ \t]+\.?([A-Za-z_]\w*)/gm))
      if (folders.includes(module)) found.add(module);
  }
  return found;
}

async function maybeJson(
  folder: Folder,
  name: string,
  present: ReadonlySet<string>,
  read: Map<string, Look>,
): Promise<unknown> {
  if (!present.has(name) || !(await folder.exists(name))) return undefined;
  try {
    const { bytes, state } = await folder.readWithState(name, MAX_TELLING_BYTES);
    read.set(name, bytes.length > MAX_KEPT_BYTES ? { state } : { state, bytes });
    return parsePythonJson(Buffer.from(bytes).toString("utf8"));
  } catch (error) {
    // Whoever needs the file will say that it is damaged, or too large.
    const isTooLarge = error instanceof StorageError && error.code === "storage/too-large";
    if (error instanceof SyntaxError || isTooLarge) return undefined;
    throw error;
  }
}

/** Every `module.Class` under an auto_map; those of another repository have its name before them, and two dashes. */
function autoMaps(value: unknown): string[] {
  return objectsIn(value).flatMap((object) => ("auto_map" in object ? stringsIn(object.auto_map) : []));
}

function objectsIn(value: unknown, depth = 8): Readonly<Record<string, unknown>>[] {
  if (typeof value !== "object" || value === null || depth === 0) return [];
  const own = Array.isArray(value) ? [] : [value as Readonly<Record<string, unknown>>];
  return [...own, ...Object.values(value).flatMap((inner: unknown) => objectsIn(inner, depth - 1))];
}

function stringsIn(value: unknown, depth = 8): string[] {
  if (typeof value === "string") return value.length <= 1000 ? [value] : [];
  if (typeof value !== "object" || value === null || depth === 0) return [];
  return Object.values(value).flatMap((inner: unknown) => stringsIn(inner, depth - 1));
}
