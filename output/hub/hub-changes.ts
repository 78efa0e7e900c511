import type { HubEntry } from "../../storage/index.ts";
import { changesTheModel } from "../records/file-names.ts";
import type { OutputFile } from "../records/manifest.ts";

/** What makes an output of what a branch holds. */
export interface HubChanges {
  readonly added: readonly OutputFile[];
  /** Paths. */
  readonly deleted: readonly string[];
  /** Of these two, what is there and will be another or gone: somebody has to agree to it. */
  readonly replaced: readonly string[];
  /** Whether nothing but this output is there, or what the Hub puts into every repository. */
  readonly isOwn: boolean;
}

/** The Hub puts it into every repository, and reads it there. */
const ATTRIBUTES_NAME = ".gitattributes";

/**
 * `there`: the branch. `same`: names of the output's files that it holds already, to the byte. `recorded`: names of the output that it held
 * before, by that one's records. What else is there stays, unless a loader would pick it up (`changesTheModel`).
 */
export function hubChanges(
  there: ReadonlyMap<string, Pick<HubEntry, "kind">>,
  files: readonly OutputFile[],
  same: ReadonlySet<string>,
  recorded: ReadonlySet<string>,
): HubChanges {
  const own = new Set(files.map(({ name }) => name));
  const paths = [...there].filter(([, { kind }]) => kind === "file").map(([path]) => path);
  const others = paths.filter((path) => !own.has(path) && path !== ATTRIBUTES_NAME);
  const added = files.filter(({ name }) => !same.has(name));
  const deleted = others.filter((path) => changesTheModel(path) || recorded.has(path)).sort();
  const changed = added.map(({ name }) => name).filter((name) => there.has(name));
  return {
    ...{ added, deleted, replaced: [...changed, ...deleted].sort() },
    isOwn: others.length === 0 && changed.length === 0,
  };
}
