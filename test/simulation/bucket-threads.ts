import type { WorkerLink, WorkerSource } from "../../coordinator/link/index.ts";
import { type Assignment, failureFrom, type Report, type SealWork, type WorkerId } from "../../merge/work/index.ts";

type SliceWork = Extract<Assignment, { kind: "slice" }>;

export interface InlineThreads {
  /** Calls back later, as everything of a thread comes. */
  soon(act: () => void): void;
  /** Writes a slice, which was granted, durably. Resolves to its SHA-256. */
  compute(work: SliceWork): Promise<string>;
  /** Reads back, and hashes. */
  seal(work: SealWork): Promise<readonly string[]>;
}

const ID = "thread" as WorkerId;
const COUNTS = { bytesRead: 1, bytesWritten: 1, tensorsCut: 0 };

/** Threads of a process whose work is two functions. */
export function inlineThreads({ soon, compute, seal }: InlineThreads): WorkerSource {
  return async (listener) => {
    const waiting = new Map<string, SliceWork>();
    const keyOf = ({ unit, attempt }: { readonly unit: string; readonly attempt: number }) => `${unit}/${attempt}`;
    const report = (of: Report) => soon(() => listener.reported(ID, of));
    const reportOf = (work: Assignment, act: () => Promise<Report>) => {
      const { unit, attempt } = work;
      act().then(report, (error) => report({ unit, attempt, kind: "failed", failure: failureFrom(error) }));
    };
    const link: WorkerLink = {
      ...{ id: ID, trust: "own", incarnation: ID, host: "here", memoryBytes: 1e9, slots: 3 },
      assign: (assignment) => {
        const { unit, attempt } = assignment;
        if (assignment.kind === "slice") {
          waiting.set(keyOf(assignment), assignment);
          return soon(() => listener.grantRequested(ID, unit, attempt));
        }
        if (assignment.kind === "survey") throw new Error("nothing is surveyed here");
        soon(() => reportOf(assignment, async () => ({ unit, attempt, kind: "seal", sha256: await seal(assignment) })));
      },
      answerGrant: (ref, answer) => {
        const work = waiting.get(keyOf(ref));
        waiting.delete(keyOf(ref));
        if (work === undefined || answer !== "granted") return;
        const { unit, attempt } = ref;
        soon(() =>
          reportOf(work, async () => {
            const sha256 = await compute(work);
            return { unit, attempt, kind: "slice", sha256, warnings: [], counts: COUNTS };
          }),
        );
      },
      answerReport: () => {},
      cancel: () => {},
      close: async () => {},
    };
    listener.attached(link, []);
  };
}
