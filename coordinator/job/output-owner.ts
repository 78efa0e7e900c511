import type { Output } from "../../output/index.ts";
import { lookAt } from "../journal/index.ts";
import { JobError } from "./errors.ts";
import type { JobHome } from "./job-home.ts";
import { readHistory } from "./records.ts";

/** A job whose journal does not lie in its output, as the output knows it. */
export interface OutputOwner {
  /** Unlike that of any other job. One line. */
  readonly name: string;
  /** Whether another owner's job has ended, so that nobody will go on with what it staged. */
  hasEnded(name: string): Promise<boolean>;
  /** Where a merge has its journal that keeps it beside this output. Absent: none does. */
  readonly beside?: JobHome;
}

/**
 * Whoever has an output's lock may discard what is staged there if it is its own, or nobody will go on with it.
 * @throws JobError `coordinator/other-job`
 */
export async function checkStageIsFree(output: Output, owner: OutputOwner, mayDiscard: boolean): Promise<void> {
  const other = (await output.staged())?.owner;
  if (other !== undefined && other !== owner.name && !(await owner.hasEnded(other))) {
    throw new JobError("coordinator/other-job", `${output.place} holds the unfinished work of job ${other}`, {
      hint: "Wait until that job has ended, or cancel it.",
    });
  }
  const { beside } = owner;
  if (other !== undefined || mayDiscard || beside === undefined || !(await beside.exists())) return;
  const found = await beside.open();
  try {
    const { plan, phase } = await readHistory(lookAt(found));
    if (plan === undefined || phase === "done" || phase === "cancelled") return;
  } finally {
    await found.close();
  }
  throw new JobError("coordinator/other-job", `${output.place} holds an unfinished merge, whose journal lies there`, {
    hint: "Finish it with the command that began it, or discard what it computed with --restart.",
  });
}

/** For merges whose journal lies beside the output: the stage must be theirs. @throws JobError `coordinator/other-job` */
export async function checkNoOwner(output: Output): Promise<void> {
  const other = (await output.staged())?.owner;
  if (other === undefined) return;
  throw new JobError(
    "coordinator/other-job",
    `${output.place} holds the unfinished work of job ${other} of a coordinator`,
    {
      hint: "Wait until that job has ended, or cancel it. If it has ended, discard what it left with --restart.",
    },
  );
}
