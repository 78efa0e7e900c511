import type { StoredBytes } from "../checkpoint/index.ts";
import type { ModelEntry } from "./model-entry.ts";
import type { Participant, Present } from "./participant.ts";

/** An integer tensor that is copied from one model, and that another has too. Headers do not say whether the two agree. */
export interface IntegerCopy {
  readonly name: string;
  readonly from: string;
  readonly other: string;
  readonly place: Participant["source"]["place"];
  /** Of both, where their dtypes and shapes are the same. */
  readonly bytes?: readonly [StoredBytes, StoredBytes];
}

/** `from`: the model that it is copied from, one of `present`. */
export function integerCopies(name: string, from: Present, present: readonly Present[]): IntegerCopy[] {
  return present.flatMap((other) => {
    if (other.source === from.source) return [];
    const { input, source, entry } = other;
    const isAlike = entry.dtype === from.entry.dtype && entry.shape.join() === from.entry.shape.join();
    const [one, two] = [maybeBytes(from), maybeBytes(other)];
    if (isAlike && (one === undefined || two === undefined)) return [];
    const bytes = isAlike && one !== undefined && two !== undefined ? ([one, two] as const) : undefined;
    return [{ name, from: from.input.label, other: input.label, place: source.place, ...(bytes && { bytes }) }];
  });
}

/** Undefined of what no file of the model holds as it is. */
function maybeBytes({ input, entry }: Present): StoredBytes | undefined {
  const { source, file, offsetBytes, sizeBytes } = entry as ModelEntry;
  if (source !== undefined && (source.kind !== undefined || source.input !== input.filesOf)) return undefined;
  const path = input.checkpoint.files[file]?.path;
  return path === undefined ? undefined : { path, offsetBytes, sizeBytes };
}
