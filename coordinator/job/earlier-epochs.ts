import type { Json, WorkerId } from "../../merge/work/index.ts";
import type { WorkerRun } from "../core/index.ts";
import { type JournalRecord, maybeHolder, type Sequence } from "../journal/index.ts";

/** An epoch that may not be over, as the journal tells of it. */
export interface EpochFacts {
  /** Of its take-over. */
  readonly number: Sequence;
  /** How long after its end grants of it may last; undefined: it does not say, nor does it name its writers. */
  readonly fenceMs: number | undefined;
  /** Runs of workers that may have had grants. */
  readonly writers: ReadonlyMap<string, WorkerRun>;
}

/**
 * What a take-over says of its epoch. `fenceMs`: lease, I/O timeout and leadership; 0 where all workers end with the process; undefined
 * where the journal does not name all writers of the epoch and of those before.
 */
export function aboutEpoch(tool: string, fenceMs: number | undefined): Json {
  return { tool, ...(fenceMs === undefined ? {} : { fenceMs }) };
}

/** Gathers what the records of a journal, in order, tell of epochs that may not be over. */
export class EpochsSeen {
  #epochs: { number: Sequence; fenceMs: number | undefined; writers: Map<string, WorkerRun> }[] = [];

  get epochs(): readonly EpochFacts[] {
    return this.#epochs;
  }

  see({ entry, sequence }: JournalRecord): void {
    const body = entry.body as Record<string, Json>;
    if (maybeHolder(entry) !== undefined) {
      const { fenceMs } = (body.about ?? {}) as Record<string, Json>;
      this.#epochs.push({
        number: sequence,
        fenceMs: typeof fenceMs === "number" ? fenceMs : undefined,
        writers: new Map(),
      });
    } else if (entry.subject === "job") {
      if (body.state === "alone") this.#epochs.splice(0, this.#epochs.length - 1);
      else if (body.state === "stopped") this.#epochs = [];
    } else if (entry.subject.startsWith(WRITER)) {
      const run = { worker: entry.subject.slice(WRITER.length) as WorkerId, incarnation: String(body.incarnation) };
      const writers = this.#epochs.at(-1)?.writers;
      if (body.gone === true) writers?.delete(keyOf(run));
      else writers?.set(keyOf(run), run);
    }
  }
}

/** Subjects of runs of workers. */
export const WRITER = "writer/";

export interface EarlierEpochs {
  /** Runs of workers; undefined: one of the epochs does not say. */
  readonly writers: readonly WorkerRun[] | undefined;
  /** How long grants may last, whoever has them. */
  readonly fenceMs: number;
}

/** All of them together. `fenceMs`: of an epoch that does not say. */
export function earlierEpochs(earlier: readonly EpochFacts[], fenceMs: number): EarlierEpochs {
  const isKnown = earlier.every((epoch) => epoch.fenceMs !== undefined);
  const runs = new Map(earlier.flatMap(({ writers }) => [...writers]));
  return {
    writers: isKnown ? [...runs.values()] : undefined,
    fenceMs: Math.max(0, ...earlier.map((epoch) => epoch.fenceMs ?? fenceMs)),
  };
}

function keyOf({ worker, incarnation }: WorkerRun): string {
  return `${worker}/${incarnation}`;
}
