import type { Json, WorkerId } from "../../merge/work/index.ts";
import { keyOfRun, type Stretch, type WriterRun } from "../core/index.ts";
import { type JournalRecord, maybeHolder, type Sequence } from "../journal/index.ts";

/** Who leads, where several coordinators may. */
export interface LeaderName {
  /** Names this coordinator's process. */
  readonly coordinator: string;
  /** Whether the process of that name has certainly ended. */
  hasEnded(coordinator: string): boolean;
}

/** An epoch that may not be over, as the journal tells of it. */
export interface EpochFacts {
  /** Of its take-over. */
  readonly number: Sequence;
  /** How long after its end grants of it may last; undefined: it does not say, nor does it name its writers. */
  readonly fenceMs: number | undefined;
  /** The leader's process; undefined: it does not say. */
  readonly coordinator?: string;
  /** What kept the journal: `OpenJournal.keeper`. */
  readonly keeper?: string;
  /** Runs of workers that may have had grants. */
  readonly writers: ReadonlyMap<string, WriterRun>;
}

/**
 * What a take-over says of its epoch. `fenceMs`: lease, I/O timeout and leadership; 0 where all workers end with the process; undefined
 * where the journal does not name all writers of the epoch and of those before.
 */
export function aboutEpoch(
  tool: string,
  fenceMs: number | undefined,
  leader: { readonly coordinator?: string; readonly keeper?: string } = {},
): Json {
  return { tool, ...(fenceMs === undefined ? {} : { fenceMs }), ...leader };
}

/** Gathers what the records of a journal, in order, tell of epochs that may not be over. */
export class EpochsSeen {
  #epochs: (EpochFacts & { readonly writers: Map<string, WriterRun> })[] = [];
  /** Of the last take-over and of the one before, over or not. */
  #keepers: readonly (string | undefined)[] = [];

  get epochs(): readonly EpochFacts[] {
    return this.#epochs;
  }

  /** What kept the journal when the epoch before the last one began: if it still does, nothing is missing since. */
  get keeperBefore(): string | undefined {
    return this.#keepers[1];
  }

  see({ entry, sequence }: JournalRecord): void {
    const body = entry.body as Record<string, Json>;
    if (maybeHolder(entry) !== undefined) {
      const { fenceMs, coordinator, keeper } = (body.about ?? {}) as Record<string, Json>;
      this.#epochs.push({
        number: sequence,
        fenceMs: typeof fenceMs === "number" ? fenceMs : undefined,
        ...(typeof coordinator === "string" ? { coordinator } : {}),
        ...(typeof keeper === "string" ? { keeper } : {}),
        writers: new Map(),
      });
      this.#keepers = [typeof keeper === "string" ? keeper : undefined, this.#keepers[0]];
    } else if (entry.subject === "job") {
      if (body.state === "alone") this.#epochs.splice(0, this.#epochs.length - 1);
      else if (body.state === "stopped") this.#epochs = [];
    } else if (entry.subject.startsWith(WRITER)) {
      const run = { worker: entry.subject.slice(WRITER.length) as WorkerId, incarnation: String(body.incarnation) };
      const writers = this.#epochs.at(-1)?.writers;
      if (body.gone === true) writers?.delete(keyOfRun(run));
      else writers?.set(keyOfRun(run), bothOf(writers.get(keyOfRun(run)), { ...run, ...stretchesIn(body) }));
    }
  }
}

/** Subjects of runs of workers. */
export const WRITER = "writer/";

export interface EarlierEpochs {
  /** Runs of workers; undefined: one of the epochs does not say. */
  readonly writers: readonly WriterRun[] | undefined;
  /** How long grants may last, whoever has them. */
  readonly fenceMs: number;
}

/** All of them together. `fenceMs`: of an epoch that does not say. */
export function earlierEpochs(earlier: readonly EpochFacts[], fenceMs: number): EarlierEpochs {
  const isKnown = earlier.every((epoch) => epoch.fenceMs !== undefined);
  const runs = new Map<string, WriterRun>();
  for (const { writers } of earlier) for (const [key, run] of writers) runs.set(key, bothOf(runs.get(key), run));
  return {
    writers: isKnown ? [...runs.values()] : undefined,
    fenceMs: Math.max(0, ...earlier.map((epoch) => epoch.fenceMs ?? fenceMs)),
  };
}

/**
 * Whether a shared journal tells all: it has forgotten nothing since the epoch before ours began, and whoever led one that may not be over
 * has ended, so that nobody writes or grants any more but by what it tells of. `keeper`: asked for after the journal was read.
 */
export function isProven(
  earlier: readonly EpochFacts[],
  keeperBefore: string | undefined,
  keeper: string | undefined,
  hasEnded: LeaderName["hasEnded"],
): boolean {
  if (keeper === undefined || keeperBefore !== keeper) return false;
  return earlier.every((epoch) => {
    return epoch.keeper === keeper && epoch.coordinator !== undefined && hasEnded(epoch.coordinator);
  });
}

/** Before stretches were named a run might have been granted any slice. */
function stretchesIn({ from, to }: { readonly [name: string]: Json }): { stretches?: readonly Stretch[] } {
  return typeof from === "number" && typeof to === "number" ? { stretches: [{ from, to }] } : {};
}

/** What a run may be writing by two records, or two epochs. */
function bothOf(before: WriterRun | undefined, { stretches, ...run }: WriterRun): WriterRun {
  if (before === undefined) return stretches === undefined ? run : { ...run, stretches };
  if (before.stretches === undefined || stretches === undefined) return run;
  return { ...run, stretches: [...before.stretches, ...stretches] };
}
