import { readHistory } from "../coordinator/job/index.ts";
import { JournalError, lookAt, peekFileJournal } from "../coordinator/journal/index.ts";
import { JOURNAL_NAME } from "../output/index.ts";
import { type Files, join, type Place, parentOf, placeOf } from "../storage/index.ts";

/**
 * Where a merge found its models, in recipe order, by its journal in `folder`; empty where there is none, or none that can be read: whoever
 * goes on with it says what is wrong. Another process may have it. `unfinishedOnly`: of one that has ended it is as if there were none.
 */
export async function recordedFolders(
  store: Files,
  folder: Place,
  { unfinishedOnly = false }: { readonly unfinishedOnly?: boolean } = {},
): Promise<readonly Place[]> {
  const path = join(folder, JOURNAL_NAME);
  if ((await store.identity(path)) === undefined) return [];
  try {
    const { inputs = [], phase } = await readHistory(lookAt(peekFileJournal(store, path)));
    if (unfinishedOnly && (phase === "done" || phase === "cancelled")) return [];
    return inputs.map(([first]) => (first === undefined ? placeOf("") : parentOf(first.path)));
  } catch (error) {
    if (error instanceof JournalError) return [];
    throw error;
  }
}
