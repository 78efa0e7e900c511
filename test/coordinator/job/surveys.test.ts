/** Rounds of one cut tensor as the coordinator goes through them: in what order, and how long it is deaf meanwhile. */
import { describe, expect, test } from "vitest";
import {
  type JobHistory,
  type JobPorts,
  type JobRecords,
  JobRunner,
  localLimits,
  TensorRounds,
} from "../../../coordinator/job/index.ts";
import type { WorkerLink, WorkerListener } from "../../../coordinator/link/index.ts";
import type { Assignment, AttemptRef, PlainData, Plan, Step, UnitId, WorkerId } from "../../../merge/work/index.ts";

const PART_ELEMENTS = 2 ** 20;

/** One tensor of `ranges` slices, each surveyed by itself. */
function planOf(models: number, ranges: number): Plan {
  const source = (index: number) => ({
    ...{ input: index, file: 0, tensor: "t", dtype: "F32", offsetBytes: 0, storedRowLength: 1024, index },
    parameters: { weight: 1, density: 0.5 },
  });
  const task = {
    name: "t",
    kind: "merge",
    method: "ties",
    dtype: "F32",
    shape: [ranges * 1024, 1024],
    parameters: { normalize: true, rescale: false, rescale_mode: "l1", lambda: 1 },
    base: source(models),
    models: Array.from({ length: models }, (_, k) => source(k)),
  };
  const slices = Array.from({ length: ranges }, (_, part) => ({
    ...{ id: `s${part}`, shard: 0, offsetBytes: 0, sizeBytes: 4 * PART_ELEMENTS },
    parts: [{ task: 0, part, partCount: ranges, firstElement: part * PART_ELEMENTS, elementCount: PART_ELEMENTS }],
  }));
  return { version: 2, tasks: [task], slices, shards: [], options: {} } as unknown as Plan;
}

/** All elements of a range are in some bin. */
function lastOf(bins: number): number {
  return PART_ELEMENTS - (bins - 1) * Math.floor(PART_ELEMENTS / bins);
}

/** As a range says it in the first round; bins are every other one. */
function summaryOf(models: number, bins: number, range: number) {
  const total = {
    below: 0,
    bins: Uint16Array.from({ length: bins }, (_, k) => 2 * k + (range % 2)),
    counts: new Uint32Array(bins).fill(PART_ELEMENTS / bins).fill(lastOf(bins), bins - 1),
    zeros: 0,
  };
  return {
    order: { road: "histogram", columns: Array.from({ length: models }, () => ({ total, parts: [], below: 0 })) },
  };
}

const MODELS = 200;
const RANGES = 8;
const BINS = 8_000;

describe("folding the summaries of 200 models, 8 ranges and 8,000 bins", () => {
  test("goes in steps of one histogram each, as the ranges come, and in their order", () => {
    const rounds = new TensorRounds(planOf(MODELS, RANGES), 0, PART_ELEMENTS);
    const ranges = rounds.beginRound();
    expect(ranges).toHaveLength(RANGES);
    const steps = ranges.map(({ unit }, k) => {
      rounds.keep(unit, summaryOf(MODELS, BINS, k));
      let steps = 0;
      while (rounds.foldStep()) steps++;
      return steps;
    });
    expect(steps).toEqual([0, ...Array.from({ length: RANGES - 1 }, () => MODELS)]);
    const step = rounds.settle();
    // Four ranges have 131 elements in each bin.
    const bin = Math.floor((RANGES * PART_ELEMENTS) / 2 / (4 * 131));
    const intervals = Array.from({ length: MODELS }, () => expect.objectContaining({ lo: bin * 2 ** 15, shift: 0 }));
    expect(step).toMatchObject({ request: { order: { intervals } } });
  });

  test("lets the coordinator's other work have its turn between the steps", async () => {
    let turns = 0;
    const requests: unknown[] = [];
    await new Promise<void>((resolve) => {
      const runner: JobRunner = runnerOf(MODELS, RANGES, {
        othersTurn: async () => {
          turns++;
        },
        workers: surveyors((assignment) => {
          if (assignment.kind !== "survey") return;
          if (!assignment.firstRound) {
            requests.push(assignment.request);
            if (requests.length === 1) resolve();
            return;
          }
          const range = Number(assignment.unit.split("-").at(-1));
          const counts = { bytesRead: 0, bytesWritten: 0, tensorsCut: 0 };
          const summary = summaryOf(MODELS, BINS, range);
          runner.reported(WORKER, {
            unit: assignment.unit,
            attempt: assignment.attempt,
            kind: "survey",
            summary,
            counts,
          });
        }),
      });
      void runner.run();
    });
    // Each histogram is read, and folded from the second range on; to be settled each is looked at, and then each query.
    expect(turns).toBe(RANGES * MODELS + (RANGES - 1) * MODELS + 2 * MODELS);
  });
});

test("what comes before its turn waits; nothing is folded twice; what is missing is named", () => {
  const folded: string[] = [];
  const method = {
    begin: (): Step => ({ request: "names" }),
    readSummary: (_task: unknown, _request: unknown, summary: PlainData) => summary,
    *fold(left: PlainData, right: PlainData) {
      folded.push(`${left}+${right}`);
      yield;
      return `${left}${right}`;
    },
    settle: (_task: unknown, _request: unknown, whole: PlainData): Step => ({ verdict: whole }),
  };
  const rounds = new TensorRounds(planOf(1, 4), 0, PART_ELEMENTS, method);
  const units = rounds.beginRound().map(({ unit }) => unit);
  const keep = (k: number, summary: string) => {
    rounds.keep(units[k]!, summary);
    while (rounds.foldStep());
  };
  keep(2, "c");
  keep(1, "b");
  rounds.keep("survey-0-7-0" as UnitId, "of another round");
  expect(folded).toEqual([]);
  keep(0, "a");
  keep(0, "late");
  expect(folded).toEqual(["a+b", "ab+c"]);
  expect(() => rounds.settle()).toThrow("t was settled before its range 3 was surveyed");
  keep(3, "d");
  expect(rounds.settle()).toEqual({ verdict: "abcd" });
});

describe("large summaries that come before their turn", () => {
  const BYTES = 100;

  /** A worker that asks for room for each range as it is told to, and reports what it was given room for. */
  async function early(ranges: number, earlyBytes: number) {
    const lent = new Map<number, Assignment>();
    const answers = new Map<UnitId, () => void>();
    const came: number[] = [];
    const runner: JobRunner = runnerOf(
      1,
      ranges,
      {
        othersTurn: async () => {},
        workers: surveyors(
          (assignment) => lent.set(rangeOf(assignment), assignment),
          ({ unit }) => answers.get(unit)?.(),
        ),
      },
      earlyBytes,
    );
    void runner.run();
    await turns();
    const bring = async (k: number) => {
      const { unit, attempt } = lent.get(k)!;
      const reported = await runner.roomForSummary(WORKER, { unit, attempt }, BYTES);
      came.push(k);
      const counts = { bytesRead: 0, bytesWritten: 0, tensorsCut: 0 };
      runner.reported(WORKER, { unit, attempt, kind: "survey", summary: summaryOf(1, 8, k), counts });
      // A summary is read in steps; its room is given back with the answer.
      answers.set(unit, reported);
    };
    return { runner, lent, came, bring };
  }

  test("wait with their worker once others before theirs take all of the room, until these are folded", async () => {
    const { came, bring } = await early(6, 2 * BYTES);
    for (const k of [5, 2, 4, 3, 1]) void bring(k);
    await turns();
    expect(came).toEqual([5, 2]);
    void bring(0);
    await turns();
    // The first is due. It and the second make the third due, and so on.
    expect(came).toEqual([5, 2, 0, 1, 4, 3]);
  });

  test("come all the same where nobody has what is due: they may have the slots that it needs", async () => {
    const { runner, lent, came, bring } = await early(3, 0);
    void bring(1);
    await turns();
    expect(came).toEqual([]);
    runner.draining(WORKER);
    runner.handedBack(WORKER, [lent.get(0)!]);
    await turns();
    expect(came).toEqual([1]);
  });

  test("wait for nothing once they are of no use", async () => {
    const { runner, came, bring } = await early(3, 0);
    void bring(1);
    runner.cancel();
    await turns();
    expect(came).toEqual([1]);
  });

  const rangeOf = ({ unit }: Assignment) => Number(unit.split("-").at(-1));
  const turns = async () => {
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
});

test("a summary of something else than was asked for is that worker's fault, and says so where there is no other", async () => {
  const runner: JobRunner = runnerOf(2, 2, {
    othersTurn: async () => {},
    workers: surveyors(({ unit, attempt }) => {
      const counts = { bytesRead: 0, bytesWritten: 0, tensorsCut: 0 };
      const summary = summaryOf(unit.endsWith("-1") ? 3 : 2, 8, 0);
      runner.reported(WORKER, { unit, attempt, kind: "survey", summary, counts });
    }),
  });
  const { outcome, cause } = await runner.run();
  expect(outcome).toBe("failed");
  expect(cause?.code).toBe("coordinator/other-than-lent");
  expect(cause?.message).toBe("w and survey-0-1-1: a survey was answered with 3 histograms, not 2");
});

// ---- a job with one worker

const WORKER = "w" as WorkerId;
const history: JobHistory = {
  replaced: [],
  phase: "planned",
  files: [],
  slices: new Map(),
  verdicts: new Map(),
  epochs: [],
};

function runnerOf(
  models: number,
  ranges: number,
  ports: Pick<JobPorts, "othersTurn" | "workers">,
  earlyBytes = 2 ** 40,
): JobRunner {
  const limits = { ...localLimits, attemptBase: 0, earlierGrantsMs: 0 };
  const options = { plan: planOf(models, ranges), shardPaths: [], surveyElements: PART_ELEMENTS, limits, earlyBytes };
  return new JobRunner(options, history, {
    ...ports,
    records: { quarantined: async () => {}, phase: async () => {} } as unknown as JobRecords,
    clock: { nowMs: () => 0 },
    publish: async () => {},
    discardStage: async () => {},
    observer: { progress: () => {}, warning: () => {}, counted: () => {} },
  });
}

/** A worker of many slots that does as it is told in a turn of its own. */
function surveyors(assigned: (assignment: Assignment) => void, answered: (ref: AttemptRef) => void = () => {}) {
  return async (listener: WorkerListener) => {
    const link: WorkerLink = {
      ...{ id: WORKER, trust: "own", incarnation: "1", host: "h", memoryBytes: 2 ** 40, slots: 64 },
      assign: (assignment) => setImmediate(() => assigned(assignment)),
      answerGrant: () => {},
      // Whoever waits for the answer hears of it when all that follows from the report has been done.
      answerReport: (ref) => queueMicrotask(() => answered(ref)),
      cancel: () => {},
      close: async () => {},
    };
    listener.attached(link, []);
  };
}
